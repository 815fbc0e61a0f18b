"""Anatomical regions as boxes, and the fused region boxes of a finding."""

import numpy as np

from harness.boxes import Boxes, no_boxes
from harness.phantom.findings import Setting
from harness.phantom.plan import FindingPlan
from harness.phantom.sites import height_at
from harness.phantom.vessels import hilum

THIRDS = {"upper": (0.62, 1.2), "mid": (0.33, 0.62), "lower": (-0.6, 0.33)}
HELD = 0.3  # share of a lung third that a box must cover, or of the box that the third must hold


def silhouette_box(mask: np.ndarray) -> np.ndarray:
    """The hull of a mask in pixels, xyxy; the whole image if it is empty."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if not len(rows):
        return np.array([0, 0, mask.shape[1], mask.shape[0]], np.float64)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def lung_thirds(setting: Setting) -> list[np.ndarray]:
    """Boxes in pixels of the upper, mid and lower zone of each lung; of both at once if lateral."""
    z = setting.camera.rows / np.float32(1.06)
    frontal = abs(setting.camera.angle) < 0.8
    masks = {side: air > 10 for side, air in setting.paths.air.items()}
    if not frontal:
        masks = {"left": masks["left"] | masks["right"]}
    boxes = []
    for side, mask in masks.items():
        for low, high in THIRDS.values():
            bottom, top = (height_at(setting.scene, side, part) for part in (low, high))
            zone = mask & (z > bottom) & (z <= top)
            if zone.any():
                boxes.append(silhouette_box(zone))
    return boxes


def _area(box: np.ndarray) -> float:
    return float(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))


def _touched(box: np.ndarray, regions: list[np.ndarray]) -> np.ndarray | None:
    """The hull of the regions the box lies in; of the nearest one if it lies in none enough."""
    shares = []
    for region in regions:
        common = np.concatenate([np.maximum(box[:2], region[:2]), np.minimum(box[2:], region[2:])])
        shares.append(max(_area(common) / _area(region), _area(common) / max(_area(box), 1e-6)))
    chosen = [r for r, share in zip(regions, shares, strict=True) if share >= HELD]
    if not chosen and max(shares, default=0.0) > 0:
        chosen = [regions[int(np.argmax(shares))]]
    if not chosen:
        return None
    stack = np.stack(chosen)
    return np.concatenate([stack[:, :2].min(axis=0), stack[:, 2:].max(axis=0)])


def _hila(setting: Setting) -> list[np.ndarray]:
    boxes = []
    for side in ("right", "left"):
        root = hilum(setting.scene.build, side)[None]
        column, row = setting.camera.to_pixels(root)
        reach = 30 / setting.camera.pitch
        boxes.append(
            np.array([column[0] - reach, row[0] - reach, column[0] + reach, row[0] + reach])
        )
    return boxes


def regions_of(finding: FindingPlan, exact: Boxes, setting: Setting) -> Boxes:
    """The fused boxes of the regions a finding lies in: lung thirds, hila, heart or mediastinum."""
    if not len(exact):
        return no_boxes()
    if finding.name in ("cardiomegaly", "mediastinal_widening"):
        return exact
    size = setting.camera.size
    known = _hila(setting) if finding.name == "hilar_enlargement" else lung_thirds(setting)
    found = [_touched(np.asarray(box, np.float64) * size, known) for box in exact]
    unique = {tuple(np.round(box, 2)) for box in found if box is not None}
    if not unique:
        return exact
    return np.clip(np.array(sorted(unique)) / size, 0, 1).astype(np.float32)
