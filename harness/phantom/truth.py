"""What became of a finding on a film: its visibility, its boxes, the regions it lies in."""

import numpy as np
from scipy.ndimage import binary_closing, gaussian_filter, label

from harness.boxes import Boxes, no_boxes
from harness.phantom.findings import Setting
from harness.phantom.plan import DrawnFinding, FindingPlan, View
from harness.phantom.readers import read_boxes
from harness.phantom.regions import regions_of, silhouette_box
from harness.phantom.solids import Plane

VISIBLE = 3.0  # k: a pixel shows a focal finding where the film changes by more than k x noise
SUBTLE = 7.0  # a visible finding whose peak contrast over noise is below this is subtle
DIFFUSE_VISIBLE = 1.0  # mean contrast over noise that a diffuse finding needs
DIFFUSE_SUBTLE = 1.8
LEAST_AREA = 12.0  # mm^2 of changed film that an eye can find
READ_SCALE = 1.2  # mm: the blur under which the change is judged
NEAR = 9.0  # mm: parts closer than this are one focus
HEART_LIMIT = {"PA": 0.50, "AP": 0.55}  # cardiothoracic ratio above which the heart is large

DIFFUSE = ("edema", "interstitial", "emphysema")
FIXED = ("cardiomegaly", "mediastinal_widening")


def _merge_near(boxes: list[np.ndarray], gap: float) -> list[np.ndarray]:
    merged: list[np.ndarray] = []
    for box in boxes:
        for index, other in enumerate(merged):
            if (np.maximum(box[:2], other[:2]) - np.minimum(box[2:], other[2:]) < gap).all():
                rest = merged[:index] + merged[index + 1 :]
                both = np.concatenate(
                    [np.minimum(box[:2], other[:2]), np.maximum(box[2:], other[2:])]
                )
                return _merge_near([*rest, both, *boxes[len(merged) + 1 :]], gap)
        merged.append(box)
    return merged


def boxes_of(mask: np.ndarray, pitch: float) -> list[np.ndarray]:
    """Hulls in pixels (xyxy) of the connected parts of a mask that are large enough to see."""
    if not mask.any():
        return []
    closed = binary_closing(np.pad(mask, 4), np.ones((3, 3)), iterations=max(1, round(3 / pitch)))
    parts, _ = label(closed[4:-4, 4:-4], np.ones((3, 3)))
    counts = np.bincount(parts[mask].ravel(), minlength=parts.max() + 1)
    found = []
    for part in range(1, parts.max() + 1):
        if counts[part] * pitch**2 < LEAST_AREA:
            continue
        rows, columns = np.nonzero(parts == part)
        found.append(
            np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float64)
        )
    return _merge_near(found, NEAR / pitch)


def _as_boxes(boxes_px: list[np.ndarray], size: int) -> Boxes:
    if not boxes_px:
        return no_boxes()
    ordered = sorted(boxes_px, key=lambda box: (box[0], box[1]))
    return np.clip(np.stack(ordered) / size, 0, 1).astype(np.float32)


def _focal(change: Plane, sigma: Plane, setting: Setting) -> tuple[float, Boxes, bool]:
    """Visibility, boxes, and whether faint, of a finding with an edge."""
    pitch = setting.camera.pitch
    ratio = gaussian_filter(np.abs(change), READ_SCALE / pitch, truncate=3.0) / sigma
    boxes = _as_boxes(boxes_of(ratio > VISIBLE, pitch), setting.camera.size)
    peak = float(ratio.max())
    return peak, boxes, peak < SUBTLE


def _diffuse(change: Plane, sigma: Plane, setting: Setting) -> tuple[float, Boxes, bool]:
    """Per side, the hull of the lung where the smoothed change exceeds 0.3 of its peak."""
    pitch, size = setting.camera.pitch, setting.camera.size
    level = gaussian_filter(np.abs(change) / sigma, 6 / pitch, truncate=2.5)
    boxes, best = [], 0.0
    frontal = abs(setting.camera.angle) < 0.8
    masks = [air > 12 for air in setting.paths.air.values()]
    for lung in masks if frontal else [masks[0] | masks[1]]:
        peak = float(np.percentile(level[lung], 98)) if lung.any() else 0.0
        part = lung & (level > 0.3 * peak)
        mean = float(level[part].mean()) if part.any() else 0.0
        if mean >= DIFFUSE_VISIBLE:
            boxes.append(silhouette_box(part))
        best = max(best, mean)
    return best, _as_boxes(boxes, size), best < DIFFUSE_SUBTLE


def _cardiomegaly(
    change: Plane, sigma: Plane, setting: Setting, view: View
) -> tuple[float, Boxes, bool]:
    """The hull of the heart, visible where the cardiothoracic ratio exceeds its limit."""
    contrast, _, _ = _focal(change, sigma, setting)
    if view == "LATERAL":
        return contrast, no_boxes(), False
    heart = silhouette_box(heart_mask(setting))
    chest = np.maximum(setting.paths.lungs["left"].half, setting.paths.lungs["right"].half) > 0
    ratio = (heart[2] - heart[0]) / np.ptp(np.nonzero(chest.any(axis=0))[0])
    over = float(ratio - HEART_LIMIT[view])
    boxes = _as_boxes([heart], setting.camera.size) if over > 0 else no_boxes()
    return contrast, boxes, over < 0.03


def heart_mask(setting: Setting) -> np.ndarray:
    """Pixels of the cardiac silhouette that stand above the domes."""
    domes = np.maximum(setting.paths.domes["left"].half, setting.paths.domes["right"].half)
    return np.asarray((setting.paths.heart.half > 4) & (domes < 60))


def _widening(change: Plane, sigma: Plane, setting: Setting) -> tuple[float, Boxes, bool]:
    """The hull of the mediastinum between arch and inlet, where the widening itself can be seen."""
    contrast, seen, subtle = _focal(change, sigma, setting)
    if not len(seen):
        return contrast, no_boxes(), subtle
    z = setting.camera.rows / np.float32(1.06)
    tall = setting.scene.build.tall
    part = (setting.paths.middle.half > 4) & (z > -12 * tall) & (z < 100 * tall)
    return contrast, _as_boxes([silhouette_box(part)], setting.camera.size), subtle


def drawn(
    finding: FindingPlan, change: Plane, sigma: Plane, *, setting: Setting, view: View
) -> DrawnFinding:
    """The record of one finding on one film; `change` is in the noise-free log signal."""
    if finding.name in DIFFUSE:
        visibility, exact, subtle = _diffuse(change, sigma, setting)
    elif finding.name == "cardiomegaly":
        visibility, exact, subtle = _cardiomegaly(change, sigma, setting, view)
    elif finding.name == "mediastinal_widening":
        visibility, exact, subtle = _widening(change, sigma, setting)
    else:
        visibility, exact, subtle = _focal(change, sigma, setting)
    visible = len(exact) > 0
    return DrawnFinding(
        plan=finding,
        visibility=visibility,
        visible=visible,
        subtle=visible and subtle,
        exact=exact,
        reader_1=read_boxes(exact, finding.seed, 1, subtle=subtle),
        reader_2=read_boxes(exact, finding.seed, 2, subtle=subtle),
        region=regions_of(finding, exact, setting),
    )
