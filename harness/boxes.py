"""Boxes: (n, 4) float32, xyxy, in [0, 1] of the original image; converted once, at the border."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32

Boxes: TypeAlias = Float32[np.ndarray, "_ 4"]

# Annotations round to whole pixels and models to 1/1000: a box may leave the image by this much
# and is clipped; beyond it something is wrong with the frame or the unit.
BORDER = 0.01


def no_boxes() -> Boxes:
    """An empty set of boxes, shape (0, 4)."""
    return np.zeros((0, 4), np.float32)


def _as_rows(values: Sequence[Sequence[float]] | np.ndarray, what: str) -> np.ndarray:
    try:
        rows = np.asarray(values, np.float64)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{what}: not numbers ({error})") from error
    if rows.size == 0:
        return np.zeros((0, 4))
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise ValueError(f"{what}: expected shape (n, 4), got {rows.shape}")
    return rows


def _refuse(what: str, index: int, row: np.ndarray, why: str) -> ValueError:
    return ValueError(f"{what}[{index}] = {row.tolist()} {why}")


def boxes_from_unit(
    values: Sequence[Sequence[float]] | np.ndarray, what: str = "boxes", *, allow_empty: bool = True
) -> Boxes:
    """Boxes given as xyxy fractions of the original image, checked and clipped to [0, 1].

    Args:
        values: rows x1, y1, x2, y2; may be empty.
        what: how errors name the source, e.g. ``phrases.jsonl line 3``.
        allow_empty: whether no box at all is acceptable.

    Raises:
        ValueError: a value is not finite, a box leaves the image by more than `BORDER` (pixels?),
            is inverted (width-height?) or has no area.

    >>> boxes_from_unit([[0.1, 0.2, 0.5, 1.004]])
    array([[0.1, 0.2, 0.5, 1. ]], dtype=float32)
    """
    rows = _as_rows(values, what)
    if not len(rows) and not allow_empty:
        raise ValueError(f"{what}: no box given where at least one is required")
    for index, row in enumerate(rows):
        if not np.isfinite(row).all():
            raise _refuse(what, index, row, "has a value that is not finite")
        if row.min() < -BORDER or row.max() > 1 + BORDER:
            raise _refuse(what, index, row, "is not xyxy in [0, 1] (pixels? use boxes_from_pixels)")
        if row[2] < row[0] or row[3] < row[1]:
            raise _refuse(
                what, index, row, "is inverted: x2 < x1 or y2 < y1 (width-height? use from_xywh)"
            )
    clipped = np.clip(rows, 0.0, 1.0).astype(np.float32)
    for index, row in enumerate(clipped):
        if row[2] <= row[0] or row[3] <= row[1]:
            raise _refuse(what, index, rows[index], "has no area inside the image")
    return np.asarray(clipped, np.float32)


def boxes_from_pixels(
    values: Sequence[Sequence[float]] | np.ndarray,
    *,
    width: int,
    height: int,
    what: str = "boxes",
) -> Boxes:
    """Boxes given as xyxy pixels of the original image.

    >>> boxes_from_pixels([[10, 20, 50, 100]], width=100, height=200)
    array([[0.1, 0.1, 0.5, 0.5]], dtype=float32)

    Raises:
        ValueError: as `boxes_from_unit`, and if every value lies in [0, 1] (fractions?).
    """
    rows = _as_rows(values, what)
    if width <= 0 or height <= 0:
        raise ValueError(f"{what}: image size {width} x {height} is not positive")
    if len(rows) and width > 4 and height > 4 and rows.max() <= 1.0:
        raise _refuse(what, 0, rows[0], "looks like fractions, not pixels (use boxes_from_unit)")
    return boxes_from_unit(rows / np.array([width, height, width, height]), what)


def boxes_from_xywh(
    values: Sequence[Sequence[float]] | np.ndarray,
    *,
    width: int,
    height: int,
    what: str = "boxes",
) -> Boxes:
    """Boxes given as top-left x, y, width, height in pixels of the original image.

    >>> boxes_from_xywh([[10, 20, 40, 80]], width=100, height=200)
    array([[0.1, 0.1, 0.5, 0.5]], dtype=float32)

    Raises:
        ValueError: as `boxes_from_pixels`; a width or height that is not positive is refused.
    """
    rows = _as_rows(values, what).copy()
    for index, row in enumerate(rows):
        if not (row[2] > 0 and row[3] > 0):
            raise _refuse(what, index, row, "has a width or height that is not positive")
    rows[:, 2:] += rows[:, :2]
    return boxes_from_pixels(rows, width=width, height=height, what=what)


def to_pixels(boxes: Boxes, *, width: int, height: int) -> np.ndarray:
    """The boxes in pixels of an image of that size, (n, 4) float64, xyxy."""
    size = np.array([width, height, width, height], np.float64)
    return np.asarray(np.asarray(boxes, np.float64) * size)


def to_xywh(boxes: Boxes, *, width: int, height: int) -> np.ndarray:
    """The boxes as top-left x, y, width, height in pixels, (n, 4) float64 (COCO, RoDeO)."""
    pixels = to_pixels(boxes, width=width, height=height)
    pixels[:, 2:] -= pixels[:, :2]
    return pixels
