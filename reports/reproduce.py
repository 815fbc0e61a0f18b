"""A record run again: the same question to the same model, and every number beside the old one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data_access import DataAccess
from harness.environment import environment
from harness.errors import BenchError
from harness.plan import CellPlan, plan_cells
from harness.record import RunRecord, Score
from harness.run import Settings, Watch, run_cells
from harness.suite_schema import Evaluation, ModelReference, Suite
from reports.runs import limit_of


@dataclass(frozen=True)
class Change:
    """One number before and after; None where one of the two has none."""

    score: Score
    old: float | None
    new: float | None

    @property
    def difference(self) -> float | None:
        """New minus old; 0 where both have none, None where only one has."""
        if self.old is None or self.new is None:
            return 0.0 if self.old is self.new else None
        return self.new - self.old


@dataclass(frozen=True)
class Reproduction:
    """The new record, every number, and what differs besides."""

    record: RunRecord
    changes: tuple[Change, ...]
    remarks: tuple[str, ...]

    def within(self, tolerance: float) -> bool:
        """Whether no number moved by more than `tolerance` and none came or went."""
        gaps = [change.difference for change in self.changes]
        return all(gap is not None and abs(gap) <= tolerance for gap in gaps)


def plan_again(record: RunRecord) -> CellPlan:
    """The cell that would give this record.

    Raises:
        BenchError: its model or task is no longer known.
    """
    options = {k: v for k, v in record.options.items() if k != "metrics"}
    if record.task == "retrieval":
        options["text_policy"] = record.text_policy
    reference = record.model.reference or {"name": record.model.name}
    evaluation = Evaluation(
        task=record.task,
        dataset=record.dataset.name,
        split=record.dataset.split,
        cohort=record.dataset.cohort,
        options=options,
    )
    suite = Suite(
        suite=record.suite or "reproduce",
        models=[ModelReference.model_validate(reference)],
        evaluations=[evaluation],
    )
    cells = plan_cells(suite, [record.seed])
    if not cells:
        raise BenchError(f"{record.model.name} is not asked {record.task} by this version.")
    return cells[0]


def reproduce(
    record: RunRecord, access: DataAccess, out: Path, *, device: str, watch: Watch | None = None
) -> Reproduction:
    """The record run again into `out`, with all its numbers compared.

    Raises:
        BenchError: the data or the model are not at hand.
    """
    data = DataAccess(access.roots, limit_of(record), access.report)
    settings = Settings(out, record.suite, device, command=record.command, cache_embeddings=False)
    plan = plan_again(record)
    fresh, loaded = next(iter(run_cells([plan], data, settings, watch)))
    if fresh.status == "skipped":
        raise BenchError(
            f"{record.model.name}: cannot be run here: {fresh.reason or loaded.reason}"
        )
    return Reproduction(fresh, tuple(_changes(record, fresh)), tuple(_remarks(record, fresh)))


def _changes(old: RunRecord, new: RunRecord) -> Sequence[Change]:
    def at(score: Score) -> tuple[str, ...]:
        return (score.metric, score.group, score.direction, score.relevance)

    before, after = ({at(s): s for s in r.scores} for r in (old, new))
    return [
        Change(
            before.get(key) or after[key],
            before[key].value if key in before else None,
            after[key].value if key in after else None,
        )
        for key in dict.fromkeys([*before, *after])
    ]


def _remarks(old: RunRecord, new: RunRecord) -> list[str]:
    found = []
    if old.status != new.status:
        found.append(f"status was {old.status}, is {new.status}: {new.reason}")
    for name in sorted({*old.identity, *new.identity}):
        before, after = old.identity.get(name), new.identity.get(name)
        if before != after:
            found.append(f"{name} was {before}, is {after}")
    here = environment(new.environment.device)
    for name in sorted({*old.environment.packages, *here.packages}):
        before, after = old.environment.packages.get(name), here.packages.get(name)
        if before != after:
            found.append(f"{name} was {before or 'absent'}, is {after or 'absent'}")
    if old.environment.device != new.environment.device:
        found.append(f"device was {old.environment.device}, is {new.environment.device}")
    return found
