"""What all box metrics are made of, computed once per phrase: overlap, matches, RoDeO's sums."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from harness.metrics.matching import greedy, optimal
from harness.metrics.overlap import iou_matrix, painted_iou, shape_classes
from harness.metrics.ragged import Ragged
from harness.metrics.rodeo import matched_scores, unit_rows

MATCH_AT = 0.5


@dataclass(frozen=True)
class BoxNumbers:
    """What one pass over the phrases finds.

    Attributes:
        union_iou: IoU of the painted areas.
        best_box_iou: IoU of the box of highest score (else the first) with the first true box.
        greedy: boxes matched greedily in truth order at IoU >= `MATCH_AT`.
        optimal: boxes matched at best.
        rodeo: see `rodeo.rodeo_rows`.
    """

    union_iou: Float[np.ndarray, " n"]
    best_box_iou: Float[np.ndarray, " n"]
    greedy: Int[np.ndarray, " n"]
    optimal: Int[np.ndarray, " n"]
    rodeo: Float[np.ndarray, "n 4"]


def _best_boxes(predicted: Ragged, scores: Float[np.ndarray, " total"]) -> np.ndarray:
    """Where in its phrase the box of highest score stands, the first of equal ones; 0 without."""
    phrase = np.repeat(np.arange(len(predicted)), predicted.counts)
    order = np.lexsort((-scores, phrase))
    best = np.append(order, 0)[predicted.start[:-1]] - predicted.start[:-1]
    return np.where(predicted.counts > 0, best, 0)


def box_numbers(
    predicted: Ragged,
    truth: Ragged,
    malformed: Bool[np.ndarray, " n"],
    scores: Float[np.ndarray, " total"] | None = None,
) -> BoxNumbers:
    """The numbers of every phrase; 0 matches and overlap where one side is empty."""
    n = len(truth)
    best = np.zeros(n, np.int64) if scores is None else _best_boxes(predicted, scores)
    found = BoxNumbers(
        union_iou=np.zeros(n),
        best_box_iou=np.zeros(n),
        greedy=np.zeros(n, np.int64),
        optimal=np.zeros(n, np.int64),
        rodeo=unit_rows(predicted, truth, malformed),
    )
    for shape in shape_classes(predicted, truth):
        overlap = iou_matrix(shape.predicted, shape.truth)
        single = overlap.shape[1:] == (1, 1)
        union = overlap[:, 0, 0] if single else painted_iou(shape.predicted, shape.truth)
        found.union_iou[shape.index] = union
        found.best_box_iou[shape.index] = overlap[np.arange(len(overlap)), best[shape.index], 0]
        found.greedy[shape.index] = greedy(overlap, MATCH_AT)
        found.optimal[shape.index] = optimal(overlap, MATCH_AT)
        found.rodeo[shape.index, :3] = matched_scores(shape.predicted, shape.truth)
    return found
