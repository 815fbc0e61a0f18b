"""Findings as changes of the path length: what each adds to or takes from the rays, in mm of water.

A finding is a solid in the patient's frame, so that frontal and lateral films agree. `draw` gives
the change on one film; findings that change the shape of the patient (`SHAPES`) are in `shape`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from harness.phantom.plan import FindingPlan
from harness.phantom.project import LUNG, Paths, Scene
from harness.phantom.sites import foci, sides_of
from harness.phantom.solids import Camera, Plane, blob, ellipsoid, span
from harness.phantom.streams import between, stream
from harness.phantom.vessels import hilum

TISSUE = np.float32(1 - LUNG)  # what solid tissue adds where there was lung


@dataclass(frozen=True)
class Setting:
    """One film on which findings are drawn."""

    scene: Scene
    camera: Camera
    paths: Paths


def no_change(setting: Setting) -> Plane:
    """A plane of zeros as large as the film."""
    return np.zeros((setting.camera.size, setting.camera.size), np.float32)


def by_size(finding: FindingPlan, small: float, moderate: float, large: float) -> float:
    """The value of the finding's size word, varied by 12 % by its seed."""
    value = {"small": small, "moderate": moderate, "large": large}[finding.size]
    return value * between(stream(finding.seed, "size"), 0.88, 1.12)


def mottle(finding: FindingPlan, camera: Camera, grain: float) -> Plane:
    """A zero-mean, unit-variance random field with grains of so many mm, by the finding's seed."""
    rng = stream(finding.seed, "mottle", round(camera.angle * 2 / np.pi))
    count = max(8, int(camera.field / 3.0))
    field = gaussian_filter(rng.standard_normal((count, count), np.float32), grain / 3.0)
    field /= field.std() + 1e-6
    at = np.minimum((np.arange(camera.size) * count) // camera.size, count - 1)
    return np.asarray(gaussian_filter(field[at][:, at], 0.5 * 3.0 / camera.pitch))


def _airspace(setting: Setting, side: str, cluster: Plane, finding: FindingPlan) -> Plane:
    """Lung that has filled: the cluster's path, held within the air there is, and mottled."""
    air = setting.paths.air[side]
    filled = air * (1 - np.exp(-cluster / (air + 1)))
    fuzz = 1 + 0.28 * mottle(finding, setting.camera, 5.0)
    return np.asarray(TISSUE * filled * np.maximum(np.float32(0.1), fuzz))


def consolidation(finding: FindingPlan, setting: Setting) -> Plane:
    """Clusters of fuzzy clouds that fill the lung around each focus."""
    total = no_change(setting)
    reach = by_size(finding, 11, 20, 33)
    for index, (side, middle) in enumerate(foci(setting.scene, finding)):
        rng = stream(finding.seed, "cluster", index)
        cluster = no_change(setting)
        for _ in range(7):
            center = middle + rng.normal(0, 0.62, 3) * reach * [1, 0.8, 0.9]
            sigma = reach * rng.uniform(0.35, 0.65, 3)
            cluster = cluster + blob(center, tuple(sigma), setting.camera)
        density = np.float32(0.13 + 0.80 * finding.severity)
        total = total + _airspace(setting, side, density * cluster, finding)
    return total


def _solid(setting: Setting, center: np.ndarray, radii: np.ndarray, density: float) -> Plane:
    chord = 2 * span(ellipsoid(tuple(center), tuple(radii)), setting.camera).half
    return np.float32(density) * chord


def nodule(finding: FindingPlan, setting: Setting) -> Plane:
    """Round solid foci of 5 to 13 mm radius."""
    total = no_change(setting)
    for index, (_, middle) in enumerate(foci(setting.scene, finding)):
        rng = stream(finding.seed, "shape", index)
        radius = by_size(finding, 5.5, 8.0, 12.0) * rng.uniform(0.9, 1.12, 3)
        total = total + _solid(
            setting, middle, radius, (0.36 + 0.5 * finding.severity) * (1 - LUNG)
        )
    return np.asarray(gaussian_filter(total, 0.8 / setting.camera.pitch))


def mass(finding: FindingPlan, setting: Setting) -> Plane:
    """A lobulated solid of 13 to 34 mm radius: the hull of four balls, with a fuzzy rim."""
    total = no_change(setting)
    for index, (_, middle) in enumerate(foci(setting.scene, finding)):
        rng = stream(finding.seed, "shape", index)
        radius = by_size(finding, 14, 21, 31)
        parts = [
            _solid(
                setting,
                middle + rng.normal(0, 0.27, 3) * radius,
                radius * rng.uniform(0.6, 0.85, 3),
                1.0,
            )
            for _ in range(4)
        ]
        total = total + np.maximum.reduce(parts) * TISSUE * np.float32(
            0.34 + 0.46 * finding.severity
        )
    return np.asarray(gaussian_filter(total, 1.4 / setting.camera.pitch))


def calcified_granuloma(finding: FindingPlan, setting: Setting) -> Plane:
    """Small dense balls of 2.5 to 6 mm radius."""
    total = no_change(setting)
    for _, middle in foci(setting.scene, finding):
        radius = by_size(finding, 2.6, 3.8, 5.2)
        total = total + _solid(setting, middle, np.full(3, radius), 1.3 + 1.7 * finding.severity)
    return np.asarray(gaussian_filter(total, 0.5 / setting.camera.pitch))


def hilar_enlargement(finding: FindingPlan, setting: Setting) -> Plane:
    """Lobulated tissue around the hilum of each side."""
    total = no_change(setting)
    for side in sides_of(finding):
        rng = stream(finding.seed, "hilum", side)
        radius = by_size(finding, 10, 14, 19)
        out = np.sign(hilum(setting.scene.build, side)[0])
        parts = []
        for drop in (0.9, 0.0, -1.0):
            center = hilum(setting.scene.build, side) + radius * np.array([0.55 * out, 0, drop])
            parts.append(
                _solid(
                    setting, center + rng.normal(0, 2.5, 3), radius * rng.uniform(0.75, 1.1, 3), 1.0
                )
            )
        inside = np.minimum(1, setting.paths.air[side] / 12)
        total = total + np.maximum.reduce(parts) * inside * TISSUE * np.float32(
            0.3 + 0.6 * finding.severity
        )
    return np.asarray(gaussian_filter(total, 1.6 / setting.camera.pitch))


def atelectasis(finding: FindingPlan, setting: Setting) -> Plane:
    """Thin plates near the base, and a wedge of collapsed lung where it is more than small."""
    total = no_change(setting)
    for index, (side, middle) in enumerate(foci(setting.scene, finding)):
        rng = stream(finding.seed, "plates", index)
        long = by_size(finding, 24, 33, 42)
        cluster = no_change(setting)
        lean = rng.uniform(-0.4, 0.4)
        for _ in range({"small": 1, "moderate": 2, "large": 3}[finding.size]):
            center = middle + rng.normal(0, 1, 3) * [5, 6, 11]
            tilt = lean + rng.normal(0, 0.08)
            for step in np.linspace(-1, 1, 9):
                spot = center + step * long * 0.8 * np.array([np.cos(tilt), 0, np.sin(tilt)])
                cluster = cluster + blob(spot, (long * 0.13, 20, 2.4), setting.camera)
        if finding.size != "small":
            cluster = cluster + 0.5 * blob(
                middle - np.array([0, 6, 6]), (0.5 * long, 18, 0.3 * long), setting.camera
            )
        total = total + _airspace(
            setting, side, np.float32(0.14 + 0.6 * finding.severity) * cluster, finding
        )
    return total


FOCAL: dict[str, Callable[[FindingPlan, Setting], Plane]] = {
    "consolidation": consolidation,
    "nodule": nodule,
    "mass": mass,
    "calcified_granuloma": calcified_granuloma,
    "hilar_enlargement": hilar_enlargement,
    "atelectasis": atelectasis,
}
