from pathlib import Path

import numpy as np
import pytest

from harness.errors import BenchError
from harness.metrics.calibration import (
    Threshold,
    boxes_from_heatmap,
    choose_threshold,
    with_boxes,
)
from harness.models import Grounding
from harness.samples import ImageRef, PhraseBoxes

BOX = [0.25, 0.25, 0.75, 0.75]


def sample(number, *rows):
    image = ImageRef(f"i{number}", Path("none"), f"p{number}", f"s{number}")
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    return PhraseBoxes(f"q{number}", image, "phrase", boxes=boxes)


def bump(level=0.8):
    heatmap = np.random.default_rng(0).random((8, 8)).astype(np.float32) * 0.3
    heatmap[2:6, 2:6] = level
    return heatmap


def test_each_connected_part_is_one_box_and_the_largest_come_first():
    heatmap = np.zeros((4, 4))
    heatmap[0, 0] = heatmap[3, 2:4] = heatmap[2, 3] = 1
    found = boxes_from_heatmap(heatmap, 0.5)
    assert found.tolist() == [[0.5, 0.5, 1, 1], [0, 0, 0.25, 0.25]]
    assert len(boxes_from_heatmap(heatmap, 0.5, keep=1)) == 1


def test_pixels_that_touch_at_a_corner_are_two_parts():
    assert len(boxes_from_heatmap(np.eye(2), 0.5)) == 2


def test_unseen_pixels_are_in_no_box():
    assert boxes_from_heatmap(np.array([[np.nan, 1.0]]), -5.0).tolist() == [[0.5, 0, 1, 1]]
    assert len(boxes_from_heatmap(np.full((2, 2), 0.1), 0.5)) == 0


def test_the_threshold_of_the_best_overlap_is_found():
    samples, answers = (
        [sample(0, BOX), sample(1)],
        [Grounding(heatmap=bump()), Grounding(heatmap=bump())],
    )
    chosen = choose_threshold(samples, answers, dataset="vindr", split="validation")
    assert 0.3 <= chosen.value <= 0.8
    assert (chosen.miou, chosen.n, chosen.dataset) == (1.0, 1, "vindr")
    found = with_boxes(answers, chosen)
    assert [a.boxes.tolist() for a in found] == [[BOX], [BOX]]


def test_a_map_below_the_threshold_is_an_explicit_none():
    found = with_boxes([Grounding(heatmap=bump(0.31))], Threshold(0.5, 1.0, "x", "validation", 1))
    assert found[0].status == "empty"


def test_a_test_split_is_refused():
    with pytest.raises(BenchError, match="chosen on data that are tested on"):
        choose_threshold([sample(0, BOX)], [Grounding(heatmap=bump())], dataset="x", split="test")
    with pytest.raises(BenchError, match="x all"):
        choose_threshold([sample(0, BOX)], [Grounding(heatmap=bump())], dataset="x", split="all")


def test_a_split_without_boxes_or_maps_is_refused():
    with pytest.raises(BenchError, match="no phrase has both"):
        choose_threshold([sample(0)], [Grounding(heatmap=bump())], dataset="x", split="train")
