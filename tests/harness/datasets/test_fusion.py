import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.boxes import no_boxes
from harness.datasets.fusion import clipped_boxes, fuse_boxes


def test_two_overlapping_boxes_become_their_mean() -> None:
    # intersection 0.2 x 0.4, union 0.6 x 0.4: IoU 1/3 > 0.1
    fused = fuse_boxes(np.float32([[0, 0, 0.4, 0.4], [0.2, 0, 0.6, 0.4]]))
    np.testing.assert_allclose(fused, [[0.1, 0, 0.5, 0.4]], atol=1e-7)


def test_boxes_that_overlap_by_less_stay_apart_sorted_by_x1() -> None:
    # intersection 0.05 x 0.4, union 0.75 x 0.4: IoU 1/15 < 0.1
    boxes = np.float32([[0.35, 0, 0.75, 0.4], [0, 0, 0.4, 0.4]])
    np.testing.assert_array_equal(fuse_boxes(boxes), boxes[::-1])


def test_the_mean_moves_as_boxes_join() -> None:
    # the last two fuse to [0.15, 0, 0.55, 1], which the first overlaps: (0.25/0.7) > 0.1
    boxes = np.float32([[0.3, 0, 0.7, 1], [0.1, 0, 0.5, 1], [0.2, 0, 0.6, 1]])
    np.testing.assert_allclose(fuse_boxes(boxes), [[0.2, 0, 0.6, 1]], atol=1e-6)


def test_a_repeated_box_is_one_box_and_nothing_stays_nothing() -> None:
    box = np.float32([[0.1, 0.2, 0.3, 0.4]])
    np.testing.assert_allclose(fuse_boxes(np.repeat(box, 7, axis=0)), box, atol=1e-7)
    assert fuse_boxes(no_boxes()).shape == (0, 4)


@given(st.lists(st.tuples(*[st.floats(0, 0.9)] * 2), max_size=12))
def test_fused_boxes_lie_inside_the_hull_and_are_not_more(
    corners: list[tuple[float, float]],
) -> None:
    boxes = np.array([[x, y, x + 0.1, y + 0.1] for x, y in corners], np.float32).reshape(-1, 4)
    fused = fuse_boxes(boxes)
    assert len(fused) <= len(boxes)
    if len(boxes):
        assert (fused[:, :2] >= boxes[:, :2].min(axis=0) - 1e-6).all()
        assert (fused[:, 2:] <= boxes[:, 2:].max(axis=0) + 1e-6).all()


def test_it_equals_the_reference_implementation() -> None:
    reference = pytest.importorskip(
        "ensemble_boxes", reason="pip install ensemble-boxes to compare"
    )
    rng = np.random.default_rng(0)
    for _ in range(50):
        low = rng.random((rng.integers(1, 9), 2)) * 0.7
        boxes = np.concatenate([low, low + 0.05 + 0.25 * rng.random(low.shape)], axis=1)
        expected, _, _ = reference.weighted_boxes_fusion(
            [[box] for box in boxes.tolist()], [[1.0]] * len(boxes), [[0]] * len(boxes), iou_thr=0.1
        )
        ordered = expected[np.lexsort((expected[:, 1], expected[:, 0]))]
        np.testing.assert_allclose(fuse_boxes(boxes.astype(np.float32)), ordered, atol=1e-5)


def test_automatic_boxes_are_clipped_and_those_without_area_dropped() -> None:
    values = np.array(
        [[-0.2, 0.1, 0.5, 1.3], [0.4, 0.4, 0.4, 0.9], [1.1, 0, 1.4, 1], [0, 0, np.nan, 1]]
    )
    np.testing.assert_allclose(clipped_boxes(values), [[0, 0.1, 0.5, 1.0]], atol=1e-7)
