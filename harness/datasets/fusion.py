"""Weighted box fusion: many overlapping boxes of one thing become one."""

import numpy as np

from harness.boxes import Boxes, no_boxes


def fuse_boxes(boxes: Boxes, iou_threshold: float = 0.1) -> Boxes:
    """The boxes with clusters replaced by their mean, sorted by x1.

    Every box counts the same (score 1, one model each), as LoFi fuses CXR-QBA regions. A box joins
    the cluster whose mean it overlaps most, if by more than the threshold; the mean moves with it.
    Boxes are taken last to first: with equal scores the reference sorts them so, and the result
    depends on the order.

    Source: Solovyev et al., Image and Vision Computing 2021, arXiv 1910.13302; ensemble-boxes.

    >>> fuse_boxes(np.float32([[0, 0, 0.4, 0.4], [0.2, 0, 0.6, 0.4], [0.8, 0.8, 1, 1]]))
    array([[0.1, 0. , 0.5, 0.4],
           [0.8, 0.8, 1. , 1. ]], dtype=float32)
    """
    clusters: list[list[np.ndarray]] = []
    means: list[np.ndarray] = []
    for box in np.asarray(boxes, np.float64)[::-1]:
        overlaps = [_iou(mean, box) for mean in means]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] > iou_threshold:
            clusters[best].append(box)
            means[best] = np.mean(clusters[best], axis=0)
        else:
            clusters.append([box])
            means.append(box)
    if not means:
        return no_boxes()
    fused = np.array(means, np.float32)
    return fused[np.lexsort((fused[:, 1], fused[:, 0]))]


def clipped_boxes(values: np.ndarray) -> Boxes:
    """Automatic boxes (xyxy fractions) clipped to the image, those without area or number dropped.

    Only for boxes made by machines, where a stray one is expected; a radiologist's box that is no
    box is an error (`harness.boxes`).

    >>> clipped_boxes(np.array([[-0.1, 0, 0.5, 1.2], [0.5, 0.5, 0.5, 0.9]]))
    array([[0. , 0. , 0.5, 1. ]], dtype=float32)
    """
    rows = np.asarray(values, np.float64).reshape(-1, 4)
    rows = np.clip(rows[np.isfinite(rows).all(axis=1)], 0.0, 1.0).astype(np.float32)
    return rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])]


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    inter = float(np.prod(np.clip(high - low, 0, None)))
    areas = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]))
    return inter / (areas - inter) if inter else 0.0
