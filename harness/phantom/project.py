"""From solids to path lengths: what every ray of one film crosses, in mm of water."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from harness.phantom.anatomy import (
    SIDES,
    Build,
    Changes,
    Posture,
    abdomen,
    build_of,
    heart_lofts,
    lung,
    spine_loft,
    vessel_lofts,
)
from harness.phantom.body import airways, breasts, stomach, torso
from harness.phantom.plan import PatientPlan
from harness.phantom.skeleton import shoulder_bones, trunk_bones
from harness.phantom.solids import (
    Camera,
    Cloud,
    Plane,
    Span,
    clip,
    hull,
    join,
    overlap,
    span,
    splat,
)
from harness.phantom.vessels import lung_vessels

LUNG = 0.27  # density of aerated lung relative to water
BREAST = 0.9


@dataclass(frozen=True)
class Scene:
    """A patient in one study."""

    patient: PatientPlan
    build: Build
    posture: Posture
    changes: Changes
    gas: float  # fill of the stomach bubble, 0..1


@dataclass(frozen=True)
class Paths:
    """Path lengths of one film, mm; `lungs` are the cavities, `air` what is aerated of them."""

    lungs: dict[str, Span]
    air: dict[str, Plane]
    heart: Span
    middle: Span
    domes: dict[str, Span]
    soft: Plane = field(repr=False)  # water equivalent of the soft solids, lungs counted as LUNG
    bone: Plane = field(repr=False)
    vessels: dict[str, Plane] = field(repr=False)


@lru_cache(maxsize=4)
def _trunk(patient: PatientPlan, detail: int) -> Cloud:
    return trunk_bones(patient, build_of(patient), detail)


def _bones(scene: Scene, detail: int) -> Cloud:
    shoulders = shoulder_bones(scene.patient, scene.build, scene.posture, detail)
    return join([_trunk(scene.patient, detail), shoulders])


@lru_cache(maxsize=4)
def _tree(patient: PatientPlan) -> dict[str, Cloud]:
    return lung_vessels(patient, build_of(patient))


def _aerated(cavity: Span, solids: list[Span]) -> Plane:
    """Cavity less the union of three solids (pairs are put back, all three at once is rare)."""
    parts = [clip(one, cavity) for one in solids]
    left = 2 * cavity.half
    for index, part in enumerate(parts):
        left = left - 2 * part.half
        for other in parts[:index]:
            left = left + overlap(part, other)
    return np.asarray(np.maximum(np.float32(0), left))


def _outside(scene: Scene, camera: Camera) -> Plane:
    """Length of ray inside the trunk, shoulders, arms and breasts."""
    build = scene.build
    lofts = torso(build, scene.posture, scene.changes)
    half = np.maximum.reduce([span(one, camera).half for one in lofts])
    total = 2 * half
    trunk = span(lofts[0], camera)
    for breast in breasts(build):
        one = span(breast, camera)
        total = total + np.float32(BREAST) * (2 * one.half - overlap(one, trunk))
    return np.asarray(total)


def _gas(scene: Scene, camera: Camera) -> Plane:
    tubes = [2 * span(one, camera).half for one in airways(scene.build, scene.changes)]
    air = np.maximum.reduce(tubes)
    if scene.gas <= 0:
        return np.asarray(air)
    bubble = span(stomach(scene.build, scene.posture, scene.changes, scene.gas), camera)
    return np.asarray(air + np.float32(1.1) * bubble.half)


def solids_of(scene: Scene, camera: Camera) -> tuple[Span, Span, dict[str, Span]]:
    """Heart, everything in the middle of the chest, and what lies under each dome."""
    b, p, c = scene.build, scene.posture, scene.changes
    heart = hull([span(one, camera) for one in heart_lofts(b, p, c)])
    middle = hull([heart, *[span(one, camera) for one in vessel_lofts(b, c)]])
    return heart, middle, {s: span(abdomen(b, s, p, c), camera) for s in SIDES}


def _soft(
    scene: Scene, camera: Camera, solids: tuple[Span, Span, dict[str, Span]]
) -> tuple[Plane, dict[str, Span], dict[str, Plane]]:
    """Water equivalent of the soft solids, the pleural cavities, and what is aerated of them."""
    _, middle, domes = solids
    b, p, c = scene.build, scene.posture, scene.changes
    back = span(spine_loft(), camera)
    lungs = {s: span(lung(b, s, p, c), camera) for s in SIDES}
    air = {s: _aerated(lungs[s], [middle, domes[s], back]) for s in SIDES}
    density = np.float32(LUNG * (1 - 0.35 * c.inflation))
    soft = _outside(scene, camera) - (1 - density) * (air["left"] + air["right"])
    return np.maximum(np.float32(0), soft - _gas(scene, camera)), lungs, air


def soft_of(scene: Scene, camera: Camera) -> Plane:
    """Path through the soft solids alone, in mm of water."""
    return _soft(scene, camera, solids_of(scene, camera))[0]


def paths_of(scene: Scene, camera: Camera) -> Paths:
    """All path lengths of one film of a scene."""
    solids = heart, middle, domes = solids_of(scene, camera)
    soft, lungs, air = _soft(scene, camera, solids)
    bone = splat(_bones(scene, -(-camera.size // 256)), camera, 0.7)
    fewer = np.float32(1 - 0.35 * scene.changes.inflation)
    vessels = {s: splat(tree, camera, 0.5) for s, tree in _tree(scene.patient).items()}
    seen = {s: fewer * plane * np.minimum(1, air[s] / 25) for s, plane in vessels.items()}
    return Paths(lungs, air, heart, middle, domes, soft, bone, seen)
