"""Findings of the pleura and chest wall: fluid, air, thickening, broken ribs."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from harness.phantom.anatomy import BASE, SIDES, dome_height, lung
from harness.phantom.findings import TISSUE, Setting, by_size, no_change
from harness.phantom.plan import FindingPlan
from harness.phantom.project import LUNG
from harness.phantom.sites import HEIGHTS, at_rest, height_at, lung_height, sides_of
from harness.phantom.skeleton import Ribs, all_ribs, rib_cloud
from harness.phantom.solids import Cloud, Loft, Plane, Span, span, splat
from harness.phantom.streams import between, stream


def _across(cavity: Span) -> Plane:
    if cavity.across is None:
        raise ValueError("a lung's span must be that of one loft, to know its outline")
    return cavity.across


def pleural_effusion(finding: FindingPlan, setting: Setting) -> Plane:
    """Free fluid with a meniscus: it stands higher at the wall than in the middle of the lung.

    Fluid lies where z < level + rise (r^6 - 0.12), r the distance from the lung's axis as a part
    of its section. On a ray at t (part of the way to the outline) r^2 = t^2 + (1 - t^2) s^2, so the
    wet part of the ray is 1 - sqrt((q - t^2) / (1 - t^2)), q^3 = (z - level) / rise + 0.12.
    """
    scene, camera = setting.scene, setting.camera
    total = no_change(setting)
    for side in sides_of(finding):
        rng = stream(finding.seed, "fluid", side)
        floor = BASE * scene.build.tall - 0.8 * scene.posture.breath
        dome = dome_height(scene.build, side, scene.posture, scene.changes)
        level = {
            "small": floor + between(rng, 10, 30),
            "moderate": dome + between(rng, 2, 28),
            "large": dome + between(rng, 55, 105),
        }[finding.size] + 10 * (finding.severity - 0.5)
        rise = {"small": 30.0, "moderate": 44.0, "large": 50.0}[finding.size]
        q = np.cbrt(np.maximum(0, (camera.rows / np.float32(1.06) - level) / rise + 0.12))
        t = np.minimum(np.float32(0.999), np.square(_across(setting.paths.lungs[side])))
        dry = np.sqrt(np.clip((q.astype(np.float32) - t) / (1 - t), 0, 1))
        density = TISSUE * np.float32(0.55 + 0.45 * finding.severity)
        total = total + density * setting.paths.air[side] * (1 - dry)
    return np.asarray(gaussian_filter(total, 1.2 / camera.pitch))


def _shrunk(loft: Loft, side: str, gap: np.ndarray, *, apex: float, deep: float = 0.35) -> Loft:
    """The lung after it has fallen from the wall by `gap` mm (per height) and from the apex."""
    z = loft.z[0] + (loft.z - loft.z[0]) * (1 - apex / (loft.z[-1] - loft.z[0]))
    return replace(
        loft,
        z=z,
        x=loft.x - SIDES[side] * gap / 2,
        a=np.maximum(0.1, loft.a - gap / 2),
        b=np.maximum(0.1, loft.b - deep * gap),
    )


def _falls(finding: FindingPlan, high: np.ndarray, gap: float) -> tuple[np.ndarray, float]:
    """How far the lung falls from the wall at each height, and from the apex (mm)."""
    reach = {"small": 0.48, "moderate": 0.75, "large": 1.2}[finding.size]
    if finding.zone in ("basal", "lower"):
        return gap * np.clip((reach - 0.06 - high) / reach, 0, 1) ** 0.8, 0.0
    return gap * np.clip((high - 0.9 + reach) / reach, 0, 1) ** 0.8, 1.15 * gap


def pneumothorax(finding: FindingPlan, setting: Setting) -> Plane:
    """Air between lung and wall: no markings there, and a thin bright line at the lung's edge."""
    scene, camera, paths = setting.scene, setting.camera, setting.paths
    total = no_change(setting)
    for side in sides_of(finding):
        outer = lung(scene.build, side, scene.posture, scene.changes)
        gap = by_size(finding, 13, 27, 52)
        falls, apex = _falls(finding, np.asarray(lung_height(scene, side, outer.z)), gap)
        inner = span(_shrunk(outer, side, falls, apex=apex), camera)
        skin = span(_shrunk(outer, side, falls + 1.7, apex=apex + 1.3), camera)
        part = np.minimum(1, inner.half / (paths.lungs[side].half + np.float32(0.1)))
        free = np.clip(1.6 * (1 - part), 0, 1)
        empty = paths.air[side] * (1 - part)
        line = 2 * np.maximum(0, inner.half - skin.half) * free
        collapse = np.float32((0.10 + 0.12 * finding.severity) * np.clip((gap - 22) / 32, 0, 1))
        total = total - np.float32((0.35 + 0.4 * finding.severity) * LUNG) * empty
        total = (
            total
            + collapse * paths.air[side] * part
            + np.float32(0.6 + 0.9 * finding.severity) * np.minimum(line, 16)
        )
        total = total - TISSUE * paths.vessels[side] * (part < 0.02)
    return np.asarray(gaussian_filter(total, 0.4 / camera.pitch))


def pleural_thickening(finding: FindingPlan, setting: Setting) -> Plane:
    """A rind of 4 to 12 mm between lung and wall, at the apex or along the side."""
    scene, camera, paths = setting.scene, setting.camera, setting.paths
    low, high = {
        "apical": (0.72, 1.05),
        "upper": (0.55, 1.05),
        "mid": (0.3, 0.65),
        "lower": (-0.2, 0.3),
        "basal": (-0.3, 0.2),
    }.get(finding.zone, (0.15, 0.62))
    total = no_change(setting)
    for side in sides_of(finding):
        outer = lung(scene.build, side, scene.posture, scene.changes)
        depth = by_size(finding, 4.5, 7.5, 11.0)
        part = lung_height(scene, side, outer.z)
        window = np.clip((part - low) / 0.08, 0, 1) * np.clip((high - part) / 0.08, 0, 1)
        apex = depth * (1.1 if finding.zone in ("apical", "upper") else 0.0)
        inner = span(_shrunk(outer, side, depth * window, apex=apex, deep=0.0), camera)
        rind = np.maximum(0, paths.lungs[side].half - inner.half)
        density = TISSUE * np.float32(0.3 + 0.6 * finding.severity)
        total = total + density * np.minimum(2 * rind, paths.air[side])
    return np.asarray(gaussian_filter(total, 1.0 / camera.pitch))


def _break(one: Ribs, setting: Setting, at: float, step: float) -> Plane:
    """The change that a step of so many mm at a part of the turn makes to one rib."""
    whole = rib_cloud(one, setting.scene.build)
    spot = one.line[int(np.argmin(np.abs(one.turn - at)))].astype(np.float32)
    away = np.linalg.norm(whole.points - spot, axis=1)
    after = whole.points[:, 1] > spot[1]
    moved = np.where(after & (away < 34), step * np.exp(-away / 20), 0).astype(np.float32)
    left = np.where(away < 0.35 * step, np.float32(0.15), np.float32(1))
    shift = moved[:, None] * np.array([-0.35 * np.sign(spot[0]), 0, -1], np.float32)
    broken = Cloud(whole.points + shift, whole.mass * left)
    return np.asarray(splat(broken, setting.camera) - splat(whole, setting.camera))


def rib_fracture(finding: FindingPlan, setting: Setting) -> Plane:
    """A step in one or more ribs: the part in front of the break is moved, with a little callus."""
    scene, sides = setting.scene, sides_of(finding)
    total = no_change(setting)
    low, high = HEIGHTS.get(finding.zone, HEIGHTS[""])
    ribs, rest = all_ribs(scene.patient, scene.build), at_rest(scene)
    for index in range(max(finding.count, len(sides))):
        side = sides[index % len(sides)]
        rng = stream(finding.seed, "break", side)
        at, target = between(rng, 0.24, 0.40), height_at(rest, side, between(rng, low, high))
        step = by_size(finding, 6, 9, 12) * (0.7 + 0.6 * finding.severity)
        row = int(side == "left")
        heights = [np.interp(at, ribs.turn[row, k], ribs.line[row, k, :, 2]) for k in range(11)]
        number = int(np.argmin(np.abs(np.array(heights) - target))) + index // len(sides)
        place = row, min(number, 10)
        one = Ribs(ribs.line[place], ribs.outward[place], ribs.turn[place])
        total = total + _break(one, setting, at, step)
    return total


PLEURA: dict[str, Callable[[FindingPlan, Setting], Plane]] = {
    "pleural_effusion": pleural_effusion,
    "pneumothorax": pneumothorax,
    "pleural_thickening": pleural_thickening,
    "rib_fracture": rib_fracture,
}
