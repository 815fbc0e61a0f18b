"""Region supervision as it really is: anatomy, not lesions; jittered, and at times not there."""

import numpy as np

from harness.boxes import Boxes, no_boxes
from harness.phantom.plan import DrawnFinding

MISSING = 0.15  # share of regions without a box
JITTER = 0.03  # standard deviation of each edge, in widths or heights of the box


def region_supervision(drawn: DrawnFinding, rng: np.random.Generator) -> Boxes:
    """The boxes of the anatomical regions a finding lies in, as an automatic pipeline finds them.

    Each region is missing by chance; each edge of the others is moved by chance and clipped.
    """
    regions = np.asarray(drawn.region, np.float64).reshape(-1, 4)
    kept = rng.random(len(regions)) >= MISSING
    spread = JITTER * np.tile(regions[:, 2:] - regions[:, :2], 2)
    moved = np.clip(regions + rng.normal(size=regions.shape) * spread, 0.0, 1.0)[kept]
    if not len(moved):
        return no_boxes()
    area = (moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])
    return moved[area].astype(np.float32)
