"""The forest plot of an ablation: on which side and in which colour each arm stands."""

import pytest
from matplotlib.colors import to_hex

from reports.ablation_figures import forest
from reports.ablation_worth import HEADLINES, Worth
from reports.figures import CONTROL, PALETTE
from reports.paired import Question
from tests.reports.arms import PLACE, arm, found, interval

BLUE, ORANGE = PALETTE[0], PALETTE[1]


def drawn(monkeypatch, metric, **lanes):
    """The panel of one metric with an arm per lane, and the colour of each arm's mark."""
    monkeypatch.setattr("reports.ablation_figures.saved", lambda canvas: {"canvas": canvas})
    monkeypatch.setitem(HEADLINES, "grounding", (("", metric),))
    worths = tuple(Worth(name, PLACE, Question(metric), **lane) for name, lane in lanes.items())
    records = (arm(), *(arm(name) for name in lanes))
    axes = forest(found(records=records, worths=worths))["canvas"].axes[0]
    marks = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_ydata()[0] for line in marks] == list(range(len(lanes)))
    return axes, {
        name: to_hex(line.get_markeredgecolor()) for name, line in zip(lanes, marks, strict=True)
    }


def lane(low, high, **more):
    return {"difference": (low + high) / 2, "interval": interval(low, high), **more}


def test_what_is_better_with_the_full_arm_is_blue_and_lies_right(monkeypatch):
    axes, colors = drawn(
        monkeypatch,
        "miou",
        better=lane(0.1, 0.3),
        worse=lane(-0.3, -0.1),
        same=lane(-0.1, 0.3),
        early=lane(0.1, 0.3, under_trained=True),
    )
    assert colors == {"better": BLUE, "worse": ORANGE, "same": CONTROL, "early": CONTROL}
    assert axes.get_xlabel() == "← arm better    full better →"
    assert [line.get_xdata()[0] for line in axes.lines[1:]] == pytest.approx([0.2, -0.2, 0.1, 0.2])


def test_of_an_error_rate_less_is_better_so_the_sides_are_exchanged(monkeypatch):
    falling = {"higher_is_better": False}
    axes, colors = drawn(
        monkeypatch,
        "false_empty",
        worse=lane(0.1, 0.3, **falling),
        better=lane(-0.3, -0.1, **falling),
    )
    assert colors == {"worse": ORANGE, "better": BLUE}
    assert axes.get_xlabel() == "← full better    arm better →"


def test_the_bar_has_the_colour_of_its_mark(monkeypatch):
    axes, _ = drawn(monkeypatch, "miou", better=lane(0.1, 0.3), worse=lane(-0.3, -0.1))
    assert [to_hex(bar.get_color()[0]) for bar in axes.collections] == [BLUE, ORANGE]
