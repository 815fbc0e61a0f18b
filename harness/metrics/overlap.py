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
    many = int(truth.counts.max(initial=0)) + 1
    key = np.where(truth.counts > 0, predicted.counts * many + truth.counts, 0)
    key[predicted.counts == 0] = 0
    sizes = np.bincount(key)
    ends = np.cumsum(sizes)
    order = np.argsort(key.astype(np.min_scalar_type(len(sizes))), kind="stable")  # a radix sort
    for shape in (np.flatnonzero(sizes[1:]) + 1).tolist():
        p, t = divmod(shape, many)
        whole = order[ends[shape - 1] : ends[shape]]
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


def _corners(a: np.ndarray, b: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """x1, y1, x2, y2 of a as (p, 1, *batch) and of b as (1, t, *batch): long axes come last."""
    first, second = (np.ascontiguousarray(np.moveaxis(boxes, (-1, -2), (0, 1))) for boxes in (a, b))
    return [(first[c][:, None], second[c][None]) for c in range(4)]


def _overlap(corners: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    x1, y1, x2, y2 = corners
    width = np.maximum(np.minimum(*x2) - np.maximum(*x1), 0)
    inter = width * np.maximum(np.minimum(*y2) - np.maximum(*y1), 0)
    areas = [(x2[side] - x1[side]) * (y2[side] - y1[side]) for side in (0, 1)]
    return inter, areas[0] + areas[1] - inter


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The part of the whole; 0 where the whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))


def iou_matrix(
    a: Float[np.ndarray, "*batch p 4"], b: Float[np.ndarray, "*batch t 4"]
) -> Float[np.ndarray, "*batch p t"]:
    """Intersection over union of every pair; 0 where both have no area.

    >>> iou_matrix(np.array([[0, 0, 1, 1.0]]), np.array([[0.5, 0, 1, 1], [0, 0, 1, 1]])).tolist()
    [[0.5, 1.0]]
    """
    return np.moveaxis(_share(*_overlap(_corners(a, b))), (0, 1), (-2, -1))


def giou_matrix(
    a: Float[np.ndarray, "*batch p 4"], b: Float[np.ndarray, "*batch t 4"]
) -> Float[np.ndarray, "*batch p t"]:
    """Generalized IoU of every pair: IoU minus the empty share of the hull (CVPR 2019, eq. 1)."""
    corners = _corners(a, b)
    inter, union = _overlap(corners)
    x1, y1, x2, y2 = corners
    hull = np.maximum(*x2) - np.minimum(*x1)
    hull *= np.maximum(*y2) - np.minimum(*y1)
    return np.moveaxis(_share(inter, union) - _share(hull - union, hull), (0, 1), (-2, -1))


def _covered(boxes: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Which cells between the cuts lie in a box, (columns, rows, g)."""
    covered = np.zeros((len(xs) - 1, len(ys) - 1, xs.shape[1]), bool)
    for x1, y1, x2, y2 in boxes:
        across = (xs[:-1] >= x1) & (xs[1:] <= x2)
        covered |= across[:, None] & ((ys[:-1] >= y1) & (ys[1:] <= y2))[None]
    return covered


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The box two boxes have in common, (4, g); without area where they have none."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    return np.concatenate([low, np.maximum(low, high)])


def _area(box: np.ndarray) -> np.ndarray:
    return np.asarray((box[2] - box[0]) * (box[3] - box[1]))


def _one_and_two(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """IoU of a box with two, (g, 1, 4) and (g, 2, 4), by inclusion and exclusion."""
    single, first, second = (np.ascontiguousarray(b.T) for b in (one[:, 0], two[:, 0], two[:, 1]))
    with_first = _common(single, first)
    inter = _area(with_first) + _area(_common(single, second)) - _area(_common(with_first, second))
    both = _area(first) + _area(second) - _area(_common(first, second))
    return np.asarray(inter / (_area(single) + both - inter))


def painted_iou(
    predicted: Float[np.ndarray, "g p 4"], truth: Float[np.ndarray, "g t 4"]
) -> Float[np.ndarray, " g"]:
    """IoU of the painted areas of phrases of one shape; see `union_iou`."""
    if predicted.shape[1] == truth.shape[1] == 1:
        return iou_matrix(predicted, truth)[:, 0, 0]
    if predicted.shape[1] + truth.shape[1] == 3:
        return _one_and_two(*sorted((predicted, truth), key=lambda boxes: boxes.shape[1]))
    both = np.concatenate([predicted, truth], axis=1)
    boxes = np.ascontiguousarray(np.moveaxis(both, 0, -1))  # (p + t, 4, g)
    xs = np.sort(boxes[:, [0, 2]].reshape(-1, len(both)), axis=0)
    ys = np.sort(boxes[:, [1, 3]].reshape(-1, len(both)), axis=0)
    cells = np.diff(xs, axis=0)[:, None] * np.diff(ys, axis=0)[None]
    answered = _covered(boxes[: predicted.shape[1]], xs, ys)
    true = _covered(boxes[predicted.shape[1] :], xs, ys)
    inter = (cells * (answered & true)).sum(axis=(0, 1))
    return np.asarray(inter / (cells * (answered | true)).sum(axis=(0, 1)))


def union_iou(predicted: Ragged, truth: Ragged) -> Float[np.ndarray, " n"]:
    """IoU of the two painted areas of each phrase; 0 where one side is empty.

    Boxes of one side that overlap are painted once, so that splitting a box changes nothing. Exact
    (the plane is cut at every box edge), not a raster.
    """
    values = np.zeros(len(truth))
    for shape in shape_classes(predicted, truth):
        values[shape.index] = painted_iou(shape.predicted, shape.truth)
    return values
