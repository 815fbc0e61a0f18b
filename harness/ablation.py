"""What an arm of an ablation leaves behind, and when two arms may be compared.

An arm is a configuration trained from one seed. Its record and the cells it names are small and
can be kept under version control; whether it is finished is read from them, never from weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from harness.atomic import write_text
from harness.errors import BenchError
from harness.identity import key_of
from harness.record import Environment, Status, Strict
from harness.store import FINAL, Cell, Store, safe_name

FULL = "full"  # the arm that all others are compared with
SHARES = (25, 50, 100)  # percent of the steps at which arms are shown (protocol, section 6)
SCHEMA = 1
ALL_SESSIONS = ", all sessions"
CUT = "cut: "  # begins the counts of answers too long for the decoder, in a record of the data
_MOST = 8  # differences that one message names

Measure = Literal["arm", "representation"]


class AskedCell(Strict):
    """One cell of an arm: which weights were asked what, and how that ended.

    `share` is the percentage of the steps after which the weights were taken; `measure`
    "representation" means a small decoder trained on the arm's frozen image encoder.
    """

    share: int
    measure: Measure
    model: str
    task: str
    dataset: str
    split: str
    cohort: str
    text_policy: str
    status: Status
    reason: str = ""
    key: str = ""


class ArmTraining(Strict):
    """How an arm was trained: how far, on what, its curves, and what it cost.

    `step_seconds` are seconds inside steps, without validation, `step_processor` the processor
    seconds of them, which other work on the machine moves less; `peak_memory` bytes, resident
    memory of the process or, with `memory` "cuda", of the device. It is that of the last session
    alone unless there was only one, or `memory` ends with `ALL_SESSIONS`.
    """

    steps: int
    samples: int
    parameters: int
    data: dict[str, Any]
    curve: list[dict[str, float]]
    validation: list[dict[str, float]]
    seconds: float
    step_seconds: float
    step_processor: float = 0.0
    peak_memory: int
    memory: str = "resident"
    sessions: int = 1

    @property
    def whole_memory(self) -> bool:
        """Whether the peak is that of the whole training."""
        return self.sessions == 1 or self.memory.endswith(ALL_SESSIONS)


class ArmRecord(Strict):
    """One arm of one seed. `difference`: key -> (the parent's value, the arm's), and no other."""

    schema_version: int = SCHEMA
    arm: str
    seed: int
    parent: str = ""
    difference: dict[str, tuple[Any, Any]] = Field(default_factory=dict)
    shared: dict[str, Any]  # what all arms of an ablation have in common
    losses: list[str]  # taught
    status: Status
    reason: str = ""
    training: ArmTraining | None = None
    asked: list[AskedCell] = Field(default_factory=list)
    seconds: dict[str, float] = Field(default_factory=dict)  # by phase
    created: str = ""
    command: str = ""
    environment: Environment = Field(default_factory=Environment)

    @property
    def title(self) -> str:
        """How progress lines and errors name the arm."""
        return f"{self.arm} seed {self.seed}"

    @property
    def key(self) -> str:
        """SHA-256 of what decides the arm's numbers."""
        return arm_key(self.shared, self.difference, self.seed)


def arm_key(shared: Mapping[str, Any], difference: Mapping[str, Any], seed: int) -> str:
    """SHA-256 over what the arms share, how this one differs, and its seed."""
    changed = {key: list(pair) for key, pair in difference.items()}
    return key_of({"shared": dict(shared), "difference": changed, "seed": seed})


def arm_file(out: Path, arm: str, seed: int) -> Path:
    """Where the record of an arm lies."""
    return out / "arms" / f"{safe_name(arm)}-seed{seed}.json"


def write_arm(out: Path, record: ArmRecord) -> None:
    """Put the record in its place, whole."""
    file = arm_file(out, record.arm, record.seed)
    write_text(file, record.model_dump_json(indent=1) + "\n")


def read_arms(out: Path) -> list[ArmRecord]:
    """All records below a folder, the full arm first, then by name and seed.

    Raises:
        BenchError: a file that is no record.
    """
    found = []
    for file in sorted((out / "arms").glob("*.json")):
        try:
            found.append(ArmRecord.model_validate_json(file.read_text("utf-8")))
        except (OSError, ValidationError) as error:
            first = str(error).splitlines()[0]
            raise BenchError(
                f"{file}: no record of an arm: {first}. Expected what `bench ablate` wrote. Move "
                "the file away and run the same command: the arm is trained again."
            ) from error
    return sorted(found, key=lambda one: (one.arm != FULL, one.arm, one.seed))


def cell_of(out: Path, asked: AskedCell) -> Cell:
    """The cell with the outcomes."""
    return Store(out).cell(asked.task, asked.dataset, asked.split, asked.model, asked.key)


def is_finished(out: Path, record: ArmRecord) -> bool:
    """Whether nothing of the arm need be computed: a good record and all its outcomes intact."""
    if record.status != "ok":
        return False
    return all(one.status == "skipped" or _intact(out, one) for one in record.asked)


def _intact(out: Path, asked: AskedCell) -> bool:
    return asked.status in FINAL and cell_of(out, asked).finished()


def differences(one: Any, other: Any, at: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (value here, value there) of all leaves that differ; None where absent.

    Lists of mappings are compared place by place, other lists as a whole.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4})
    {'a.c': (2, 3), 'd': (None, 4)}
    """
    one, other = _by_place(one), _by_place(other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        out: dict[str, tuple[Any, Any]] = {}
        for key in sorted({*one, *other}):
            out |= differences(one.get(key), other.get(key), f"{at}.{key}" if at else str(key))
        return out
    return {} if one == other else {at: (one, other)}


def _by_place(value: Any) -> Any:
    mappings = isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value)
    return {str(place): one for place, one in enumerate(value)} if mappings else value


def refuse_other_arms(records: Iterable[ArmRecord], shared: Mapping[str, Any], where: str) -> None:
    """Do nothing if all arms were meant to share the same, whatever they were to differ in.

    Raises:
        BenchError: the settings or evaluations of an arm are others, with the difference.
    """
    for record in records:
        found = differences(record.shared, shared)
        if found:
            raise BenchError(
                f"{where}: {record.title} was trained or asked otherwise: {_listed(found)}. Only "
                "arms with the same data and suites are compared. Use another --out folder, or "
                "the same settings."
            )


def with_other_data_failed(records: Sequence[ArmRecord], out: Path) -> list[ArmRecord]:
    """The records; an arm on other data than the first trained one has failed, and says why."""
    first = next((one for one in records if one.training is not None), None)
    return [_failed_if_other_data(one, first, out) for one in records]


def _failed_if_other_data(record: ArmRecord, first: ArmRecord | None, out: Path) -> ArmRecord:
    if first is None or first.training is None or record.training is None:
        return record
    found = differences(first.training.data, record.training.data)
    # What is cut follows from an arm's losses and its decoder: the studies are the same.
    found = {key: pair for key, pair in found.items() if f".{CUT}" not in key}
    if not found:
        return record
    reason = (
        f"trained on other data than {first.title}: {_listed(found)}. Only arms with the same data "
        f"are compared. To train it again, remove {arm_file(out, record.arm, record.seed)} and run "
        "the same command with the same --data."
    )
    update: dict[str, Any] = {"status": "failed", "reason": reason, "training": None, "asked": []}
    return record.model_copy(update=update)


def _listed(found: Mapping[str, tuple[Any, Any]]) -> str:
    parts = [f"{key} {one!r} and {other!r}" for key, (one, other) in list(found.items())[:_MOST]]
    return ", ".join(parts) + (f" and {len(found) - _MOST} more" if len(found) > _MOST else "")
