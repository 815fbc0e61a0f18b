"""Point clouds of the thin things: curved tubes, hollow bones, plates and boxes."""

import numpy as np
from jaxtyping import Float

from harness.phantom.solids import Cloud

GOLDEN = np.pi * (3 - 5**0.5)  # the angle that spreads points evenly


def _ball(count: int) -> np.ndarray:
    """`count` points spread through a unit ball."""
    i = np.arange(count) + 0.5
    height = 1 - 2 * i / count
    radius = np.sqrt(1 - height**2)
    shell = np.stack([radius * np.cos(GOLDEN * i), radius * np.sin(GOLDEN * i), height], axis=1)
    depth = ((np.arange(count) * 0.618) % 1.0) ** (1 / 3)
    return np.asarray((shell * depth[:, None]).astype(np.float32))


def resample(line: Float[np.ndarray, "k 3"], step: float) -> Float[np.ndarray, "n 3"]:
    """The polyline at even distances of about `step` mm."""
    line = np.asarray(line, np.float64)
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    count = max(2, int(lengths[-1] / step) + 1)
    at = np.linspace(0, lengths[-1], count)
    return np.stack([np.interp(at, lengths, line[:, k]) for k in range(3)], axis=1)


def smooth_curve(knots: object, count: int = 40) -> Float[np.ndarray, "n 3"]:
    """A smooth curve through knots (x, y, z): Catmull-Rom, end points doubled."""
    p = np.asarray(knots, np.float64)
    p = np.concatenate([p[:1], p, p[-1:]])
    pieces = len(p) - 3
    t = np.linspace(0, pieces, count)
    i = np.minimum(t.astype(int), pieces - 1)
    f = (t - i)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    return np.asarray(
        0.5
        * (
            2 * b
            + (c - a) * f
            + (2 * a - 5 * b + 4 * c - d) * f**2
            + (3 * b - a - 3 * c + d) * f**3
        )
    )


def wire(
    line: Float[np.ndarray, "k 3"], radius: float, density: float, *, step: float = 1.0
) -> Cloud:
    """A solid tube along a polyline; density is relative to water."""
    centers = resample(line, step)
    length = float(np.linalg.norm(np.diff(centers, axis=0), axis=1).sum())
    ball = _ball(6) * radius
    points = (centers[:, None, :] + ball[None]).reshape(-1, 3).astype(np.float32)
    mass = density * np.pi * radius**2 * length / len(points)
    return Cloud(points, np.full(len(points), mass, np.float32))


def hollow(
    line: Float[np.ndarray, "*many k 3"],
    outward: Float[np.ndarray, "*many k 3"],
    *,
    radii: tuple[float, float],
    shell: float | np.ndarray,
    core: float | np.ndarray = 0.0,
    around: int = 10,
) -> Cloud:
    """Hollow bones along polylines: an elliptical cortex, and a spongy core on the line.

    Args:
        line: points along each axis, evenly spaced.
        outward: unit vectors of the first half-axis; the second is square to it and the line.
        radii: half-axes in mm, outward and across.
        shell: thickness of the cortex in mm of water beyond soft tissue, one number or one a point.
        core: density of the inside beyond soft tissue, likewise.
        around: points on the circumference.
    """
    tangent = np.gradient(line, axis=-2)
    step = np.linalg.norm(tangent, axis=-1)
    across = np.cross(tangent / step[..., None], outward)
    angle = np.arange(around) * 2 * np.pi / around + (np.arange(line.shape[-2]) % 2)[:, None] * 0.31
    rim = (
        line[..., None, :]
        + radii[0] * np.cos(angle)[..., None] * outward[..., None, :]
        + radii[1] * np.sin(angle)[..., None] * across[..., None, :]
    )
    perimeter = np.pi * (radii[0] + radii[1])
    rim_mass = np.repeat((step * perimeter * shell / around).ravel(), around)
    offsets = (radii[1] * np.array([-0.45, 0.0, 0.45]))[:, None]
    core_spots = line[..., None, :] + across[..., None, :] * offsets
    core_mass = np.repeat((step * np.pi * radii[0] * radii[1] * core / 3).ravel(), 3)
    points = np.concatenate([rim.reshape(-1, 3), core_spots.reshape(-1, 3)])
    mass = np.concatenate([rim_mass, core_mass])
    return Cloud(points.astype(np.float32), mass.astype(np.float32))


def plate(
    corners: Float[np.ndarray, "4 3"], thickness: float, *, rim: float = 0.0, step: float = 2.0
) -> Cloud:
    """A bilinear sheet between four corners, thicker by `rim` (mm) near its edges."""
    p = np.asarray(corners, np.float64)
    sides = max(np.linalg.norm(p[1] - p[0]), np.linalg.norm(p[2] - p[3]))
    heights = max(np.linalg.norm(p[3] - p[0]), np.linalg.norm(p[2] - p[1]))
    s, t = np.meshgrid(
        np.linspace(0, 1, int(sides / step) + 2), np.linspace(0, 1, int(heights / step) + 2)
    )
    s, t = s.ravel()[:, None], t.ravel()[:, None]
    points = p[0] * (1 - s) * (1 - t) + p[1] * s * (1 - t) + p[2] * s * t + p[3] * (1 - s) * t
    edge = np.minimum(np.minimum(s, 1 - s) * sides, np.minimum(t, 1 - t) * heights)[:, 0]
    depth = thickness + rim * np.exp(-edge / 2.5)
    return Cloud(
        points.astype(np.float32), (depth * sides * heights / len(points)).astype(np.float32)
    )


def shell_of(
    center: Float[np.ndarray, "3"], radii: tuple[float, float, float], shell: float, *, step: float
) -> Cloud:
    """The surface of an ellipsoid, `shell` mm thick."""
    area = 4 * np.pi * (radii[0] * radii[1] * radii[2]) ** (2 / 3)
    count = max(24, int(area / step**2))
    i = np.arange(count) + 0.5
    height = 1 - 2 * i / count
    radius = np.sqrt(1 - height**2)
    unit = np.stack([radius * np.cos(GOLDEN * i), radius * np.sin(GOLDEN * i), height], axis=1)
    points = np.asarray(center) + unit * np.asarray(radii)
    return Cloud(points.astype(np.float32), np.full(count, area * shell / count, np.float32))
