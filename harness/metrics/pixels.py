"""Heat maps against true boxes: contrast, pointing game, pixel AUPRC, threshold-swept IoU.

Every number comes twice. By default pixels the model did not see (NaN) rank lowest, so that truth
there is a miss; `in-field` leaves those pixels out, and scores no phrase whose truth lies in them.
"""

import numpy as np
from jaxtyping import Bool, Float

from harness.boxes import Boxes

SWEEP = (0.1, 0.2, 0.3, 0.4, 0.5)  # BioViL evaluation, vios-s/ldm-phrase-grounding
NAMES = ("cnr", "cnr/absolute", "pointing", "pixel_auprc", "miou_swept")

Map = Float[np.ndarray, "h w"]
Mask = Bool[np.ndarray, "h w"]


def box_mask(boxes: Boxes | np.ndarray, shape: tuple[int, int]) -> Mask:
    """The pixels whose center lies in a box, (h, w); a box that holds no center gets its own one.

    >>> box_mask(np.array([[0.0, 0.0, 0.5, 1.0]]), (2, 4)).astype(int).tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0]]
    """
    height, width = shape
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    mask = np.zeros(shape, bool)
    for x1, y1, x2, y2 in np.asarray(boxes, np.float64).tolist():
        columns, rows = (x >= x1) & (x < x2), (y >= y1) & (y < y2)
        if not columns.any():
            columns[min(int((x1 + x2) / 2 * width), width - 1)] = True
        if not rows.any():
            rows[min(int((y1 + y2) / 2 * height), height - 1)] = True
        mask |= rows[:, None] & columns
    return mask


def contrast_to_noise(values: Float[np.ndarray, " p"], inside: Bool[np.ndarray, " p"]) -> float:
    """(mean inside - mean outside) / sqrt(variance inside + variance outside), signed.

    0 for a flat map; NaN where all pixels are on one side. Source: BioViL (ECCV 2022), there as an
    absolute value; a model that lights up everything but the truth then looks good.
    """
    a, b = values[inside], values[~inside]
    if not len(a) or not len(b):
        return np.nan
    noise = float(np.sqrt(a.var() + b.var()))
    difference = float(a.mean() - b.mean())
    if noise == 0:
        return 0.0 if difference == 0 else np.nan
    return difference / noise


def pointing_hit(values: Float[np.ndarray, " p"], inside: Bool[np.ndarray, " p"]) -> float:
    """1 if the highest pixel lies in a true box, else 0; if several are highest, all must."""
    return float(inside[values == values.max()].all())


def average_precision(values: Float[np.ndarray, " p"], inside: Bool[np.ndarray, " p"]) -> float:
    """Area under the precision-recall curve over pixels, steps at distinct values.

    Sum over thresholds of (recall gained) * precision; equal values enter together. NaN without a
    true pixel.
    """
    if not inside.any():
        return np.nan
    order = np.argsort(-values, kind="stable")
    hits = np.cumsum(inside[order])
    last = np.append(values[order][1:] != values[order][:-1], True)
    hits, seen = hits[last], np.flatnonzero(last) + 1
    gained = np.diff(hits, prepend=0) / hits[-1]
    return float((gained * hits / seen).sum())


def swept_iou(values: Float[np.ndarray, " p"], inside: Bool[np.ndarray, " p"]) -> float:
    """Mean over the thresholds of `SWEEP` of the IoU of {value >= threshold} with the truth.

    Thresholds are on the map's own scale, so models compare only where a card states a calibration.
    """
    ious = [(inside & (values >= t)).sum() / (inside | (values >= t)).sum() for t in SWEEP]
    return float(np.mean(ious))


def _numbers(values: np.ndarray, inside: np.ndarray) -> list[float]:
    if not inside.any():
        return [np.nan] * len(NAMES)
    signed = contrast_to_noise(values, inside)
    return [
        signed,
        abs(signed),
        pointing_hit(values, inside),
        average_precision(values, inside),
        swept_iou(values, inside),
    ]


def map_numbers(heatmap: Map, boxes: Boxes | np.ndarray) -> Float[np.ndarray, " 10"]:
    """`NAMES`, then `NAMES` in-field, of one map (NaN where unseen).

    Raises:
        ValueError: no true box, or a map without a number.
    """
    if not len(boxes) or not np.isfinite(heatmap).any():
        raise ValueError(f"{len(boxes)} true boxes, {np.isfinite(heatmap).sum()} pixels seen")
    inside = box_mask(boxes, heatmap.shape)
    seen = np.isfinite(heatmap)
    values = heatmap.astype(np.float64)
    lowest = values[seen].min()
    # Strictly below all that was seen for the ranking metrics; contrast takes the least value seen.
    ranked = np.where(seen, values, np.nextafter(lowest, -np.inf)).ravel()
    numbers = _numbers(ranked, inside.ravel())
    filled = np.where(seen, values, lowest).ravel()
    numbers[0] = contrast_to_noise(filled, inside.ravel())
    numbers[1] = abs(numbers[0])
    swept = np.where(seen, values, -np.inf).ravel()
    numbers[4] = swept_iou(swept, inside.ravel())
    return np.array(numbers + _numbers(values[seen], inside[seen]))
