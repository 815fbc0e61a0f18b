"""Raw detector values to 8 bit: a percentile window, or a window given by centre and width."""

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

# Share of the pixels that may saturate at either end: knowledge of PadChest (16-bit PNG without a
# window) recommends 0.5-99.5 percent; plain min-max is ruled by markers and dead pixels.
LOW, HIGH = 0.5, 99.5


def window_by_percentile(raw: Any) -> UInt8[np.ndarray, "_ _"]:
    """The values with their 0.5th percentile at 0 and their 99.5th at 255, in between linear.

    If these two coincide the extremes are taken; an image of one value becomes 0. Values that are
    not finite count as the lowest finite one.
    """
    if raw.dtype == np.uint16:
        return np.asarray(_window_uint16(raw))
    values = np.asarray(raw, np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(values[finite], [LOW, HIGH])
    if low == high:
        low, high = values[finite].min(), values[finite].max()
    return to_bytes(_ramp(np.where(finite, values, low), low, high))


def _window_uint16(raw: Any) -> Any:
    """As `window_by_percentile`, through a histogram and a table: ten times as fast on a film."""
    counts = np.bincount(raw.ravel(), minlength=1 << 16)
    low, high = (_order_statistic(counts, share / 100) for share in (LOW, HIGH))
    if low == high:
        used = np.flatnonzero(counts)
        low, high = float(used[0]), float(used[-1])
    table = to_bytes(_ramp(np.arange(1 << 16, dtype=np.float64), low, high))
    return table[raw]


def _order_statistic(counts: Any, share: float) -> float:
    """The interpolated quantile of values given as a histogram, as `np.percentile` defines it."""
    upto = np.cumsum(counts)
    position = share * (upto[-1] - 1)
    below = int(np.searchsorted(upto, np.floor(position), side="right"))
    above = int(np.searchsorted(upto, np.ceil(position), side="right"))
    return float(below + (position - np.floor(position)) * (above - below))


def _ramp(values: Any, low: float, high: float) -> Any:
    if high <= low:
        return np.zeros_like(values)
    return (values - low) / (high - low)


def window_linear(values: Any, center: float, width: float) -> Float[np.ndarray, "_ _"]:
    """The default window function of DICOM, as fractions; below 0 and above 1 is saturated.

    Source: DICOM PS3.3 C.11.2.1.2.1. A width of 1 is a threshold.
    """
    if width <= 1:
        return np.asarray(values > center - 0.5, np.float64)
    return np.asarray((values - (center - 0.5)) / (width - 1) + 0.5)


def window_linear_exact(values: Any, center: float, width: float) -> Float[np.ndarray, "_ _"]:
    """LINEAR_EXACT as fractions. Source: DICOM PS3.3 C.11.2.1.3.2."""
    return np.asarray((values - center) / width + 0.5)


def window_sigmoid(values: Any, center: float, width: float) -> Float[np.ndarray, "_ _"]:
    """SIGMOID as fractions. Source: DICOM PS3.3 C.11.2.1.3.1."""
    exponent = np.clip(-4.0 * (values - center) / width, -700.0, 700.0)
    return np.asarray(1.0 / (1.0 + np.exp(exponent)))


def to_bytes(fractions: Any) -> UInt8[np.ndarray, "..."]:
    """Fractions to 0-255, clipped and rounded to the nearest (halves up)."""
    return np.asarray(np.clip(fractions, 0.0, 1.0) * 255.0 + 0.5, np.uint8)
