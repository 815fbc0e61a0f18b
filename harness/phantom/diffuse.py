"""Findings without an edge: edema, interstitial disease, and those that change the shape."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from harness.phantom.anatomy import SIDES, Changes
from harness.phantom.findings import TISSUE, Setting, by_size, mottle, no_change
from harness.phantom.plan import FindingPlan
from harness.phantom.sites import HEIGHTS, height_at, sides_of
from harness.phantom.solids import Plane, blob
from harness.phantom.streams import stream
from harness.phantom.vessels import hilum

HEART = {"small": 1.17, "moderate": 1.30, "large": 1.46}  # scale of an enlarged heart
SHAPES = ("cardiomegaly", "mediastinal_widening", "emphysema")


def changes_of(findings: tuple[FindingPlan, ...]) -> Changes:
    """What the findings do together to the shape of the patient."""
    changes = Changes()
    for one in findings:
        if one.name == "cardiomegaly":
            larger = HEART[one.size] * by_size(one, 1.0, 1.0, 1.0) ** 0.5
            changes = replace(changes, heart=larger)
        elif one.name == "mediastinal_widening":
            wider = by_size(one, 9, 15, 23) * (0.8 + 0.4 * one.severity)
            tilt = stream(one.seed, "mediastinum").uniform(0.7, 1.3)
            changes = replace(changes, mediastinum=(wider * tilt, wider * (2 - tilt)))
        elif one.name == "emphysema":
            changes = replace(changes, inflation=by_size(one, 0.45, 0.75, 1.05))
    return changes


def _strength(finding: FindingPlan) -> np.float32:
    return np.float32(by_size(finding, 0.5, 0.75, 1.0) * (0.4 + 0.9 * finding.severity))


def edema(finding: FindingPlan, setting: Setting) -> Plane:
    """A butterfly of haze around the hila, streaks outward, and short lines at the bases."""
    scene, camera, paths = setting.scene, setting.camera, setting.paths
    total = no_change(setting)
    strength = _strength(finding)
    for side in sides_of(finding):
        root = hilum(scene.build, side)
        out = SIDES[side]
        wings = sum(
            blob(root + np.array([out * dx, -8, dz]), (24, 34, 26), camera)
            for dx, dz in ((14, 14), (24, -16), (20, -44), (34, 0))
        )
        air = paths.air[side]
        haze = air * (1 - np.exp(np.float32(-0.16) * wings / (air + 5)))
        fuzz = np.maximum(np.float32(0.2), 1 + 0.5 * mottle(finding, camera, 4.0))
        thick = 0.8 * paths.vessels[side] * np.minimum(1, wings / 30)
        total = total + strength * TISSUE * (0.8 * haze * fuzz + thick) + strength * 0.035 * air
    return total


def interstitial(finding: FindingPlan, setting: Setting) -> Plane:
    """A net of fine lines and a slight haze through the lung, or through the zone that is named."""
    scene, camera, paths = setting.scene, setting.camera, setting.paths
    low, high = HEIGHTS[finding.zone] if finding.zone else (-0.4, 1.1)
    low, high = (-0.4, 0.36) if finding.zone in ("lower", "basal") else (low, high)
    net = np.abs(mottle(finding, camera, 2.2))
    grains = mottle(replace(finding, seed=finding.seed + 1), camera, 1.6)
    lines = 0.75 * np.exp(-np.square(net / 0.42)) - 0.30 + 0.22 * grains
    total = no_change(setting)
    for side in sides_of(finding):
        bottom, top = height_at(scene, side, low), height_at(scene, side, high)
        z = camera.rows / np.float32(1.06)
        window = 1 / (1 + np.exp(-np.clip((z - bottom) / 7, -30, 30)))
        window = window / (1 + np.exp(np.clip((z - top) / 7, -30, 30)))
        air = paths.air[side]
        depth = np.minimum(air, 130)
        total = total + _strength(finding) * window * (0.085 * depth * lines + 0.035 * depth)
    return np.asarray(gaussian_filter(total, 0.5 / camera.pitch))


DIFFUSE: dict[str, Callable[[FindingPlan, Setting], Plane]] = {
    "edema": edema,
    "interstitial": interstitial,
}
