"""Where in the lungs a finding sits: zones as parts of the lung in the patient's frame."""

from dataclasses import replace

import numpy as np

from harness.phantom.anatomy import APEX, Changes, Posture, dome_height, heart_lofts
from harness.phantom.plan import FindingPlan
from harness.phantom.project import Scene
from harness.phantom.streams import stream
from harness.phantom.vessels import hilum, lung_points

# Parts of the height from dome (0) to apex (1); the lung's recess reaches below 0.
HEIGHTS = {
    "apical": (0.80, 0.97),
    "upper": (0.62, 0.95),
    "mid": (0.33, 0.62),
    "lower": (0.03, 0.33),
    "basal": (0.02, 0.16),
    "retrocardiac": (0.04, 0.40),
    "perihilar": (0.25, 0.75),
    "": (0.05, 0.93),
}
NEAR_HILUM = 48.0  # mm
APART = {"small": 36.0, "moderate": 50.0, "large": 72.0}  # mm between foci, where there is room


def lung_height(scene: Scene, side: str, z: np.ndarray | float) -> np.ndarray | float:
    """Height as a part of the way from the dome's top (0) to the apex (1)."""
    floor = dome_height(scene.build, side, scene.posture, scene.changes)
    return (z - floor) / (APEX * scene.build.tall - floor)


def height_at(scene: Scene, side: str, part: float) -> float:
    """The inverse of `lung_height`: z in mm."""
    floor = dome_height(scene.build, side, scene.posture, scene.changes)
    return floor + part * (APEX * scene.build.tall - floor)


def sides_of(finding: FindingPlan) -> tuple[str, ...]:
    """The sides a finding lies on; none means both."""
    return (finding.side,) if finding.side in ("left", "right") else ("right", "left")


def in_zone(scene: Scene, side: str, zone: str, points: np.ndarray) -> np.ndarray:
    """Which points lie in the zone."""
    low, high = HEIGHTS[zone]
    part = np.asarray(lung_height(scene, side, points[:, 2]))
    good = (part > low) & (part < high)
    if zone == "perihilar":
        good &= (
            np.linalg.norm((points - hilum(scene.build, side)) * [1, 0.7, 1], axis=1) < NEAR_HILUM
        )
    if zone == "retrocardiac":
        left = heart_lofts(scene.build, scene.posture, scene.changes)[0]
        edge = np.abs(left.x.mean()) + 0.6 * left.a.max()
        good &= (points[:, 1] < -25) & (np.abs(points[:, 0]) < edge) & (np.abs(points[:, 0]) > 14)
    return np.asarray(good)


def at_rest(scene: Scene) -> Scene:
    """The scene breathed in, without disease: places are chosen in it, for every film alike."""
    return replace(scene, posture=Posture(), changes=Changes())


def _site(
    scene: Scene, finding: FindingPlan, side: str, *, focus: int, taken: list[np.ndarray]
) -> np.ndarray:
    """A point of the aerated lung in the finding's zone, at rest, apart from those taken."""
    rng = stream(finding.seed, "site", side, focus)
    points = lung_points(rng, scene.build, side, 500)
    good = points[in_zone(scene, side, finding.zone, points)]
    if not len(good):
        low, high = HEIGHTS[finding.zone]
        middle = hilum(scene.build, side) * [1.6, 1, 0]
        return np.array([middle[0], -40.0, height_at(scene, side, (low + high) / 2)])
    if not taken:
        return np.asarray(good[0])
    apart = np.linalg.norm((good[:, None] - np.stack(taken)[None])[..., [0, 2]], axis=-1).min(
        axis=1
    )
    return np.asarray(good[int(np.argmax(np.minimum(apart, APART[finding.size])))])


def foci(scene: Scene, finding: FindingPlan) -> list[tuple[str, np.ndarray]]:
    """Side and middle (x, y, z in mm) of every focus, apart from each other.

    Foci of a two-sided finding alternate. A focus keeps its height as a part of the lung's, so it
    moves with the breath.
    """
    sides, rest = sides_of(finding), at_rest(scene)
    chosen: list[tuple[str, np.ndarray]] = []
    for focus in range(max(finding.count, len(sides))):
        side = sides[focus % len(sides)]
        taken = [point for other, point in chosen if other == side]
        chosen.append((side, _site(rest, finding, side, focus=focus, taken=taken)))
    return [(side, _breathe(scene, rest, side, point)) for side, point in chosen]


def _breathe(scene: Scene, rest: Scene, side: str, point: np.ndarray) -> np.ndarray:
    part = float(lung_height(rest, side, point[2]))
    return np.array([point[0], point[1], height_at(scene, side, part)])
