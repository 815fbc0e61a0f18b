"""Visibility, boxes, regions and readers."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from harness.boxes import boxes_from_unit, no_boxes
from harness.phantom.film import render_study
from harness.phantom.readers import read_boxes
from harness.phantom.truth import boxes_of

_spec = spec_from_file_location("film_plans", Path(__file__).with_name("film_plans.py"))
plans = module_from_spec(_spec)
_spec.loader.exec_module(plans)
finding, study = plans.finding, plans.study


def painted(boxes, n=200):
    grid = np.zeros((n, n), bool)
    for x1, y1, x2, y2 in np.round(np.asarray(boxes) * n).astype(int):
        grid[y1:y2, x1:x2] = True
    return grid


def overlap(first, second):
    a, b = painted(first), painted(second)
    return (a & b).sum() / max(1, (a | b).sum())


def drawn(one, index=31, view="PA"):
    return render_study(study(index, [one], views=(view,)))[0].findings[0]


def test_connected_parts_get_one_box_each_and_specks_none():
    mask = np.zeros((100, 100), bool)
    mask[10:20, 10:30] = True
    mask[60:80, 60:70] = True
    mask[95, 5] = True
    found = sorted(tuple(box) for box in boxes_of(mask, pitch=1.7))
    assert found == [(10, 10, 30, 20), (60, 60, 70, 80)]


def test_parts_closer_than_the_reading_distance_are_one_focus():
    mask = np.zeros((100, 100), bool)
    mask[10:20, 10:20] = True
    mask[10:20, 23:33] = True
    assert [tuple(box) for box in boxes_of(mask, pitch=1.7)] == [(10, 10, 33, 20)]


def test_three_nodules_give_three_boxes():
    one = finding("nodule", "left", "", size="large", count=3, severity=1.0, seed=3)
    assert len(drawn(one).exact) == 3


@pytest.mark.parametrize("name", ["pleural_effusion", "consolidation", "mass", "nodule"])
def test_a_larger_finding_has_a_larger_box(name):
    zone = "" if name == "pleural_effusion" else "mid"
    areas = []
    for size in ("small", "moderate", "large"):
        boxes = drawn(finding(name, "left", zone, size=size, severity=0.9)).exact
        areas.append(float(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).sum()))
    assert areas == sorted(areas)
    assert areas[2] > 1.5 * areas[0]


@pytest.mark.parametrize("name", ["consolidation", "mass", "nodule", "atelectasis", "interstitial"])
def test_a_more_severe_finding_is_more_visible(name):
    faint, dense = (drawn(finding(name, "right", "", severity=s)).visibility for s in (0.1, 1.0))
    assert dense > 1.3 * faint


def test_what_cannot_be_seen_has_no_box_of_any_kind():
    one = finding("nodule", "left", "mid", size="small", severity=0.0)
    hidden = [d for i in range(12) for d in [drawn(one, index=40 + i)] if not d.visible]
    assert hidden
    for record in hidden:
        assert not record.subtle
        for boxes in (record.exact, record.reader_1, record.reader_2, record.region):
            assert boxes.shape == (0, 4)


def test_a_faint_finding_is_subtle_and_a_dense_one_is_not():
    assert drawn(finding("mass", "left", "mid", size="large", severity=1.0)).subtle is False
    faint = [
        drawn(finding("nodule", "left", "upper", size="moderate", severity=0.1), index=60 + i)
        for i in range(8)
    ]
    assert any(record.subtle for record in faint)
    assert all(record.visibility < 7 for record in faint if record.subtle)


def test_a_large_heart_is_boxed_across_the_midline_and_in_frontal_views_only():
    record = drawn(finding("cardiomegaly", "none", size="large"))
    x1, _, x2, y2 = record.exact[0]
    assert x1 < 0.45 < 0.55 < x2
    assert y2 > 0.6
    lateral = drawn(finding("cardiomegaly", "none", size="large"), view="LATERAL")
    assert not lateral.visible


@pytest.mark.parametrize("name", ["edema", "emphysema"])
def test_a_diffuse_finding_of_both_lungs_has_a_box_in_each(name):
    boxes = drawn(finding(name, "both", size="large", severity=1.0)).exact
    assert len(boxes) == 2
    assert boxes[0, 2] < 0.6
    assert boxes[1, 0] > 0.4


def test_the_zone_decides_where_pleural_air_lies():
    apex = drawn(finding("pneumothorax", "left", "apical", size="small")).exact
    base = drawn(finding("pneumothorax", "left", "basal", size="small")).exact
    assert apex[:, 1].min() < base[:, 1].min() - 0.1
    assert apex[:, 3].max() < base[:, 3].max() - 0.1


def test_the_region_is_anatomy_and_larger_than_a_small_lesion():
    record = drawn(finding("nodule", "left", "upper", size="large", severity=1.0))
    region, exact = record.region[0], record.exact[0]
    assert (region[:2] <= exact[:2] + 0.03).all()
    assert (region[2:] >= exact[2:] - 0.03).all()
    assert np.prod(region[2:] - region[:2]) > 4 * np.prod(exact[2:] - exact[:2])


def test_readers_agree_as_people_do():
    rng = np.random.default_rng(0)
    agreement = []
    for seed in range(400):
        corner, side = rng.uniform(0.1, 0.5, 2), rng.uniform(0.08, 0.4, 2)
        exact = boxes_from_unit([[*corner, *(corner + side)]])
        agreement.append(overlap(read_boxes(exact, seed, 1), read_boxes(exact, seed, 2)))
    assert 0.60 < np.mean(agreement) < 0.75


def test_readers_are_seeded_differ_and_stay_in_the_image():
    exact = boxes_from_unit([[0.0, 0.0, 0.3, 0.2], [0.31, 0.0, 0.6, 0.2]])
    for seed in range(60):
        one, two = (read_boxes(exact, seed, reader) for reader in (1, 2))
        np.testing.assert_array_equal(one, read_boxes(exact, seed, 1))
        assert one.shape != two.shape or (one != two).any()
        for boxes in (one, two):
            assert boxes.dtype == np.float32
            assert (boxes[:, 2:] > boxes[:, :2]).all()
            assert boxes.min() >= 0
            assert boxes.max() <= 1


def test_readers_merge_near_boxes_split_long_ones_and_miss_some():
    pair = boxes_from_unit([[0.1, 0.1, 0.2, 0.2], [0.21, 0.1, 0.3, 0.2]])
    counts = {len(read_boxes(pair, seed, 1)) for seed in range(200)}
    assert counts == {1, 2}
    tall = boxes_from_unit([[0.1, 0.1, 0.3, 0.9]])
    assert {len(read_boxes(tall, seed, 1)) for seed in range(200)} == {1, 2}


def test_reader_1_sees_every_visible_finding_and_reader_2_not_every_subtle_one():
    exact = boxes_from_unit([[0.2, 0.2, 0.3, 0.3]])
    assert all(len(read_boxes(exact, seed, 1, subtle=True)) for seed in range(200))
    missed = sum(not len(read_boxes(exact, seed, 2, subtle=True)) for seed in range(200))
    assert 15 < missed < 75
    assert len(read_boxes(no_boxes(), 1, 1)) == 0
