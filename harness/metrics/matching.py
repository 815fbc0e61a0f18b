"""Which predicted box answers which true box: greedy in truth order, or the best assignment."""

from functools import lru_cache
from itertools import permutations

import numpy as np
from jaxtyping import Float, Int

from harness.metrics.overlap import iou_matrix, shape_classes
from harness.metrics.ragged import Ragged

MAX_ENUMERATED = 120  # assignments tried all at once; larger ones go to scipy one by one


def greedy(overlap: Float[np.ndarray, "g p t"], threshold: float) -> Int[np.ndarray, " g"]:
    """True boxes answered in each table of IoU; see `greedy_matched`."""
    free = overlap.copy()
    matched = np.zeros(len(free), np.int64)
    rows = np.arange(len(free))
    for true in range(free.shape[2]):
        best = free[:, :, true].argmax(axis=1)
        hit = free[rows, best, true] >= threshold
        matched += hit
        free[rows[hit], best[hit]] = -1.0
    return matched


def greedy_matched(
    predicted: Ragged, truth: Ragged, threshold: float = 0.5
) -> Int[np.ndarray, " n"]:
    """True boxes answered per phrase: each, in order, takes its best free box at IoU >= threshold.

    Source: Rex-Omni `other_metric`, read through knowledge of the LoFi evaluation (F@0.5).
    """
    matched = np.zeros(len(truth), np.int64)
    for shape in shape_classes(predicted, truth):
        matched[shape.index] = greedy(iou_matrix(shape.predicted, shape.truth), threshold)
    return matched


@lru_cache(maxsize=64)
def _assignments(rows: int, columns: int) -> np.ndarray | None:
    count = 1
    for factor in range(columns, columns - rows, -1):
        count *= factor
    if count > MAX_ENUMERATED:
        return None
    return np.array(list(permutations(range(columns), rows)), np.int64)


def best_assignment(
    gain: Float[np.ndarray, "g p t"],
) -> tuple[Int[np.ndarray, "g k"], Int[np.ndarray, "g k"]]:
    """The k = min(p, t) pairs (predicted index, true index) of largest total gain, per phrase."""
    flipped = gain.shape[1] > gain.shape[2]
    work = gain.transpose(0, 2, 1) if flipped else gain
    rows = np.arange(work.shape[1])
    every = _assignments(*work.shape[1:])
    if every is not None:
        totals = work[:, rows, every].sum(axis=2)
        columns = every[totals.argmax(axis=1)]
    else:
        from scipy.optimize import linear_sum_assignment  # half a second to import

        columns = np.stack([linear_sum_assignment(g, maximize=True)[1] for g in work])
    lines = np.broadcast_to(rows, columns.shape)
    return (columns, lines) if flipped else (lines, columns)


def optimal(overlap: Float[np.ndarray, "g p t"], threshold: float) -> Int[np.ndarray, " g"]:
    """The largest number of one-to-one pairs in each table of IoU; see `optimal_matched`."""
    close = (overlap >= threshold).astype(np.float64)
    if 1 in close.shape[1:]:
        return np.asarray(close.max(axis=(1, 2)), np.int64)
    p, t = best_assignment(close)
    return np.asarray(close[np.arange(len(close))[:, None], p, t].sum(axis=1), np.int64)


def optimal_matched(
    predicted: Ragged, truth: Ragged, threshold: float = 0.5
) -> Int[np.ndarray, " n"]:
    """The largest number of one-to-one pairs at IoU >= threshold, per phrase."""
    matched = np.zeros(len(truth), np.int64)
    for shape in shape_classes(predicted, truth):
        matched[shape.index] = optimal(iou_matrix(shape.predicted, shape.truth), threshold)
    return matched
