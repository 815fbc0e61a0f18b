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
    part = lung_height(scene, side, points[:, 2])
    good = (part > low) & (part < high)
    if zone == "perihilar":
        good &= (
            np.linalg.norm((points - hilum(scene.build, side)) * [1, 0.7, 1], axis=1) < NEAR_HILUM
        )
    if zone == "retrocardiac":
        left = heart_lofts(scene.build, scene.posture, scene.changes)[0]
        edge = np.abs(left.x.mean()) + 0.6 * left.a.max()
        good &= (points[:, 1] < -25) & (np.abs(points[:, 0]) < edge) & (np.abs(points[:, 0]) > 14)
    return good


def site(scene: Scene, finding: FindingPlan, side: str, focus: int) -> np.ndarray:
    """The middle of one focus: a point of the aerated lung in the finding's zone; it moves with the breath."""
    rng = stream(finding.seed, "site", side, focus)
    points = lung_points(rng, scene.build, side, 500)
    rest = replace(scene, posture=Posture(), changes=Changes())  # the same point on every film
    good = points[in_zone(rest, side, finding.zone, points)]
    if not len(good):
        low, high = HEIGHTS[finding.zone]
        middle = hilum(scene.build, side) * [1.6, 1, 0]
        good = np.array([[middle[0], -40.0, height_at(rest, side, (low + high) / 2)]])
    part = float(lung_height(rest, side, good[0, 2]))
    return np.array([good[0, 0], good[0, 1], height_at(scene, side, part)])


def foci(scene: Scene, finding: FindingPlan) -> list[tuple[str, np.ndarray]]:
    """Side and middle of every focus; foci of a two-sided finding alternate."""
    sides = sides_of(finding)
    count = max(finding.count, len(sides))
    return [
        (sides[i % len(sides)], site(scene, finding, sides[i % len(sides)], i))
        for i in range(count)
    ]
