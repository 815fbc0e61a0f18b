"""What a report says beyond the scores: ranks, figures, and why one of them is missing."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from harness.errors import BenchError
from reports.definitions import DIRECTIONS, definition
from reports.figures import (
    SpeedPoint,
    finding_heatmap,
    iou_histograms,
    recall_curves,
    speed_accuracy,
)
from reports.markdown import column_title
from reports.page import Figure
from reports.paired import Contributed, Question, contributed, rank_ranges
from reports.runs import DatasetSource, Runs
from reports.tables import Panel, Row, Section, primary_column

MOST = 6  # models that one figure can hold and still be read


def models_of(panel: Panel) -> list[Row]:
    """The rows of a panel that are models, best first."""
    return [row for row in panel.rows if row.role == "model"]


def ranks_of(section: Section, runs: Runs, source: DatasetSource) -> tuple[dict[str, str], str]:
    """Rank ranges by record key for the headline panel, and why there are none.

    A contaminated row is not ranked: it has seen what the others are asked.
    """
    if not section.panels:
        return {}, ""
    panel = section.panels[0]
    column = primary_column(section.key.task, panel.columns)
    rows = [r for r in models_of(panel) if r.record.exposure != "contaminated"]
    if column is None or len(rows) < 2:
        return {}, ""
    try:
        question = Question(column[1], column[0], panel.relevance)
        cells = [contributed(r.record, question, runs, source) for r in rows]
        ranges = rank_ranges(cells)
    except BenchError as error:
        return {}, f"No ranks: {error}"
    return ranges, "" if ranges else "No ranks: fewer than 20 patients."


def figures_of(section: Section, runs: Runs, source: DatasetSource) -> list[Figure]:
    """The figures for which there is something to draw."""
    if not section.panels:
        return []
    return [
        *_speed(section),
        *_curves(section, runs),
        *_overlaps(section, runs, source),
        *_findings(section),
    ]


def _speed(section: Section) -> Iterator[Figure]:
    panel = section.panels[0]
    column = primary_column(section.key.task, panel.columns)
    points = [p for row in models_of(panel) if column and (p := _point(row, column))]
    if len(points) < 2 or column is None:
        return
    devices = {row.record.environment.device for row in models_of(panel)}
    yield Figure(
        "Speed and accuracy",
        speed_accuracy(points, column_title(column)),
        f"Samples asked per second of asking, on {', '.join(sorted(devices))}; embeddings that "
        "were cached count as fast. The line joins the models that no other beats in both.",
    )


def _point(row: Row, column: tuple[str, str]) -> SpeedPoint | None:
    seconds = row.record.seconds.get("ask", 0.0)
    score = row.cells.get(column)
    if seconds <= 0 or score is None or score.value is None:
        return None
    per_second = row.record.dataset.n_used / seconds
    return SpeedPoint(row.model, per_second, score.value, score.low, score.high)


def _curves(section: Section, runs: Runs) -> Iterator[Figure]:
    panel = section.panels[0]
    if section.key.task != "retrieval":
        return
    rows = models_of(panel)[:MOST] or [r for r in panel.rows if r.role == "control"][:MOST]
    ranks: dict[str, dict[str, np.ndarray]] = {}
    for row in rows:
        frame = runs.cell(row.record).read("ranks")
        for direction in ("image_to_text", "text_to_image") if len(frame) else ():
            found = frame.loc[frame["direction"] == direction, f"rank/{panel.relevance}"]
            asked = found[found > 0].to_numpy()
            ranks.setdefault(DIRECTIONS[direction], {})[row.model] = asked
    if ranks:
        chance = {title: _chance(panel, title) for title in ranks}
        caption = f"Relevance {panel.relevance}. Every rank is exact; ties count against the model."
        yield Figure("Recall at every K", recall_curves(ranks, chance), caption, wide=True)


def _chance(panel: Panel, title: str) -> dict[int, float]:
    found = next((row for row in panel.rows if row.model == "chance"), None)
    if found is None:
        return {}
    return {
        int(metric.partition("@")[2]): score.value
        for (direction, metric), score in found.cells.items()
        if DIRECTIONS[direction] == title
        and metric.startswith("recall@")
        and score.value is not None
    }


def _overlaps(section: Section, runs: Runs, source: DatasetSource) -> Iterator[Figure]:
    panel = section.panels[0]
    if section.key.task != "grounding" or ("", "miou") not in panel.columns:
        return
    chosen = models_of(panel)[: MOST - 1]
    named = ("text-only",) if chosen else ("text-only", "mean-box", "centre-box")
    chosen += [row for row in panel.rows if row.model in named]
    ious = {row.model: values for row in chosen if len(values := _ious(row, runs, source))}
    if ious:
        text = "Boxed phrases of movable findings. A model that guesses has its mass at zero."
        yield Figure("Spread of IoU", iou_histograms(ious), text)


def _ious(row: Row, runs: Runs, source: DatasetSource) -> np.ndarray:
    try:
        cell: Contributed = contributed(row.record, Question("miou"), runs, source)
    except BenchError:
        return np.zeros(0)
    values = cell.rows[cell.groups["all"], 0]
    return values[np.isfinite(values)]


def _findings(section: Section) -> Iterator[Figure]:
    by_finding = next((s for s in section.subgroups if s.attribute == "finding"), None)
    if by_finding is None:
        return
    rows = [(row, cells) for row, cells in by_finding.rows if row.role != "ceiling"]
    table = pd.DataFrame(
        [
            [cells[v].value if v in cells else np.nan for v in by_finding.values]
            for _, cells in rows
        ],
        index=[row.model for row, _ in rows],
        columns=list(by_finding.values),
        dtype="float64",
    )
    if table.size and table.notna().to_numpy().any():
        label = definition(by_finding.column[1]).label
        caption = "Intervals and numbers of phrases stand in the table by finding."
        yield Figure(f"{label} by finding", finding_heatmap(table, label), caption, wide=True)
