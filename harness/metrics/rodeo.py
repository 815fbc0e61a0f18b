"""RoDeO, robust detection outcome, by equation, for one class.

Source: Meissen et al., "Robust Detection Outcome: A Metric for Pathology Detection in Medical
Images" (MICCAI 2023); code FeliMe/RoDeO. One unit is one (image, phrase); counts are summed over
the set. Boxes of a unit are matched by generalized IoU, min(predicted, true) pairs however far
apart. Never read alone: a fixed central box scores 0.66 on synthetic boxes.
"""

import numpy as np
from jaxtyping import Bool, Float

from harness.metrics.matching import best_assignment
from harness.metrics.metric import FromSums
from harness.metrics.overlap import area, giou_matrix, shape_classes
from harness.metrics.ragged import Ragged


def matched_scores(
    predicted: Float[np.ndarray, "g p 4"], truth: Float[np.ndarray, "g t 4"]
) -> Float[np.ndarray, "g 3"]:
    """Localization and shape summed over the matched pairs of each unit, and their number."""
    if predicted.shape[1] > 1 or truth.shape[1] > 1:
        p, t = best_assignment(giou_matrix(predicted, truth))
        group = np.arange(len(predicted))[:, None]
        predicted, truth = predicted[group, p], truth[group, t]
    near, alike = localization_scores(predicted, truth), shape_scores(predicted, truth)
    pairs = np.full(len(predicted), predicted.shape[1])
    return np.stack([near.sum(axis=1), alike.sum(axis=1), pairs], axis=1)


def localization_scores(
    predicted: Float[np.ndarray, "*batch 4"], truth: Float[np.ndarray, "*batch 4"]
) -> Float[np.ndarray, "*batch"]:
    """Eq. 2's term: 2 ** -d², d the distance of centers in true widths and heights.

    >>> localization_scores(np.array([0.5, 0, 1.5, 1]), np.array([0, 0, 1.0, 1])).round(4).tolist()
    0.8409
    """
    squared = 0.0
    for low, high in ((0, 2), (1, 3)):
        apart = predicted[..., low] + predicted[..., high] - truth[..., low] - truth[..., high]
        squared = squared + (apart / (2 * (truth[..., high] - truth[..., low]))) ** 2
    return np.asarray(np.exp2(-squared))


def shape_scores(
    predicted: Float[np.ndarray, "*batch 4"], truth: Float[np.ndarray, "*batch 4"]
) -> Float[np.ndarray, "*batch"]:
    """Eq. 3's term: the IoU after both boxes are moved to the same corner."""
    width, height = (
        np.minimum(predicted[..., high] - predicted[..., low], truth[..., high] - truth[..., low])
        for low, high in ((0, 2), (1, 3))
    )
    inter = width * height
    return np.asarray(inter / (area(predicted) + area(truth) - inter))


def unit_rows(
    predicted: Ragged, truth: Ragged, malformed: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, "n 4"]:
    """Per unit three zeros and the number of pairs and left-overs.

    A malformed answer without truth counts as one box too many, so that it is wrong.
    """
    rows = np.zeros((len(truth), 4))
    rows[:, 3] = np.maximum(predicted.counts, truth.counts)
    rows[malformed, 3] = np.maximum(rows[malformed, 3], 1)
    return rows


def rodeo_rows(
    predicted: Ragged, truth: Ragged, malformed: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, "n 4"]:
    """Per unit: localization and shape summed over pairs, matched pairs, pairs and left-overs."""
    rows = unit_rows(predicted, truth, malformed)
    for shape in shape_classes(predicted, truth):
        rows[shape.index, :3] = matched_scores(shape.predicted, shape.truth)
    return rows


def _share(column: int) -> FromSums:
    return FromSums(lambda sums, _: _shares(sums)[:, column])


def _shares(sums: np.ndarray) -> np.ndarray:
    # No unit with a box on either side: nothing to find, nothing wrong, nothing to score.
    counted = np.where(sums[:, 3:] > 0, sums[:, 3:], np.nan)
    return sums[:, :3] / counted


def _harmonic(sums: np.ndarray, _: np.ndarray) -> np.ndarray:
    # 0 if a part is 0. The official code adds 1e-6 to each part, so its best score is 1.000001.
    return np.asarray(3 / (1 / _shares(sums)).sum(axis=1))


localization = _share(0)
shape_matching = _share(1)
total_score = FromSums(_harmonic)
