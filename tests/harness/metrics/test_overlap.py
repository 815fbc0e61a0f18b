import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.overlap import giou_matrix, iou_matrix, union_iou
from harness.metrics.ragged import ragged


def boxes(*rows):
    return np.array(rows, np.float64).reshape(-1, 4)


def one(predicted, truth):
    return float(union_iou(ragged([predicted]), ragged([truth]))[0])


def painted(sets, side):
    grid = np.zeros((side, side), bool)
    for x1, y1, x2, y2 in np.rint(sets * side).astype(int):
        grid[y1:y2, x1:x2] = True
    return grid


def test_half_of_the_image_is_half():
    assert one(boxes([0, 0, 0.5, 1]), boxes([0, 0, 1, 1])) == 0.5


def test_a_perfect_answer_of_two_boxes_is_one():
    # RadVLM's mean over all pairs gives 0.5 here.
    two = boxes([0, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.7])
    assert one(two, two) == 1
    assert one(two[::-1], two) == 1


def test_the_second_of_three_boxes_may_be_the_right_one():
    # torchmetrics' functional IoU takes the mean of the diagonal and gives 0.
    three = boxes([0, 0, 0.1, 0.1], [0.4, 0.4, 0.8, 0.8], [0.9, 0.9, 1, 1])
    assert one(three, boxes([0.4, 0.4, 0.8, 0.8])) == pytest.approx(0.16 / 0.18)


def test_two_points_overlap_by_nothing():
    point = boxes([0.5, 0.5, 0.5, 0.5])
    assert iou_matrix(point, point).tolist() == [[0.0]]


def test_splitting_a_box_changes_nothing():
    whole, parts = boxes([0, 0, 0.8, 0.5]), boxes([0, 0, 0.4, 0.5], [0.4, 0, 0.8, 0.5])
    truth = boxes([0.2, 0.1, 0.9, 0.6])
    assert one(parts, truth) == pytest.approx(one(whole, truth), abs=1e-12)


def test_an_overlap_within_one_side_is_painted_once():
    assert one(boxes([0, 0, 0.6, 1], [0.4, 0, 1, 1]), boxes([0, 0, 1, 1])) == pytest.approx(1)


def test_an_empty_side_gives_zero():
    none = boxes()
    assert one(none, boxes([0, 0, 1, 1])) == 0
    assert one(boxes([0, 0, 1, 1]), none) == 0
    assert one(none, none) == 0


@given(seed=st.integers(0, 10_000), p=st.integers(1, 4), t=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_union_iou_equals_painting_pixels_when_boxes_lie_on_the_grid(seed, p, t):
    rng = np.random.default_rng(seed)
    side = 24

    def draw(count):
        a, b = rng.integers(0, side, (2, count, 2))
        return np.hstack([np.minimum(a, b), np.maximum(a, b) + 1]) / side

    predicted, truth = draw(p), draw(t)
    a, b = painted(predicted, side), painted(truth, side)
    assert one(predicted, truth) == pytest.approx((a & b).sum() / (a | b).sum(), abs=1e-12)


def test_iou_and_giou_equal_torchvision():
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is not installed")
    rng = np.random.default_rng(0)
    a, b = (np.sort(rng.random((20, 2, 2)), axis=1).reshape(20, 4) for _ in range(2))
    ours = iou_matrix(a, b), giou_matrix(a, b)
    pair = torch.from_numpy(a), torch.from_numpy(b)
    theirs = ops.box_iou(*pair).numpy(), ops.generalized_box_iou(*pair).numpy()
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-12)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-12)


def test_phrases_do_not_touch_each_other():
    rng = np.random.default_rng(1)
    sets = [np.sort(rng.random((k, 2, 2)), axis=1).reshape(-1, 4) for k in (0, 1, 2, 1, 3, 2)]
    truths = [np.sort(rng.random((k, 2, 2)), axis=1).reshape(-1, 4) for k in (1, 1, 1, 0, 2, 2)]
    together = union_iou(ragged(sets), ragged(truths))
    assert together.tolist() == [one(a, b) for a, b in zip(sets, truths, strict=True)]
