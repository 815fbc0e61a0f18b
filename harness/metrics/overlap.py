"""Overlap of boxes and of painted unions, computed for all phrases of one shape at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from harness.metrics.ragged import Ragged

CHUNK = 4096  # phrases handled together: bounds the memory of the cell grids


@dataclass(frozen=True)
class ShapeClass:
    """Phrases with equally many predicted and equally many true boxes."""

    index: Int[np.ndarray, " g"]
    predicted: Float[np.ndarray, "g p 4"]
    truth: Float[np.ndarray, "g t 4"]


def shape_classes(predicted: Ragged, truth: Ragged) -> Iterator[ShapeClass]:
    """The phrases that have a box on both sides, grouped by their numbers of boxes."""
    if not len(truth):
        return
    many = int(truth.counts.max(initial=0)) + 1
    key = np.where(truth.counts > 0, predicted.counts * many + truth.counts, 0)
    key[predicted.counts == 0] = 0
    order = np.argsort(key.astype(np.min_scalar_type(int(key.max(initial=0)))), kind="stable")
    shapes, begins = np.unique(key[order], return_index=True)
    ends = np.append(begins[1:], len(key))
    for shape, first, last in zip(shapes.tolist(), begins.tolist(), ends.tolist(), strict=True):
        p, t = divmod(shape, many)
        whole = order[first:last] if shape else order[:0]
        for begin in range(0, len(whole), CHUNK):
            index = whole[begin : begin + CHUNK]
            yield ShapeClass(
                index,
                predicted.boxes[predicted.start[index][:, None] + np.arange(p)],
                truth.boxes[truth.start[index][:, None] + np.arange(t)],
            )


def area(boxes: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "*batch"]:
    """Width times height."""
    return np.asarray((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))


def _pairs(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low = np.maximum(a[..., :, None, :2], b[..., None, :, :2])
    high = np.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(axis=-1)
    return inter, area(a)[..., :, None] + area(b)[..., None, :] - inter


def iou_matrix(
    a: Float[np.ndarray, "*batch p 4"], b: Float[np.ndarray, "*batch t 4"]
) -> Float[np.ndarray, "*batch p t"]:
    """Intersection over union of every pair; 0 where both have no area.

    >>> iou_matrix(np.array([[0, 0, 1, 1.0]]), np.array([[0.5, 0, 1, 1], [0, 0, 1, 1]])).tolist()
    [[0.5, 1.0]]
    """
    inter, union = _pairs(a, b)
    return np.where(union > 0, inter / np.where(union > 0, union, 1), 0.0)


def giou_matrix(
    a: Float[np.ndarray, "*batch p 4"], b: Float[np.ndarray, "*batch t 4"]
) -> Float[np.ndarray, "*batch p t"]:
    """Generalized IoU of every pair: IoU minus the empty share of the hull (CVPR 2019, eq. 1)."""
    inter, union = _pairs(a, b)
    low = np.minimum(a[..., :, None, :2], b[..., None, :, :2])
    high = np.maximum(a[..., :, None, 2:], b[..., None, :, 2:])
    hull = (high - low).prod(axis=-1)
    safe = np.where(hull > 0, hull, 1)
    return np.asarray(inter / np.where(union > 0, union, 1) - (hull - union) / safe)


def _covered(boxes: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    across = (boxes[:, :, None, 0] <= xs[:, None, :-1]) & (boxes[:, :, None, 2] >= xs[:, None, 1:])
    down = (boxes[:, :, None, 1] <= ys[:, None, :-1]) & (boxes[:, :, None, 3] >= ys[:, None, 1:])
    return np.asarray((across[:, :, :, None] & down[:, :, None, :]).any(axis=1))


def painted_iou(
    predicted: Float[np.ndarray, "g p 4"], truth: Float[np.ndarray, "g t 4"]
) -> Float[np.ndarray, " g"]:
    """IoU of the painted areas of phrases of one shape; see `union_iou`."""
    if predicted.shape[1] == truth.shape[1] == 1:
        return iou_matrix(predicted, truth)[:, 0, 0]
    both = np.concatenate([predicted, truth], axis=1)
    xs = np.sort(both[:, :, [0, 2]].reshape(len(both), -1), axis=1)
    ys = np.sort(both[:, :, [1, 3]].reshape(len(both), -1), axis=1)
    cells = np.diff(xs)[:, :, None] * np.diff(ys)[:, None, :]
    in_predicted, in_truth = _covered(predicted, xs, ys), _covered(truth, xs, ys)
    inter = (cells * (in_predicted & in_truth)).sum(axis=(1, 2))
    union = (cells * (in_predicted | in_truth)).sum(axis=(1, 2))
    return np.asarray(inter / union)


def union_iou(predicted: Ragged, truth: Ragged) -> Float[np.ndarray, " n"]:
    """IoU of the two painted areas of each phrase; 0 where one side is empty.

    Boxes of one side that overlap are painted once, so that splitting a box changes nothing. Exact
    (the plane is cut at every box edge), not a raster.
    """
    values = np.zeros(len(truth))
    for shape in shape_classes(predicted, truth):
        values[shape.index] = painted_iou(shape.predicted, shape.truth)
    return values
