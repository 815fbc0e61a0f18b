"""Maps that came from outside, put on the film by the card's geometry."""

from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from baselines.card_schema import Card, PatchRules
from harness.heatmap import PatchMap
from harness.images import Image


def on_film(grid: Float[np.ndarray, "_ _"], card: Card, image: Image) -> Float32[np.ndarray, "_ _"]:
    """The map on the film; NaN outside the model's field of view and where the grid has NaN.

    `grid` covers the frame of the card's `external.coordinates`, its first row at the top. Cells
    with NaN take no part in smoothing and interpolation.
    """
    seen = ~np.isnan(grid)
    values = _projected(np.where(seen, grid, 0.0), card, image)
    if seen.all():
        return values
    share = _projected(seen.astype(np.float64), card, image)
    known = share > 0.5  # NaN, outside the field of view, is not
    return np.where(known, values / np.where(known, share, 1.0), np.nan).astype(np.float32)


def _projected(grid: Any, card: Card, image: Image) -> Float32[np.ndarray, "_ _"]:
    rules = card.patches or PatchRules()
    geometry = card.external.coordinates if card.external else ""
    width, height = image.size()
    return PatchMap(grid, geometry, width, height, rules.sigma, rules.interpolation).project()
