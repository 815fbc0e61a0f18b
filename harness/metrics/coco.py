"""COCO average precision over all phrases: pycocotools matches, the curve is summed up here.

Each phrase is one COCO image with one category, so that boxes of different phrases on one film do
not compete. Phrases without a true box are included: a box there is a false positive.

An answer that cannot be read has neither box nor score. On a phrase with true boxes it misses them
all; on one without it changes nothing, nor does an explicit "none": AP counts boxes by their score,
and to make up one would be a metric of our own. `malformed`, `specificity/...`,
`f1@0.5/all` and `rodeo/all` are where such an answer is wrong.
"""

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from harness.metrics.metric import Metric
from harness.metrics.ragged import Ragged

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # COCO 2014 evaluation
RECALLS = np.linspace(0, 1, 101)
MAX_BOXES = 100  # per phrase, the best-scored ones
UNUSED = -1e300  # the score of a place without a box
PIXELS = 1000.0  # boxes are scaled to it; area ranges are not used, so any size will do


def annotations(sets: Ragged, scores: np.ndarray | None) -> list[dict[str, Any]]:
    """Boxes as COCO writes them, xywh in units of 1 / `PIXELS`; `scores` makes them answers."""
    phrase = np.repeat(np.arange(len(sets)), sets.counts)
    boxes = sets.boxes * PIXELS
    boxes[:, 2:] -= boxes[:, :2]
    return [
        {
            "id": number + 1,
            "image_id": int(image),
            "category_id": 1,
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": 0,
            **({} if scores is None else {"score": float(scores[number])}),
        }
        for number, (image, box) in enumerate(zip(phrase, boxes.tolist(), strict=True))
    ]


def coco_evaluation(predicted: Ragged, truth: Ragged, scores: np.ndarray) -> Any:
    """A `COCOeval` that has matched every phrase, ready for `accumulate`."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [{"id": phrase} for phrase in range(len(truth))]
    with contextlib.redirect_stdout(io.StringIO()):
        sides = COCO(), COCO()
        for side, boxes, values in zip(sides, (truth, predicted), (None, scores), strict=True):
            rows = annotations(boxes, values)
            side.dataset = {
                "images": images,
                "categories": [{"id": 1}],
                "annotations": rows,
            }
            side.createIndex()
        evaluation = COCOeval(*sides, "bbox")
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.params.maxDets = [MAX_BOXES]
        evaluation.evaluate()
    return evaluation


def detection_rows(
    predicted: Ragged, truth: Ragged, scores: Float[np.ndarray, " total"]
) -> Float[np.ndarray, "n k"]:
    """Per phrase its true boxes, then per answered box its score and at which IoUs it matched.

    A box that matches at an IoU threshold need not match at a lower one (another box may have taken
    the truth), so the matches are kept as bits. Unused places hold a score of `UNUSED`.
    """
    most = int(min(MAX_BOXES, predicted.counts.max(initial=0)))
    rows = np.zeros((len(truth), 1 + 2 * most))
    rows[:, 0] = truth.counts
    rows[:, 1::2] = UNUSED
    bits = 2.0 ** np.arange(len(THRESHOLDS))
    for found in coco_evaluation(predicted, truth, scores).evalImgs:
        if found is not None and found["dtScores"]:
            matched = bits @ (found["dtMatches"] > 0)
            end = 1 + 2 * len(matched)
            rows[found["image_id"], 1:end:2] = found["dtScores"]
            rows[found["image_id"], 2:end:2] = matched
    return rows


def _precision(hits: np.ndarray, weight: np.ndarray, truths: float) -> float:
    """101-point interpolated precision of boxes already sorted by falling score."""
    true, seen = np.cumsum(hits * weight), np.cumsum(weight)
    precision = np.maximum.accumulate((true / np.maximum(seen, 1e-300))[::-1])[::-1]
    place = np.searchsorted(true / truths, RECALLS, side="left")
    return float(np.append(precision, 0.0)[place].mean())


def average_precision(rows: np.ndarray, weights: np.ndarray, bits: range) -> np.ndarray:
    """AP averaged over the IoU thresholds in `bits`, per row of weights."""
    phrase, place = np.nonzero(rows[:, 1::2] > UNUSED)
    scores, matched = rows[:, 1::2][phrase, place], rows[:, 2::2][phrase, place].astype(np.int64)
    order = np.argsort(-scores, kind="stable")
    phrase, matched = phrase[order], matched[order]
    values = np.full(len(weights), np.nan)
    for draw, weight in enumerate(weights):
        truths = float(weight @ rows[:, 0])
        if truths > 0:
            per_bit = [_precision(matched >> bit & 1, weight[phrase], truths) for bit in bits]
            values[draw] = np.mean(per_bit)
    return values


def _metric(name: str, bits: range, definition: str) -> Metric:
    return Metric(
        name=name,
        contribute=lambda outcomes: outcomes.detections,
        reduce=lambda rows, weights: average_precision(rows, weights, bits),
        definition=f"{definition} Over all phrases, one COCO image each; without interval. An "
        "answer that cannot be read misses the true boxes and is no false one.",
        needs="a score per box",
        interval=False,
    )


COCO_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in [
        _metric("ap@0.5", range(1), "COCO average precision at IoU 0.5."),
        _metric("ap", range(len(THRESHOLDS)), "COCO average precision, mean over IoU 0.5-0.95."),
    ]
}
