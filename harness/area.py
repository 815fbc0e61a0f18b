"""Resizing by area: each new pixel is the mean of the film under it, weighted by overlap."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import UInt8


def resize_by_area(
    pixels: UInt8[np.ndarray, "_ _"], size: tuple[int, int], extent: Sequence[float]
) -> UInt8[np.ndarray, "_ _"]:
    """The upper left `extent` (width, height) of a picture as `size` (width, height).

    A side that grows is interpolated linearly instead, as OpenCV does for the whole picture.

    Source: OpenCV `cv::resize`, INTER_AREA; Pillow's BOX takes or leaves whole pixels.
    """
    if size[0] > extent[0] or size[1] > extent[1]:
        picture, box = PIL.Image.fromarray(pixels), (0.0, 0.0, extent[0], extent[1])
        return np.asarray(picture.resize(size, PIL.Image.Resampling.BILINEAR, box=box))
    rows = _means(pixels, size[1], extent[1])
    return np.asarray(np.rint(_means(rows.T, size[0], extent[0]).T), np.uint8)


def _means(values: Any, count: int, extent: float) -> Any:
    """(count, columns): means over `count` equal parts of the first `extent` rows."""
    edges = np.minimum(np.arange(count + 1) * (extent / count), len(values))
    whole = edges.astype(int)
    # Whole rows between the edges (sums of 8-bit values are exact), then the parts of rows.
    kind = np.int64 if values.dtype.kind == "u" else np.float64
    sums = np.add.reduceat(values[: whole[-1]], whole[:-1], axis=0, dtype=kind)
    parts = (edges - whole)[:, None] * values[np.minimum(whole, len(values) - 1)]
    return (sums + np.diff(parts, axis=0)) * (count / extent)
