"""A planned study drawn: pixels of every view, and what can be seen of every finding.

The order of random draws never matters: every purpose (camera, exposure, noise, each finding) has
its own stream, so adding, moving or removing a finding leaves exposure, markers and noise alone.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from harness.phantom.anatomy import build_of
from harness.phantom.detector import (
    add_noise,
    expose,
    lung_texture,
    process,
    store,
)
from harness.phantom.detector import (
    without as unseen,
)
from harness.phantom.devices import devices_path
from harness.phantom.diffuse import DIFFUSE, SHAPES, changes_of
from harness.phantom.findings import FOCAL, Setting
from harness.phantom.markers import markers_path, shutter_of
from harness.phantom.plan import DrawnFinding, Film, FindingPlan, Side, StudyPlan, View
from harness.phantom.pleura import PLEURA
from harness.phantom.project import Scene, paths_of, soft_of
from harness.phantom.solids import Plane
from harness.phantom.streams import stream
from harness.phantom.technique import Exposure, camera_of, exposure_of, gas_of, posture_of
from harness.phantom.truth import drawn

DRAW = {**FOCAL, **PLEURA, **DIFFUSE}
BLOOD = np.float32(0.73)  # a vessel's density beyond the lung around it


@dataclass(frozen=True)
class _Shot:
    plan: StudyPlan
    view: View
    setting: Setting
    exposure: Exposure


def render_study(
    plan: StudyPlan, size: int = 224, *, without: Collection[int] = (), markers: bool = True
) -> tuple[Film, ...]:
    """One film per view of the plan, size x size pixels, with the truth about every finding drawn.

    Args:
        plan: the study.
        size: pixels along each side; anatomy and findings do not depend on it, the noise does.
        without: indices into `plan.findings` that are left out (the counterfactual film: same
            patient, exposure and noise).
        markers: whether letters and cables are in the picture; without them a film of lung-only
            findings can be mirrored (`mirrored`).

    Raises:
        ValueError: a finding's name is not known.
    """
    findings = tuple(f for i, f in enumerate(plan.findings) if i not in set(without))
    for one in findings:
        if one.name not in DRAW and one.name not in SHAPES:
            raise ValueError(f"finding {one.name!r}: expected one of {sorted({*DRAW, *SHAPES})}")
    plan = replace(plan, findings=findings)
    return tuple(_render(plan, view, size, markers) for view in plan.views)


def mirrored(film: Film) -> Film:
    """The film seen in a mirror: pixels, boxes and the sides of its findings are exchanged.

    Meant for films of lung-only findings without markers; the heart ends up on the other side.
    """
    return replace(
        film, pixels=film.pixels[:, ::-1].copy(), findings=tuple(map(_mirror, film.findings))
    )


def _mirror(one: DrawnFinding) -> DrawnFinding:
    def flip(boxes: np.ndarray) -> np.ndarray:
        return np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)

    exchanged: dict[Side, Side] = {"left": "right", "right": "left"}
    other = exchanged.get(one.plan.side, one.plan.side)
    return replace(
        one,
        plan=replace(one.plan, side=other),
        exact=flip(one.exact),
        reader_1=flip(one.reader_1),
        reader_2=flip(one.reader_2),
        region=flip(one.region),
    )


def _scene(plan: StudyPlan, view: View, findings: tuple[FindingPlan, ...]) -> Scene:
    build = build_of(plan.patient)
    return Scene(plan.patient, build, posture_of(plan, view), changes_of(findings), gas_of(plan))


def _change(finding: FindingPlan, shot: _Shot) -> Plane:
    """What the finding adds to the path lengths of the film, mm."""
    if finding.name not in SHAPES:
        return DRAW[finding.name](finding, shot.setting)
    rest = tuple(f for f in shot.plan.findings if f is not finding)
    camera = shot.setting.camera
    return np.asarray(shot.setting.paths.soft - soft_of(_scene(shot.plan, shot.view, rest), camera))


def _render(plan: StudyPlan, view: View, size: int, markers: bool) -> Film:
    scene = _scene(plan, view, plan.findings)
    camera = camera_of(plan, view, scene.build, size)
    setting = Setting(scene, camera, paths_of(scene, camera))
    shot = _Shot(plan, view, setting, exposure_of(plan, view))
    changes = [_change(finding, shot) for finding in plan.findings]
    path = _whole_path(shot, changes, markers)
    records = _truth(shot, changes, path)
    return Film(view, _pixels(shot, path), records)


def _whole_path(shot: _Shot, changes: list[Plane], markers: bool) -> Plane:
    paths, camera = shot.setting.paths, shot.setting.camera
    path = paths.soft + paths.bone + BLOOD * (paths.vessels["left"] + paths.vessels["right"])
    path = path + devices_path(shot.plan, shot.setting.scene, camera, cables=markers)
    if markers:
        path = path + markers_path(shot.plan, shot.view, camera)
    for finding, change in zip(shot.plan.findings, changes, strict=True):
        if finding.name not in SHAPES:
            path = path + change
    return np.asarray(np.maximum(np.float32(0), path))


def _truth(shot: _Shot, changes: list[Plane], path: Plane) -> tuple[DrawnFinding, ...]:
    if not changes:
        return ()
    air = shot.setting.paths.air["left"] + shot.setting.paths.air["right"]
    signal = expose(path, air, shot.setting.camera, shot.exposure)
    records = []
    for finding, change in zip(shot.plan.findings, changes, strict=True):
        other = unseen(np.maximum(np.float32(0), path - change), signal, shot.exposure)
        seen = signal.log - other
        records.append(drawn(finding, seen, signal.sigma, setting=shot.setting, view=shot.view))
    return tuple(records)


def _pixels(shot: _Shot, path: Plane) -> np.ndarray:
    plan, camera, exposure = shot.plan, shot.setting.camera, shot.exposure
    air = shot.setting.paths.air["left"] + shot.setting.paths.air["right"]
    field = lung_texture(stream(plan.seed, "texture", shot.view), camera, exposure)
    texture = np.float32(exposure.texture) * np.sqrt(air) * field
    rng = stream(plan.seed, "noise", shot.view)
    log = add_noise(path, texture, rng, camera=camera, exposure=exposure)
    plane = process(log, camera, exposure)
    return store(plane, shutter_of(plan, shot.view, camera), plan.rendering, exposure.toe)
