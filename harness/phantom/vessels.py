"""The pulmonary vessels: a tree from each hilum to points spread through the lung."""

import numpy as np

from harness.phantom.anatomy import SIDES, Build, Changes, Posture, abdomen, heart_lofts, lung
from harness.phantom.plan import PatientPlan
from harness.phantom.solids import Cloud, Loft
from harness.phantom.streams import stream

TWIGS = 340  # end points per lung
TWIG_RADIUS = 0.78  # mm


def hilum(build: Build, side: str) -> np.ndarray:
    """Where the vessels enter the lung, mm; the left hilum stands higher."""
    sign = SIDES[side]
    return np.array(
        [sign * (build.mediastinum + 11), -6.0, (2.0 if side == "right" else 13.0) * build.tall]
    )


def inside(loft: Loft, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Which points lie in the loft, at least `margin` mm (horizontally) from its surface."""
    z = points[:, 2]
    x, y, a, b = (np.interp(z, loft.z, v) for v in (loft.x, loft.y, loft.a, loft.b))
    a, b = np.maximum(a - margin, 1e-3), np.maximum(b - margin, 1e-3)
    power = 4 if loft.square else 2
    close = np.abs((points[:, 0] - x) / a) ** power + np.abs((points[:, 1] - y) / b) ** power < 1
    return np.asarray(close & (z > loft.z[0]) & (z < loft.z[-1]))


def lung_points(rng: np.random.Generator, build: Build, side: str, count: int) -> np.ndarray:
    """Points spread evenly in the aerated lung of one side, (n <= count, 3)."""
    loft = lung(build, side, Posture(), Changes())
    low = np.array([(loft.x - loft.a).min(), (loft.y - loft.b).min(), loft.z[0]])
    high = np.array([(loft.x + loft.a).max(), (loft.y + loft.b).max(), loft.z[-1]])
    points = rng.uniform(low, high, (count * 4, 3))
    good = inside(loft, points, 4.0) & ~inside(abdomen(build, side, Posture(), Changes()), points)
    for solid in heart_lofts(build, Posture(), Changes()):
        good &= ~inside(solid, points)
    return np.asarray(points[good][:count])


def _parents(nodes: np.ndarray) -> np.ndarray:
    """For nodes sorted by distance from the root (node 0), the best earlier node to grow from."""
    reach = np.linalg.norm(nodes - nodes[0], axis=1).astype(np.float32)
    square = (nodes**2).sum(1)
    gap = np.sqrt(np.maximum(0, square[:, None] + square[None] - 2 * nodes @ nodes.T)).astype(
        np.float32
    )
    # a short branch is cheap, but growing sideways or back toward the root is not
    cost = (
        gap
        + 0.72 * reach[None, :]
        + np.where(reach[None, :] >= reach[:, None] - 1e-3, np.float32(1e6), 0)
    )
    cost[:, 0] += 6
    return np.asarray(cost.argmin(axis=1))


def _radii(parents: np.ndarray) -> np.ndarray:
    """Murray's law from the tips: the cube of a parent is the sum of its children's cubes."""
    cubes = np.full(len(parents), TWIG_RADIUS**3)
    for node in range(len(parents) - 1, 0, -1):
        cubes[parents[node]] += cubes[node]
    return np.asarray(np.minimum(cubes ** (1 / 2.6) * TWIG_RADIUS ** (1 - 3 / 2.6), 6.5))


def _limbs(nodes: np.ndarray, parents: np.ndarray, radii: np.ndarray) -> tuple[Cloud, np.ndarray]:
    """Every branch as a bent string of points with the mass and radius of its tube."""
    child = np.arange(1, len(nodes))
    a, c = nodes[parents[child]], nodes[child]
    before = nodes[parents[parents[child]]]
    bend = a + (a - before) * 0.25
    middle = np.where(
        (parents[child] > 0)[:, None], (bend + c) / 2 * 0.45 + (a + c) / 2 * 0.55, (a + c) / 2
    )
    length = np.linalg.norm(c - a, axis=1)
    count = np.clip((length / 1.1).astype(int), 3, 60)
    owner = np.repeat(np.arange(len(child)), count)
    index = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    t = ((index + 0.5) / count[owner])[:, None]
    line = a[owner] * (1 - t) ** 2 + 2 * middle[owner] * t * (1 - t) + c[owner] * t**2
    r = radii[child][owner] * (1.12 - 0.24 * t[:, 0])
    mass = np.pi * r**2 * length[owner] / count[owner]
    return Cloud(line.astype(np.float32), mass.astype(np.float32)), r


def lung_vessels(patient: PatientPlan, build: Build) -> dict[str, Cloud]:
    """The vessels of each lung as a cloud, by the patient's seed."""
    clouds = {}
    for side in SIDES:
        rng = stream(patient.seed, "vessels", side)
        root = hilum(build, side)
        ends = lung_points(rng, build, side, TWIGS)
        ends = ends[np.linalg.norm(ends - root, axis=1).argsort()]
        nodes = np.concatenate([root[None], ends])
        parents = _parents(nodes)
        cloud, r = _limbs(nodes, parents, _radii(parents))
        many = np.clip(
            (r / 0.8).astype(int) + 1, 1, 8
        )  # points of a section, so that trunks are solid
        owner = np.repeat(np.arange(len(r)), many)
        thick = (0.5 * r[owner])[:, None]
        points = cloud.points[owner] + rng.normal(0, 1, (len(owner), 3)) * thick
        clouds[side] = Cloud(
            points.astype(np.float32), (cloud.mass / many)[owner].astype(np.float32)
        )
    return clouds
