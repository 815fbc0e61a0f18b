"""A suite as cells: one model on one evaluation under one text policy and seed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from harness.datasets.table import check_request
from harness.errors import BenchError, WeightsAbsent, unknown
from harness.identity import key_of
from harness.models import ModelCard
from harness.registry import IN_CONTEXT, Handle, find_model
from harness.samples import Dataset
from harness.suite_schema import Evaluation, ModelReference, Suite
from harness.tasks import find_task
from harness.tasks.task import Task

POLICIES = ("official", "chunk-mean")
_DRAWN = ("random", "fixed")  # retrievers of in-context models that draw by the suite's seed
_CHOICES = (*_DRAWN, "copy-nearest")  # what may stand for a model there and is none


@dataclass(frozen=True)
class CellPlan:
    """One cell before anything is loaded."""

    evaluation: Evaluation
    handle: Handle
    text_policy: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    bank: str = ""  # what the examples of an in-context model are, see `harness.bank`

    @property
    def title(self) -> str:
        """How progress lines name the cell."""
        evaluation = self.evaluation
        policy = "" if self.text_policy == "official" else f" ({self.text_policy})"
        return (
            f"{self.handle.reference.name} on {evaluation.task} "
            f"{evaluation.dataset} {evaluation.split}{policy}"
        )

    def identity(self, card: ModelCard, dataset: Dataset) -> dict[str, Any]:
        """Everything that decides a number of the cell, and nothing else.

        Never the row's name, the device, the batch size, the output folder or the commit.
        """
        return {
            "task": self.evaluation.task,
            "task_version": find_task(self.evaluation.task).version,
            "dataset": dataset.name,
            "split": dataset.split,
            "cohort": dataset.cohort,
            "fingerprint": dataset.fingerprint(),
            **({"content": dataset.content} if dataset.content else {}),
            **({"bank": self.bank} if self.bank else {}),
            "options": dict(self.options),
            "text_policy": self.text_policy,
            "seed": self.seed,
            "use": self.handle.entry.load,
            "model_options": model_options(self.handle, card),
            "family": card.family,
            "weights": card.weights,
            "preprocessing": card.preprocessing,
            "adapter_version": card.version,
        }

    def key(self, card: ModelCard, dataset: Dataset) -> str:
        """SHA-256 of the identity."""
        return key_of(self.identity(card, dataset))

    @property
    def inner(self) -> Handle:
        """The model that looks at the images: of a `shuffled` row the one inside, else its own."""
        handle = self.handle
        while handle.reference.target == "shuffled":
            model = handle.reference.options.get("model", "")
            handle = find_model(_as_reference(model))
        return handle

    def inner_options(self, card: ModelCard) -> dict[str, Any]:
        """What the inner model is loaded with, as far as it may decide its embeddings."""
        inner = self.inner
        return {"use": inner.entry.load, **model_options(inner, card)}

    def inner_families(self) -> set[str]:
        """The families of the models inside a composed or shuffled one, as far as cards tell."""
        inner = self.inner
        parts = [] if inner is self.handle else [inner]
        if inner.entry.load == IN_CONTEXT[0]:
            options = inner.reference.options
            named = [options.get("retriever"), options.get("grounder")]
            parts += [
                find_model(_as_reference(one)) for one in named if one and one not in _CHOICES
            ]
        families = set()
        for part in parts:
            with suppress(BenchError):  # its weights are not here: there is nothing to isolate
                families |= {part.card().family} if part.entry.describe else set()
        return families


def model_options(handle: Handle, card: ModelCard) -> dict[str, Any]:
    """What a model is loaded with, as far as it may decide an answer."""
    # Where a checkpoint lies decides nothing once its weights are hashed.
    located = handle.entry.kind in ("checkpoint", "directory") and card.weights
    return {**({} if located else handle.entry.options), **handle.reference.options}


def _as_reference(model: Any) -> ModelReference:
    if isinstance(model, str):
        return ModelReference(name=model)
    return ModelReference.model_validate(model)


def plan_cells(suite: Suite, seeds: Sequence[int] = ()) -> list[CellPlan]:
    """All cells of a suite, evaluation by evaluation, in the order of the file.

    Controls are planned only where they stand for something; a seeded model has one cell per seed.

    Raises:
        BenchError: an unknown task, model, metric, option or text policy; all found at once.
    """
    problems: list[str] = []
    cells: list[CellPlan] = []
    chosen = tuple(seeds) or tuple(suite.seeds)
    handles = [_handle(model, problems) for model in suite.models]
    for index, evaluation in enumerate(suite.evaluations):
        try:
            asked = [h for h in handles if h and _is_asked(h, evaluation)]
            cells += _cells_of(evaluation, asked, chosen)
        except BenchError as error:
            problems.append(f"evaluations[{index}]: {error}")
    if problems:
        raise BenchError("\n".join(problems))
    return cells


def _handle(model: ModelReference, problems: list[str]) -> Handle | None:
    if not model.name.isprintable():
        problems.append(f"model {model.name!r}: its name has control characters. Take them out.")
        return None
    try:
        handle = find_model(model)
        if handle.entry.load == IN_CONTEXT[0]:
            handle.card()  # a part that cannot do what it is composed for is refused here
    except WeightsAbsent:
        return handle
    except BenchError as error:
        problems.append(str(error))
        return None
    return handle


def _is_asked(handle: Handle, evaluation: Evaluation) -> bool:
    if evaluation.models and handle.reference.name not in evaluation.models:
        return False
    return not handle.entry.tasks or evaluation.task in handle.entry.tasks


def _cells_of(
    evaluation: Evaluation, handles: Sequence[Handle], seeds: Sequence[int]
) -> Iterator[CellPlan]:
    options, policies = _checked_options(evaluation)
    for policy in policies:
        for handle in handles:
            if policy != policies[0] and _embeds_no_text(handle):
                continue
            for seed, drawn in _by_seed(handle, seeds):
                yield CellPlan(evaluation, drawn, policy, seed, options)


def _embeds_no_text(handle: Handle) -> bool:
    """Whether it is a control that is the same under every text policy; a shuffled model is not."""
    return handle.entry.kind == "control" and handle.reference.target != "shuffled"


def _by_seed(handle: Handle, seeds: Sequence[int]) -> Iterator[tuple[int, Handle]]:
    """The model once, or once per seed if its answers depend on the suite's seeds."""
    if not _is_seeded(handle):
        yield seeds[0], handle
        return
    for seed in seeds:
        name = handle.reference.name
        # Its own default is 0: a lone seed 0 need not be said, so that the row keeps its key.
        if len(seeds) > 1:
            yield seed, _seeded(handle, seed, f"{name}-seed{seed}")
        else:
            yield seed, _seeded(handle, seed, name) if seed else handle


def _is_seeded(handle: Handle) -> bool:
    """Whether the answers depend on the suite's seed; an option `seed` of its own goes before."""
    target, options = handle.reference.target, handle.reference.options
    drawn = target == "in-context" and options.get("retriever") in _DRAWN
    return (target == "shuffled" or drawn) and "seed" not in options


def _seeded(handle: Handle, seed: int, name: str) -> Handle:
    reference = handle.reference
    options = {**reference.options, "seed": seed}
    update = {"name": name, "use": reference.target, "options": options}
    return Handle(reference.model_copy(update=update), handle.entry)


def _checked_options(evaluation: Evaluation) -> tuple[dict[str, Any], list[str]]:
    task = find_task(evaluation.task)
    check_request(evaluation.dataset, evaluation.split, evaluation.cohort)
    given = dict(evaluation.options)
    named = given.pop("text_policy", "official")
    policies = [named] if isinstance(named, str) else list(named)
    for policy in policies:
        if policy not in POLICIES:
            raise unknown("text policy", str(policy), POLICIES)
    for option in given:
        if option not in task.defaults:
            raise unknown(f"option of task {task.name}", option, [*task.defaults, "text_policy"])
        _check_value(task, option, given[option])
    for metric in evaluation.metrics:
        if metric not in task.metrics:
            raise unknown(f"metric of task {task.name}", metric, task.metrics)
    return {**task.defaults, **given}, policies


def _check_value(task: Task, option: str, value: Any) -> None:
    default = task.defaults[option]
    if option in task.choices:
        for name in [value] if isinstance(value, str) else list(value):
            if name not in task.choices[option]:
                raise unknown(f"{option} of task {task.name}", str(name), task.choices[option])
    elif isinstance(default, int) and (type(value) is not int or value < 0):
        raise BenchError(
            f"option {option} of task {task.name}: found {value!r}. Expected a whole number, "
            f"e.g. {default}."
        )
