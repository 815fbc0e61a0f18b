"""Where a value and its interval lie in the lane beside the primary column, in percent."""

import math
from dataclasses import dataclass

from harness.record import Score
from reports.definitions import definition
from reports.tables import Panel, Row, primary_column


@dataclass(frozen=True)
class Lane:
    """Positions of one row in its lane, 0 to 100; `low` and `high` are None without an interval."""

    at: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Lanes:
    """The lanes of a panel on one scale; `floor` is where the best control lies."""

    lanes: dict[str, Lane]
    start: float
    end: float
    floor: float | None


def lanes(panel: Panel, task: str) -> Lanes | None:
    """A lane per row, by record key; None where no row has a value in the primary column.

    The scale spans models and controls. Ceilings have a lane only where they lie on it: an oracle
    at 1 would press every model against the left edge.
    """
    column = primary_column(task, panel.columns)
    scored = [(row, row.cells[column]) for row in panel.rows if column in row.cells]
    spanned = [s for row, s in scored if row.role != "ceiling"] or [s for _, s in scored]
    ends = [v for s in spanned for v in (s.value, s.low, s.high) if v is not None]
    if column is None or not ends:
        return None
    start, end = min(0.0, *ends) if len(ends) > 1 else min(0.0, ends[0]), max(ends)
    if end <= start:
        end = start + 1.0
    return Lanes(
        lanes={row.record.key: lane for row, s in scored if (lane := _lane(s, start, end))},
        start=start,
        end=end,
        floor=_floor(scored, column[1], start, end),
    )


def _place(value: float, start: float, end: float) -> float:
    return round(100 * (value - start) / (end - start), 2)


def _lane(score: Score, start: float, end: float) -> Lane | None:
    if score.value is None or math.isnan(score.value) or score.value > end:
        return None
    marks = [
        None if v is None else _place(min(v, end), start, end) for v in (score.low, score.high)
    ]
    return Lane(_place(score.value, start, end), marks[0], marks[1])


def _floor(scored: list[tuple[Row, Score]], metric: str, start: float, end: float) -> float | None:
    values = [s.value for row, s in scored if row.role == "control" and s.value is not None]
    if not values:
        return None
    best = max(values) if definition(metric).higher_is_better else min(values)
    return _place(best, start, end)
