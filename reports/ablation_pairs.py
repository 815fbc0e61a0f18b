"""Paired differences between the full arm and each other, from the stored outcomes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from harness.ablation import FULL, ArmRecord, AskedCell, cell_of
from harness.errors import BenchError
from harness.metrics.bootstrap import MIN_PATIENTS
from harness.metrics.compare import DRAWS_PER_TEST, holm
from harness.metrics.metric import scored, value_of_rows
from harness.record import RunRecord
from harness.store import Cell
from reports.ablation_training import flatness
from reports.ablation_worth import (
    HEADLINES,
    NOT_TAUGHT,
    PERMUTATIONS,
    Place,
    Worth,
    checkpoints_p,
    interval_of,
    plain_difference,
)
from reports.compare import questions_of
from reports.definitions import DEFAULT_RELEVANCE, STATUSES
from reports.paired import Contributed, Question, check_aligned, open_cell
from reports.runs import DatasetSource, Runs

# Where no arm was asked anything, and until a difference is told where it stands.
_NOWHERE = Place("arm", 100, "", "", "", "", "", phantom=False)


@dataclass
class Arms:
    """The records of an ablation and the way from an asked cell to its rows, each read once."""

    out: Path
    records: Sequence[ArmRecord]
    source: DatasetSource
    _open: dict[str, Callable[[Question], Contributed]] = field(default_factory=dict)
    _runs: dict[str, RunRecord] = field(default_factory=dict)

    def run(self, asked: AskedCell) -> RunRecord:
        """The cell's record.

        Raises:
            BenchError: it is gone.
        """
        if asked.key not in self._runs:
            found = cell_of(self.out, asked).record()
            if found is None:
                raise BenchError(
                    f"{cell_of(self.out, asked).folder}: the outcomes of {asked.model} are gone. "
                    "Run the same `bench ablate` again: they are computed anew."
                )
            self._runs[asked.key] = found
        return self._runs[asked.key]

    @property
    def permutations(self) -> int:
        """How many draws each p value takes: enough for a Holm family of all arms but the full."""
        others = {record.arm for record in self.records} - {FULL}
        return max(PERMUTATIONS, DRAWS_PER_TEST * len(others))

    def rows(self, asked: AskedCell, question: Question) -> Contributed:
        """What each sample contributes."""
        if asked.key not in self._open:
            record = self.run(asked)
            # Of two arms with the same weights one cell may stand for both: named by the asker.
            named = record.model_copy(
                update={"model": record.model.model_copy(update={"name": asked.model})}
            )
            runs = Runs((named,), {record.key: self.out})
            self._open[asked.key] = open_cell(named, runs, self.source)
        return self._open[asked.key](question)

    def cell(self, asked: AskedCell) -> Cell:
        """Where its outcomes lie."""
        return cell_of(self.out, asked)

    def asked(self, arm: str) -> dict[tuple[Place, int], AskedCell]:
        """The cells of an arm that was trained, by place and seed."""
        return {
            (_place(one, self), record.seed): one
            for record in self.records
            if record.arm == arm and record.training is not None
            for one in record.asked
        }

    @property
    def places(self) -> list[Place]:
        """Where any arm was asked, in the order of the records."""
        names = dict.fromkeys(record.arm for record in self.records)
        return list(dict.fromkeys(place for name in names for place, _ in self.asked(name)))


def _place(asked: AskedCell, arms: Arms) -> Place:
    stored = asked.key and asked.status != "skipped"
    return Place(
        measure=asked.measure,
        share=asked.share,
        task=asked.task,
        dataset=asked.dataset,
        split=asked.split,
        cohort=asked.cohort,
        text_policy=asked.text_policy,
        phantom=arms.run(asked).dataset.phantom if stored else False,
    )


def all_worths(arms: Arms) -> list[Worth]:
    """Every difference of every arm, at every share, key metric and group; Holm over the arms.

    A seed at which one of the two failed is in no difference; rows of its own say what failed.
    """
    names = [name for name in dict.fromkeys(r.arm for r in arms.records) if name != FULL]
    found = [worth for name in names for worth in _of_arm(name, arms)]
    return adjusted(found, draws=arms.permutations)


def _of_arm(name: str, arms: Arms) -> Iterable[Worth]:
    full, own = arms.asked(FULL), arms.asked(name)
    records = {(r.arm, r.seed): r for r in arms.records}
    both = [(one, records[name, s]) for (a, s), one in records.items()
            if a == FULL and (name, s) in records]  # fmt: skip
    for place in arms.places or [_NOWHERE]:
        pairs, good, notes = [], [], []
        for one, other in both:
            cells = (full.get((place, one.seed)), own.get((place, one.seed)))
            note = _failure((one, other), cells)
            notes += [note] * bool(note)
            if not note and cells[0] is not None and cells[1] is not None:
                pairs.append((cells[0], cells[1]))
                good += [one, other]
        if pairs:
            rising = any(not flatness(record).flat for record in good)
            yield from _at_place(name, place, pairs, (arms, rising))
        yield from _without_number(name, place, ("failed", notes))


def _failure(
    records: tuple[ArmRecord, ArmRecord], cells: tuple[AskedCell | None, AskedCell | None]
) -> str:
    """What kept a seed from a difference at a place, or ''; nothing if neither was to be asked."""
    if cells == (None, None) and all(record.status == "ok" for record in records):
        return ""
    whys = []
    for record, cell in zip(records, cells, strict=True):
        ended = record if cell is None else cell
        if ended.status not in ("ok", "not_taught"):
            word = STATUSES.get(ended.status, ended.status)
            whys.append(f"{record.title} {word}: {ended.reason}")
        elif cell is None:
            whys.append(f"{record.title} was not asked")
    return "; ".join(whys)


def _at_place(
    name: str,
    place: Place,
    pairs: Sequence[tuple[AskedCell, AskedCell]],
    how: tuple[Arms, bool],
) -> Iterable[Worth]:
    arms, rising = how
    if any(one.status == "not_taught" for pair in pairs for one in pair):
        yield from _not_taught(name, place, pairs, arms)
        return
    first = [arms.run(one) for one in pairs[0]]
    for question in questions_of(first[0], first[1], ()):
        rows = [(arms.rows(a, question), arms.rows(b, question)) for a, b in pairs]
        check_aligned([cell for pair in rows for cell in pair])
        groups = rows[0][0].groups if place.share == 100 else {"all": rows[0][0].groups["all"]}
        for group in groups:
            found = _worth(rows, group, arms.permutations)
            if found is not None:
                yield replace(found, arm=name, place=place, question=question, under_trained=rising)


def _not_taught(
    name: str, place: Place, pairs: Sequence[tuple[AskedCell, AskedCell]], arms: Arms
) -> Iterable[Worth]:
    """One row per key number that one of the two has: not taught is no difference."""
    good = [one for one in pairs[0] if one.status == "ok"]
    if not good:
        for row in _without_number(name, place, ("not_taught", [NOT_TAUGHT])):
            yield replace(row, seeds=len(pairs))
        return
    side = "full" if good[0] is pairs[0][0] else "without"
    record = arms.run(good[0])
    for question in questions_of(record, record, ()):
        cells = [pair[0 if side == "full" else 1] for pair in pairs]
        values = [arms.rows(one, question).value for one in cells if one.status == "ok"]
        blank = Worth(name, place, question, status="not_taught", note=NOT_TAUGHT, seeds=len(pairs))
        yield replace(blank, **{side: float(np.mean(values))})


def _without_number(name: str, place: Place, why: tuple[str, Sequence[str]]) -> Iterable[Worth]:
    """A row per note and headline of the place, with a status instead of a number."""
    status, notes = why
    relevance = DEFAULT_RELEVANCE if place.task == "retrieval" else ""
    for note in notes:
        for direction, metric in HEADLINES.get(place.task, (("", ""),)):
            question = Question(metric, direction, relevance)
            yield Worth(name, place, question, status=status, note=note)


def _worth(
    rows: Sequence[tuple[Contributed, Contributed]], group: str, permutations: int
) -> Worth | None:
    """The difference in one group, over the samples that every arm and seed was scored on."""
    first = rows[0][0]
    mask = first.groups[group].copy()
    for pair in rows:
        for cell in pair:
            mask &= scored(cell.rows)
    if not mask.any():
        return None
    metric, patients = first.metric, np.unique(first.patients[mask], return_inverse=True)[1]
    pairs = [(one.rows[mask], other.rows[mask]) for one, other in rows]
    interval, note = interval_of(metric, pairs, patients)
    wanted = group == "all" and len(np.unique(patients)) >= MIN_PATIENTS
    return Worth(
        arm="",
        place=_NOWHERE,
        question=Question(metric.name),
        group=group,
        full=float(np.mean([value_of_rows(metric, one) for one, _ in pairs])),
        without=float(np.mean([value_of_rows(metric, other) for _, other in pairs])),
        difference=plain_difference(metric, pairs),
        interval=interval,
        p=checkpoints_p(metric, pairs, patients, permutations) if wanted else None,
        n=int(mask.sum()),
        seeds=len(pairs),
        patients=len(np.unique(patients)),
        status="ok" if interval is not None and not note else "no_interval",
        note=note,
        higher_is_better=metric.higher_is_better,
    )


def adjusted(found: Sequence[Worth], *, draws: int) -> list[Worth]:
    """The same with Holm's p over the arms of one table, on its primary metric.

    Args:
        found: all differences; each p value comes from `draws` permutations.
        draws: at least 100 for each arm of a table.

    Raises:
        ValueError: fewer draws than that.
    """
    made = list(found)
    families: dict[Place, list[int]] = {}
    for index, one in enumerate(made):
        if one.primary and one.p is not None and one.place.share == 100:
            families.setdefault(one.place, []).append(index)
    for members in families.values():
        p_values = {str(index): made[index].p or 0.0 for index in members}
        for index, value in holm(p_values, draws=draws).items():
            made[int(index)] = replace(made[int(index)], adjusted=value)
    return made
