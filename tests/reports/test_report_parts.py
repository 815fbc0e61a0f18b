"""Parts of a report: published numbers, whiskers, figures, LaTeX, the note on intervals."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.record import Score
from reports.definitions import PHANTOM_SENTENCE
from reports.figures import (
    SpeedPoint,
    finding_heatmap,
    iou_histograms,
    pareto_front,
    recall_curves,
    speed_accuracy,
)
from reports.latex import latex
from reports.leaderboard import plain_html
from reports.markdown import markdown
from reports.page import Extras, render_page
from reports.published import published_tables
from reports.tables import sections
from reports.whiskers import lanes


def test_published_numbers_are_those_of_the_source():
    tables = {table.title: table for table in published_tables()}
    lofi = tables["MIMIC-CXR test, retrieval"].rows[0]
    assert lofi.values == {
        "Image→Text R@1": "13.90",
        "Image→Text R@40": "72.53",
        "Text→Image R@1": "11.91",
    }
    external = tables["PadChest-GR test, external (not trained on it)"].rows
    assert [list(row.values.values()) for row in external] == [
        ["63.55", "48.00", "25.34"],
        ["31.44", "24.00", "2.10"],
    ]


def test_every_published_number_has_a_source_a_confidence_and_a_column():
    for table in published_tables():
        assert table.protocol
        for row in table.rows:
            assert row.source
            assert row.confidence.startswith(("primary", "secondary"))
            assert set(row.values) <= set(table.metrics)


def test_what_is_known_from_memory_or_does_not_hold_is_not_published():
    text = (Path(__file__).parents[2] / "reports" / "published.yaml").read_text()
    numbers = {
        value
        for table in yaml.safe_load(text)
        for row in table["rows"]
        for value in row["values"].values()
    }
    assert not numbers & {"21.6", "48.9", "60.2", "7.2", "20.6", "30.3"}  # from memory
    assert not numbers & {"23.3", "24.9", "26.1", "28.9", "31.2", ".382", ".462", "98.9"}


def test_whiskers_lie_where_the_numbers_are(record, mious):
    scores = [Score(metric="miou", value=0.2, low=0.1, high=0.4, n=9)]
    rows = [
        record(task="grounding", scores=scores),
        record("nothing", task="grounding", card={"control": True}, scores=mious(0.1)[:1]),
        record("oracle", task="grounding", card={"control": True}, scores=mious(1.0)[:1]),
    ]
    (section,) = sections(rows)
    found = lanes(section.panels[0], "grounding")
    lane = found.lanes[rows[0].key]
    assert (lane.low, lane.at, lane.high, found.floor) == (25.0, 50.0, 100.0, 25.0)
    assert rows[2].key not in found.lanes  # the oracle lies beyond the scale


def test_a_panel_without_numbers_has_no_lanes(record):
    (section,) = sections([record(scores=[Score(metric="miou", value=None)])])
    assert lanes(section.panels[0], "grounding") is None


def test_the_page_of_nothing_is_a_page():
    assert "Controls only" in render_page([], Extras(), title="empty")


def test_latex_escapes_what_it_would_execute(record):
    text = latex(sections([record(r"a_b & 50% $x$ \input{/etc/passwd}")]))
    assert r"a\_b \& 50\% \$x\$ \textbackslash{}input\{/etc/passwd\}" in text


def test_latex_says_that_phantoms_are_phantoms(record):
    assert PHANTOM_SENTENCE in latex(sections([record(data={"phantom": True})]))


def test_a_slower_and_worse_model_is_not_on_the_front():
    points = [SpeedPoint("a", 10, 0.5), SpeedPoint("b", 20, 0.4), SpeedPoint("c", 5, 0.45)]
    assert [p.model for p in pareto_front(points)] == ["a", "b"]


RANKS = {"Image→Text": {"a": np.array([1, 3, 20]), "_b $x$": np.array([2, 2, 90])}}


@pytest.mark.parametrize(
    "draw",
    [
        lambda: speed_accuracy([SpeedPoint("a<b>", 10, 0.5, 0.4, 0.6)], "R@10"),
        lambda: speed_accuracy([SpeedPoint("$\\x$", 10, 0.5), SpeedPoint("b", 10, 0.5)], "R@10"),
        lambda: recall_curves(RANKS, {"Image→Text": {1: 0.1, 10: 0.9}}),
        lambda: recall_curves({"Image→Text": {"a": np.array([], int)}}, {}),
        lambda: iou_histograms({"a": np.array([0.0, 0.5, 1.0])}),
        lambda: finding_heatmap(_table(), "mIoU"),
    ],
)
def test_a_figure_has_the_same_bytes_twice_and_the_colors_of_the_page(draw):
    first, second = draw(), draw()
    assert first == second
    assert first.startswith("<svg")
    assert "var(--" in first
    assert "<b>" not in first
    assert "<metadata" not in first


def _table():
    import pandas as pd

    return pd.DataFrame([[0.1, np.nan]], index=["a_b"], columns=["nodule", "mass & more"])


def test_every_kind_of_report_says_how_intervals_are_made(record) -> None:
    found = sections([record()])
    texts = (
        render_page(found, Extras(), title="t"),
        latex(found),
        markdown(found),
        plain_html(found),
    )
    for text in texts:
        flat = " ".join(text.replace("%", " ").split())
        assert "gallery fixed" in flat
        assert "none under 20 patients" in flat
