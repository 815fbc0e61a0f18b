"""What an ablation asks for, from the command line or from a YAML file with its own schema."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator

from harness.ablation import SHARES
from harness.errors import BenchError, unknown
from harness.record import Strict
from harness.suite import find_suite
from harness.suite_schema import Evaluation
from harness.suite_yaml import dotted, read_yaml

Dotted: TypeAlias = Annotated[dict[str, Any], AfterValidator(dotted)]


class MeasuredAt(Evaluation):
    """An evaluation, and at which percentages of the steps it is asked."""

    at: list[int] = Field(default_factory=lambda: list(SHARES))

    @field_validator("at")
    @classmethod
    def _known_shares(cls, value: list[int]) -> list[int]:
        if not set(value) <= set(SHARES):
            raise ValueError(f"expected some of {list(SHARES)} (percent of the steps)")
        return sorted(set(value))


def standard_evaluations() -> list[MeasuredAt]:
    """Retrieval, location probes and grounding, on test splits: what a claim is made on."""
    retrieval = {"relevance": ["same_study", "same_text"], "text_policy": "chunk-mean"}
    return [
        MeasuredAt(task="retrieval", dataset="mimic-cxr", cohort="frontal", options=retrieval),
        MeasuredAt(task="probe", dataset="probe"),
        MeasuredAt(task="grounding", dataset="ms-cxr"),
    ]


class Change(Strict):
    """An arm that differs from the full one in some settings; named after them if unnamed."""

    name: str = ""
    set: Dotted = Field(min_length=1)

    @property
    def label(self) -> str:
        """The arm's name."""
        return self.name or ",".join(f"{key}={value}" for key, value in self.set.items())


class Representation(Strict):
    """The decoder trained on each arm's frozen image encoder; steps 0 leaves it out.

    `steps` None: those of its preset, in proportion where the arms run fewer than their preset's.
    """

    steps: int | None = Field(default=None, ge=0)
    set: Dotted = Field(default_factory=dict)
    evaluations: list[Evaluation] = Field(
        default_factory=lambda: [Evaluation(task="grounding", dataset="ms-cxr")]
    )


class AblationSuite(Strict):
    """An ablation: the full configuration, the arms beside it, their seeds, and what is asked."""

    ablation: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")  # names the folder below runs/
    title: str = ""
    preset: str = "lofi-tiny"
    set: Dotted = Field(default_factory=dict)  # of both arms
    losses: list[str] = Field(default_factory=list)  # left out one by one; "all": each of them
    changes: list[Change] = Field(default_factory=list)
    seeds: list[int] = Field(default_factory=lambda: [0, 1, 2], min_length=1)
    steps: int | None = Field(default=None, gt=0)
    limit: int | None = Field(default=None, gt=1)
    evaluations: list[MeasuredAt] = Field(default_factory=standard_evaluations)
    representation: Representation = Field(default_factory=lambda: Representation())

    @field_validator("seeds")
    @classmethod
    def _once(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError("expected each seed once")
        return value


def read_ablation(name: str) -> tuple[AblationSuite, Path]:
    """The ablation of a YAML file, or of the shipped suite of that name.

    Raises:
        BenchError: naming file, line and a near name for every mistake.
    """
    path = find_suite(name)
    data, lines = read_yaml(path)
    if not isinstance(data, dict) or "ablation" not in data:
        raise BenchError(
            f"{path}: not an ablation: it has no key 'ablation'. A suite of evaluations is run "
            f"with: bench run {name}"
        )
    if isinstance(data.get("losses"), str):
        data["losses"] = [data["losses"]]
    try:
        return AblationSuite.model_validate(data), path
    except ValidationError as error:
        told = [_told(item, path, lines) for item in error.errors()]
        raise BenchError("\n".join(told)) from error


def _told(item: Any, path: Path, lines: Mapping[tuple[str | int, ...], int]) -> str:
    place = tuple(item["loc"])
    known = place
    while known and known not in lines:
        known = known[:-1]
    where = f"{path}:{lines.get(known, 1)}: {'.'.join(map(str, place))}"
    if item["type"] == "extra_forbidden":
        return f"{where}: {unknown('key', str(place[-1]), _fields_at(place[:-1]))}"
    if item["type"] == "missing":
        return f"{where}: this key is missing."
    return f"{where}: found {item['input']!r}. {item['msg']}."


def _fields_at(place: tuple[str | int, ...]) -> list[str]:
    inner: Mapping[str, type[BaseModel]] = {
        "changes": Change,
        "evaluations": MeasuredAt,
        "representation": Representation,
    }
    if "evaluations" in place[1:]:
        return list(Evaluation.model_fields)
    model = inner.get(str(place[0])) if place else None
    return list((model or AblationSuite).model_fields)
