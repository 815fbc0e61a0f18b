import contextlib
import io

import numpy as np
import pytest

from harness.metrics.coco import annotations, average_precision, coco_evaluation, detection_rows
from harness.metrics.ragged import ragged


def drawn(rng, count):
    corner = rng.random((count, 2)) * 0.7
    return np.hstack([corner, corner + 0.05 + rng.random((count, 2)) * 0.25])


@pytest.fixture(scope="module")
def random_set():
    rng = np.random.default_rng(5)
    truth = [drawn(rng, k) for k in rng.integers(0, 4, 120)]
    predicted = [
        np.vstack(
            [
                t + rng.normal(0, 0.02, (len(t), 2))[:, [0, 1, 0, 1]],
                drawn(rng, int(rng.integers(0, 3))),
            ]
        )
        for t in truth
    ]
    scores = np.round(rng.random(sum(map(len, predicted))), 2)  # with equal scores
    return ragged(predicted), ragged(truth), scores


def ours(predicted, truth, scores, bits):
    rows = detection_rows(predicted, truth, scores)
    return float(average_precision(rows, np.ones((1, len(rows))), bits)[0])


def test_ap_worked_by_hand():
    # Falling scores: right, wrong, right of 2 true boxes. Recall 1/2 at precision 1, recall 1 at
    # 2/3: 51 of 101 recall points (0..0.5) have precision 1, the other 50 have 2/3.
    box = np.array([[0.1, 0.1, 0.4, 0.4]])
    far = np.array([[0.6, 0.6, 0.9, 0.9]])
    predicted, truth = ragged([np.vstack([box, far]), box]), ragged([box, box])
    value = ours(predicted, truth, np.array([0.9, 0.8, 0.7]), range(1))
    assert value == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_ap_equals_pycocotools_accumulate(random_set):
    evaluation = coco_evaluation(*random_set)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 0]  # (thresholds, recalls)
    assert ours(*random_set, range(10)) == pytest.approx(precision.mean(), abs=1e-12)
    assert ours(*random_set, range(1)) == pytest.approx(precision[0].mean(), abs=1e-12)


def test_ap_equals_faster_coco_eval(random_set):
    peer = pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    predicted, truth, scores = random_set
    images = [{"id": phrase, "width": 1000, "height": 1000} for phrase in range(len(truth))]
    data = {
        "images": images,
        "categories": [{"id": 1, "name": "box"}],
        "annotations": annotations(truth, None),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        side = peer.COCO(data)
        evaluation = peer.COCOeval_faster(
            side, side.loadRes(annotations(predicted, scores)), "bbox"
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert ours(predicted, truth, scores, range(10)) == pytest.approx(evaluation.stats[0], abs=1e-9)
    assert ours(predicted, truth, scores, range(1)) == pytest.approx(evaluation.stats[1], abs=1e-9)


def test_doubling_every_phrase_changes_ap_as_weights_of_two_do(random_set):
    rows = detection_rows(*random_set)
    weights = np.stack([np.ones(len(rows)), np.full(len(rows), 2.0)])
    once, twice = average_precision(rows, weights, range(10))
    assert once == pytest.approx(twice, abs=1e-12)


def test_a_box_on_a_phrase_without_one_lowers_ap():
    box = np.array([[0.1, 0.1, 0.4, 0.4]])
    truth = ragged([box, np.zeros((0, 4))])
    alone = ours(ragged([box, np.zeros((0, 4))]), truth, np.array([0.5]), range(1))
    more = ours(ragged([box, box]), truth, np.array([0.5, 0.9]), range(1))
    assert (alone, more) == (pytest.approx(1.0), pytest.approx(0.5))


def test_no_answer_at_all_has_an_ap_of_zero():
    box = np.array([[0.1, 0.1, 0.4, 0.4]])
    assert ours(ragged([np.zeros((0, 4))]), ragged([box]), np.zeros(0), range(10)) == 0
