"""Nothing to score, nothing to draw, nothing to find: what each metric says then."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from harness.metrics.bootstrap import score
from harness.metrics.calibration import Threshold, with_boxes
from harness.metrics.coco import average_precision as coco_precision
from harness.metrics.metric import Metric, ratio, weighted_median
from harness.metrics.pixels import average_precision
from harness.models import Grounding

RATIO = Metric("r", lambda outcomes: outcomes.rows, ratio, "A number.")


@dataclass(frozen=True)
class Outcomes:
    """Twenty patients, one outcome each."""

    rows: np.ndarray
    patients: np.ndarray = field(default_factory=lambda: np.arange(20))


def test_a_ratio_that_no_draw_can_give_has_no_interval_and_says_so() -> None:
    rows = np.column_stack([np.ones(20), np.zeros(20)])
    with np.errstate(divide="ignore", invalid="ignore"):
        found = score({"r": RATIO}, Outcomes(rows), draws=10)["all"]["r"]
    assert (found.low, found.high) == (None, None)
    assert found.note == "no draw could be scored"
    assert (found.n, found.patients) == (20, 20)


def test_draws_that_cannot_be_scored_leave_the_interval_to_the_others() -> None:
    """One patient of twenty is counted; without it, as in a third of draws, nothing is."""
    rows = np.zeros((20, 2))
    rows[0] = (3, 6)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = score({"r": RATIO}, Outcomes(rows), draws=50)["all"]["r"]
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_the_median_of_nothing_is_no_number() -> None:
    assert np.isnan(weighted_median(np.zeros((0, 1)), np.zeros((3, 0)))).tolist() == [True] * 3


def test_precision_over_pixels_without_a_true_pixel_is_no_number() -> None:
    assert np.isnan(average_precision(np.array([0.3, 0.2]), np.zeros(2, bool)))


def test_coco_precision_of_a_draw_without_a_true_box_is_no_number() -> None:
    """Columns: true boxes, then score and matches of a box. The first phrase has both."""
    rows = np.array([[1.0, 0.9, 1.0], [0.0, 0.8, 0.0]])
    weights = np.array([[1.0, 1.0], [0.0, 2.0]])
    found = coco_precision(rows, weights, range(1))
    assert found[0] == pytest.approx(1)
    assert np.isnan(found[1])


def test_answers_with_boxes_and_malformed_ones_keep_what_they_are() -> None:
    heatmap = np.float32([[0.9, 0.1], [0.1, 0.1]])
    box = np.float32([[0, 0, 1, 1]])
    answers = [
        Grounding(box),
        Grounding(heatmap=heatmap, status="malformed"),
        Grounding(heatmap=heatmap),
    ]
    kept, malformed, made = with_boxes(answers, Threshold(0.5, 1.0, "d", "validation", 3))
    assert kept is answers[0]
    assert malformed is answers[1]
    assert made.boxes.tolist() == [[0, 0, 0.5, 0.5]]
    assert made.status == "ok"
