from pathlib import Path

import numpy as np
import pytest

from harness.metrics.grounding import from_samples
from harness.metrics.grounding_metrics import GROUNDING_METRICS
from harness.metrics.metric import value
from harness.metrics.pixels import (
    NAMES,
    average_precision,
    box_mask,
    contrast_to_noise,
    map_numbers,
    pointing_hit,
    swept_iou,
)
from harness.models import Grounding
from harness.samples import ImageRef, PhraseBoxes

LEFT = np.array([[0.0, 0.0, 0.5, 1.0]], np.float32)
NAN = np.nan


def numbers(heatmap, boxes=LEFT):
    found = map_numbers(np.array(heatmap, np.float32), boxes)
    seen = dict(zip(NAMES, found[: len(NAMES)], strict=True))
    return seen, dict(zip(NAMES, found[len(NAMES) :], strict=True))


def test_contrast_worked_by_hand():
    # Inside 1 and 3: mean 2, variance 1. Outside 0 and 0. (2 - 0) / sqrt(1 + 0) = 2.
    full, in_field = numbers([[1, 3, 0, 0]])
    assert full["cnr"] == in_field["cnr"] == 2
    assert numbers([[0, 0, 1, 3]])[0]["cnr"] == -2
    assert numbers([[0, 0, 1, 3]])[0]["cnr/absolute"] == 2


def test_a_flat_map_has_no_contrast_and_hits_nothing():
    full, _ = numbers([[0.5, 0.5, 0.5, 0.5]])
    assert full["cnr"] == 0
    assert full["pointing"] == 0
    assert full["pixel_auprc"] == 0.5  # the share of true pixels


def test_contrast_of_one_side_only_is_not_scored():
    assert np.isnan(contrast_to_noise(np.ones(3), np.ones(3, bool)))
    assert np.isnan(contrast_to_noise(np.array([1.0, 0.0]), np.array([True, False])))


def test_pointing_takes_the_highest_pixel_and_a_tie_outside_misses():
    assert pointing_hit(np.array([3.0, 1.0]), np.array([True, False])) == 1
    assert pointing_hit(np.array([3.0, 3.0]), np.array([True, False])) == 0
    assert pointing_hit(np.array([3.0, 3.0, 1.0]), np.array([True, True, False])) == 1


def test_average_precision_worked_by_hand():
    # By falling value: true, false, true, false: (1 + 2/3) / 2.
    ap = average_precision(np.array([4.0, 3, 2, 1]), np.array([True, False, True, False]))
    assert ap == pytest.approx(5 / 6)


def test_average_precision_equals_scikit_learn_with_ties():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    for levels in (3, 1000):
        values, inside = rng.integers(0, levels, 400).astype(float), rng.random(400) < 0.2
        theirs = metrics.average_precision_score(inside, values)
        assert average_precision(values, inside) == pytest.approx(theirs, abs=1e-12)


def test_swept_iou_worked_by_hand():
    # Values .05, .25 inside, .45 outside. IoU at .1 and .2: 1/3; at .3 and .4: 0; at .5: 0.
    ious = swept_iou(np.array([0.05, 0.25, 0.45]), np.array([True, True, False]))
    assert ious == pytest.approx((1 / 3 + 1 / 3) / 5)


def test_truth_that_was_not_seen_is_a_miss_and_left_out_in_field():
    full, in_field = numbers([[NAN, NAN, 0.2, 0.1]])
    assert full["pointing"] == 0
    assert full["miou_swept"] == 0
    assert full["pixel_auprc"] == 0.5  # both true pixels come last, together: 2 of 4
    assert all(np.isnan(v) for v in in_field.values())


def test_truth_seen_in_part_counts_its_unseen_part():
    full, in_field = numbers([[0.9, NAN, 0.1, 0.0]])
    assert full["pointing"] == in_field["pointing"] == 1
    assert in_field["pixel_auprc"] == 1
    assert full["pixel_auprc"] == pytest.approx((1 + 2 / 4) / 2)
    assert full["miou_swept"] == pytest.approx((1 / 3 + 4 / 2) / 5)  # at .1 one false pixel


def test_negative_maps_rank_unseen_pixels_lowest_too():
    full, _ = numbers([[NAN, -5.0, -7.0, -9.0]])
    assert full["pixel_auprc"] == pytest.approx((1 + 2 / 4) / 2)
    assert full["pointing"] == 1


def test_a_box_smaller_than_a_pixel_takes_the_pixel_it_lies_in():
    mask = box_mask(np.array([[0.26, 0.1, 0.3, 0.2]]), (2, 4))
    assert mask.sum() == 1
    assert mask[0, 1]


def test_several_boxes_are_one_truth():
    two = np.array([[0.0, 0.0, 0.25, 1.0], [0.75, 0.0, 1.0, 1.0]])
    assert numbers([[0, 0, 0, 1]], two)[0]["pointing"] == 1


def phrase(number, boxes, finding=""):
    image = ImageRef(f"i{number}", Path("none"), f"p{number}", f"s{number}")
    return PhraseBoxes(f"q{number}", image, "phrase", boxes=boxes, finding=finding)


def test_metrics_average_over_boxed_phrases_with_a_map_and_over_findings():
    hit = np.array([[1, 0.9, 0, 0.1]], np.float32)
    samples = [
        phrase(0, LEFT, "a"),
        phrase(1, LEFT, "a"),
        phrase(2, LEFT, "b"),
        phrase(3, np.zeros((0, 4), np.float32)),
    ]
    answers = [Grounding(heatmap=m) for m in (hit, hit, hit[:, ::-1].copy(), hit)]
    outcomes = from_samples(samples, answers)
    assert value(GROUNDING_METRICS["pointing"], outcomes) == pytest.approx(2 / 3)
    assert value(GROUNDING_METRICS["pointing/macro"], outcomes) == 0.5
    assert value(GROUNDING_METRICS["pointing/in-field"], outcomes) == pytest.approx(2 / 3)


def test_a_malformed_answer_of_a_model_that_draws_maps_is_a_miss():
    """Else a model would be better off failing on what it finds hard."""
    hit = np.array([[1, 0.9, 0, 0.1]], np.float32)
    lost = Grounding(status="malformed")
    bare = phrase(2, np.zeros((0, 4), np.float32))
    outcomes = from_samples(
        [phrase(0, LEFT), phrase(1, LEFT), bare], [Grounding(heatmap=hit), lost, lost]
    )
    for name in ("pointing", "pixel_auprc", "pointing/in-field"):
        assert value(GROUNDING_METRICS[name], outcomes) == 0.5
    whole = from_samples([phrase(0, LEFT)], [Grounding(heatmap=hit)])
    for name in ("cnr", "miou_swept"):
        alone = value(GROUNDING_METRICS[name], whole)
        assert value(GROUNDING_METRICS[name], outcomes) == pytest.approx(alone / 2)
    # No box was given and none is expected: a miss in the map is no IoU of 0 over one phrase.
    assert np.isnan(value(GROUNDING_METRICS["miou"], outcomes))
    boxed = from_samples([phrase(0, LEFT), phrase(1, LEFT)], [Grounding(LEFT, heatmap=hit), lost])
    assert value(GROUNDING_METRICS["miou"], boxed) == 0.5


def test_without_heat_maps_nothing_is_scored():
    outcomes = from_samples([phrase(0, LEFT)], [Grounding(LEFT)])
    assert np.isnan(value(GROUNDING_METRICS["cnr"], outcomes))
    assert GROUNDING_METRICS["cnr"].needs == "a heat map"


def test_a_phrase_without_a_box_or_a_map_without_a_number_is_refused():
    with pytest.raises(ValueError, match="0 true boxes"):
        map_numbers(np.ones((2, 2), np.float32), np.zeros((0, 4)))
    with pytest.raises(ValueError, match="0 pixels seen"):
        map_numbers(np.full((2, 2), NAN, np.float32), LEFT)
