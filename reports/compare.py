"""Is the difference between two models real? Paired differences per table, metric and group."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.errors import BenchError
from harness.metrics.compare import (
    DRAWS_PER_TEST,
    Difference,
    McNemar,
    holm,
    mcnemar,
    paired_difference,
)
from harness.metrics.metric import scored, value_of_rows
from harness.record import RunRecord
from harness.tasks import find_task
from reports.definitions import DEFAULT_RELEVANCE, PRIMARY, is_key
from reports.paired import Contributed, Question, check_aligned, open_cell
from reports.runs import DatasetSource, Runs
from reports.tidy import section_key

PERMUTATIONS = 10_000


@dataclass(frozen=True)
class Side:
    """One model on one table: its record and the folder with its outcomes."""

    record: RunRecord
    runs: Runs


@dataclass(frozen=True)
class Line:
    """One number under both models: a minus b.

    `flips` is None where the metric is not a hit or a miss per query; `adjusted` is the p value
    after Holm's correction, on the primary metric only.
    """

    question: Question
    group: str
    a: float
    b: float
    difference: Difference
    flips: McNemar | None
    higher_is_better: bool
    adjusted: float | None = None

    @property
    def worst(self) -> float | None:
        """How far a may lie below b, positive for a loss; None without an interval."""
        found = self.difference
        if found.low is None or found.high is None:
            return None
        return -found.low if self.higher_is_better else found.high

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not told apart`; `no interval` below 20 patients."""
        if self.difference.low is None:
            return "no interval"
        if not self.difference.excludes_zero:
            return "not told apart"
        return "better" if (self.difference.value > 0) == self.higher_is_better else "worse"


@dataclass(frozen=True)
class Comparison:
    """Two models on one table; the first line is the primary metric over all samples."""

    a: Side
    b: Side
    lines: tuple[Line, ...]
    groups: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def pair_up(
    ours: Sequence[Side], theirs: Sequence[Side], *, by_model: bool
) -> Iterator[tuple[Side, Side]]:
    """Pairs of sides that were asked the same table; `by_model` also wants the same model.

    Raises:
        BenchError: all others that were asked a side's table were asked different data.
    """
    for a in ours:
        one = section_key(a.record)
        named = replace(one, fingerprint="")
        others = [
            b
            for b in theirs
            if replace(section_key(b.record), fingerprint="") == named
            and not (by_model and a.record.model.name != b.record.model.name)
            and not (a.record.key == b.record.key and a.runs is b.runs)
        ]
        same = [b for b in others if section_key(b.record).fingerprint == one.fingerprint]
        if others and not same:
            raise _other_data(a.record, others[0].record)
        yield from ((a, b) for b in same)


def _other_data(a: RunRecord, b: RunRecord) -> BenchError:
    data, other = a.dataset, b.dataset
    return BenchError(
        f"{a.model.name} on {a.task} {data.name} {data.split}: asked on data "
        f"{data.fingerprint[:12]}, {b.model.name} on {other.fingerprint[:12]}. Only cells on the "
        "same data can be compared: use the same --data and --limit."
    )


def compare_all(
    pairs: Sequence[tuple[Side, Side]], source: DatasetSource, *, metrics: Sequence[str] = ()
) -> list[Comparison]:
    """The comparison of each pair; p values of one table's primary metric are adjusted together.

    Pairs without any of the `metrics` asked for are left out.

    Raises:
        BenchError: no pair has a metric that was asked for; or outcomes or data are missing.
    """
    kept = [(a, b) for a, b in pairs if questions_of(a.record, b.record, metrics)]
    if not kept:
        known = sorted({q.metric for a, b in pairs for q in questions_of(a.record, b.record, ())})
        wanted = ", ".join(metrics) or "any metric"
        raise BenchError(f"no score of both for {wanted}. Both have: {', '.join(known) or '-'}.")
    largest = max(Counter((section_key(a.record), b.record.key) for a, b in kept).values())
    draws = max(PERMUTATIONS, DRAWS_PER_TEST * largest)
    found = [_compare((a, b), source, metrics, draws) for a, b in kept]
    families: dict[object, list[int]] = {}
    for index, item in enumerate(found):
        if item.lines[0].difference.p is not None:
            at = (section_key(item.a.record), item.b.record.key, item.lines[0].question)
            families.setdefault(at, []).append(index)
    for members in families.values():
        p_values = {str(i): found[i].lines[0].difference.p or 0.0 for i in members}
        for index, adjusted in holm(p_values, draws=draws).items():
            item = found[int(index)]
            first = replace(item.lines[0], adjusted=adjusted)
            found[int(index)] = replace(item, lines=(first, *item.lines[1:]))
    return found


def _compare(
    pair: tuple[Side, Side], source: DatasetSource, metrics: Sequence[str], permutations: int
) -> Comparison:
    a, b = pair
    questions = questions_of(a.record, b.record, metrics)
    asked = [open_cell(side.record, side.runs, source) for side in (a, b)]
    lines: list[Line] = []
    groups: list[Line] = []
    for index, question in enumerate(questions):
        cells = [ask(question) for ask in asked]
        check_aligned(cells)
        lines.append(_line(question, cells, "all", permutations))
        if index == 0:
            names = [name for name in cells[0].groups if name != "all"]
            groups = [_line(question, cells, name, 0) for name in names]
    note = "" if len(groups) else source(a.record)[1]
    notes = [f"no sub-groups: {note}"] if note else []
    kept = tuple(line for line in groups if line.difference.n)
    return Comparison(a, b, tuple(lines), kept, tuple(notes))


def questions_of(a: RunRecord, b: RunRecord, metrics: Sequence[str]) -> list[Question]:
    """What both records have a score for over all samples, the primary metric first.

    Without `metrics`, those that a table shows at first sight.
    """
    both = _asked(a) & _asked(b)
    wanted = [q for q in both if (q.metric in metrics if metrics else is_key(q.metric))]
    primary = PRIMARY.get(a.task)
    order = list(find_task(a.task).metrics)
    return sorted(
        wanted,
        key=lambda q: ((q.direction, q.metric) != primary, q.direction, order.index(q.metric)),
    )


def _asked(record: RunRecord) -> set[Question]:
    known = find_task(record.task).metrics
    relevances = [s.relevance for s in record.scores]
    shown = DEFAULT_RELEVANCE if DEFAULT_RELEVANCE in relevances else next(iter(relevances), "")
    return {
        Question(s.metric, s.direction, s.relevance)
        for s in record.scores
        if s.group == "all" and s.relevance == shown and s.metric in known
    }


def _line(question: Question, cells: Sequence[Contributed], group: str, permutations: int) -> Line:
    a, b = cells
    mask = a.groups[group][:, None]
    rows = (np.where(mask, a.rows, np.nan), np.where(mask, b.rows, np.nan))
    both = scored(rows[0]) & scored(rows[1])
    found = paired_difference(
        a.metric, rows, a.patients, permutations=permutations if both.any() else 0
    )
    return Line(
        question=question,
        group=group,
        a=value_of_rows(a.metric, rows[0][both]),
        b=value_of_rows(b.metric, rows[1][both]),
        difference=found,
        flips=_flips(rows[0][both], rows[1][both], a.patients[both]),
        higher_is_better=a.metric.higher_is_better,
    )


def _flips(a: np.ndarray, b: np.ndarray, patients: np.ndarray) -> McNemar | None:
    hits = a.shape[1:] == (1,) and bool(np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all())
    if not hits or not len(a):
        return None
    return mcnemar(a[:, 0] == 1, b[:, 0] == 1, patients)


def gate(found: Sequence[Comparison], max_drop: float) -> list[str]:
    """Why a drop of more than `max_drop` cannot be excluded, one sentence per comparison.

    The primary metric decides, by the end of its interval and not by its value.
    """
    reasons = []
    for item in found:
        line = item.lines[0]
        where = f"{item.a.record.model.name} on {item.a.record.task} {item.a.record.dataset.name}"
        if line.worst is None:
            reasons.append(f"{where}: {line.question.metric} has no interval (too few patients).")
        elif line.worst > max_drop:
            reasons.append(
                f"{where}: {line.question.metric} may be {line.worst:.3f} below "
                f"{item.b.record.model.name}; allowed is {max_drop:g}."
            )
    return reasons
