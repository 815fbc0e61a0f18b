"""The two kinds of solid a phantom is made of, and their shadows: stacked ellipses and clouds.

Patient frame, in mm: x to the patient's left, y to the front, z up; z = 0 is mid-lung. A film looks
along the horizontal direction at `angle` from front to back: u = x cos - y sin runs to the right of
the film, v = x sin + y cos into depth. At angle 0 the patient's left is right in the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

Plane = Float[np.ndarray, "rows columns"]


@dataclass(frozen=True)
class Camera:
    """Where the film stands: pixels, scale, direction, and the distances that magnify.

    `facing` is +1 where the detector lies at positive depth v (PA: the front of the body), else -1;
    `distance` is source to detector, `gap` detector to the middle of the body, both in mm.
    """

    size: int
    field: float  # mm across the detector
    angle: float
    facing: int
    distance: float
    gap: float
    shift_u: float
    shift_z: float

    @property
    def pitch(self) -> float:
        """Millimeters per pixel."""
        return self.field / self.size

    @cached_property
    def columns(self) -> Plane:
        """U of each column in mm at the detector, (1, size)."""
        steps = (np.arange(self.size, dtype=np.float32) + 0.5) * self.pitch - self.field / 2
        return (steps + self.shift_u)[None, :]

    @cached_property
    def rows(self) -> Plane:
        """Z of each row in mm at the detector, (size, 1), from the top."""
        return -(self.columns - self.shift_u).T + self.shift_z

    def magnify(self, v: np.ndarray | float) -> np.ndarray | float:
        """How much larger a thing at depth v appears: distance over source-to-thing."""
        return self.distance / (self.distance - self.gap + self.facing * v)

    def to_pixels(self, points: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows, as real numbers in pixels, of points x, y, z."""
        c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        x, y, z = points[:, 0], points[:, 1], points[:, 2]
        scale = self.magnify(x * s + y * c)
        column = ((x * c - y * s) * scale - self.shift_u + self.field / 2) / self.pitch
        row = (self.field / 2 - z * scale + self.shift_z) / self.pitch
        return column, row


@dataclass(frozen=True)
class Loft:
    """A solid whose every horizontal section is an ellipse: ascending z, center, half-axes.

    `square` flattens the section (fourth power in place of the second), as a rib cage is flattened.
    """

    z: np.ndarray
    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    square: bool = False


def ellipsoid(
    center: tuple[float, float, float],
    radii: tuple[float, float, float],
    lean: tuple[float, float] = (0.0, 0.0),
) -> Loft:
    """An ellipsoid; `lean` shifts x and y by so much per mm of height (a sheared ellipsoid)."""
    t = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 25))
    width = np.sqrt(np.maximum(0.0, 1 - t**2))
    z = t * radii[2]
    x, y = center[0] + lean[0] * z, center[1] + lean[1] * z
    return Loft(center[2] + z, x, y, radii[0] * width, radii[1] * width)


def loft_of(rows: Sequence[Sequence[float]]) -> Loft:
    """The loft through sections (z, x, y, a, b) given from low to high."""
    z, x, y, a, b = np.asarray(rows, np.float64).T
    return Loft(z, x, y, a, b)


@dataclass(frozen=True)
class Span:
    """Where each ray is inside a solid: middle and half length in depth; half = 0 means never.

    `across` is the ray's place between the two outlines of a loft, -1 to 1; None for a hull.
    """

    mid: Plane
    half: Plane
    across: Plane | None = None

    @property
    def near(self) -> Plane:
        """Depth where the ray enters."""
        return np.asarray(np.subtract(self.mid, self.half))

    @property
    def far(self) -> Plane:
        """Depth where the ray leaves."""
        return np.asarray(np.add(self.mid, self.half))


def span(loft: Loft, camera: Camera) -> Span:
    """Middle and half length of the chord every ray has in the loft.

    An ellipse with half-axes a, b seen at an angle is w = sqrt(a^2 cos^2 + b^2 sin^2) half wide;
    its chord at u has half length (a b / w) sqrt(1 - (u / w)^2).
    """
    c, s = float(np.cos(camera.angle)), float(np.sin(camera.angle))
    scale = float(camera.magnify(float(np.mean(loft.x * s + loft.y * c))))
    z = camera.rows[:, 0] / scale
    rows = _range((z >= loft.z[0]) & (z <= loft.z[-1]))
    x, y, a, b = (np.interp(z[rows], loft.z, v) for v in (loft.x, loft.y, loft.a, loft.b))
    w = np.sqrt((a * c) ** 2 + (b * s) ** 2) + 1e-6
    center = x * c - y * s
    u = camera.columns[0] / np.float32(scale)
    low, high = ((center - w).min(), (center + w).max()) if len(w) else (1.0, 0.0)
    columns = _range((u > low) & (u < high))
    length, tilt, start, depth, inverse = (
        v.astype(np.float32)[:, None]
        for v in (a * b / w, c * s * (a**2 - b**2) / w, center / w, x * s + y * c, 1 / w)
    )
    t = u[None, columns] * inverse - start
    fall = np.square(t)
    if loft.square:
        fall = np.square(fall)
    half = np.sqrt(np.maximum(np.float32(0), 1 - fall)) * length
    window = rows, columns
    return Span(
        _placed(depth + tilt * t, window, camera),
        _placed(half, window, camera),
        _placed(t, window, camera),
    )


def _range(mask: np.ndarray) -> slice:
    """From the first true place to the last."""
    at = np.flatnonzero(mask)
    return slice(int(at[0]), int(at[-1]) + 1) if len(at) else slice(0, 0)


def _placed(values: Plane, window: tuple[slice, slice], camera: Camera) -> Plane:
    """Values in their window of an otherwise empty plane."""
    if values.shape == (camera.size, camera.size):
        return values
    plane = np.zeros((camera.size, camera.size), np.float32)
    plane[window] = values
    return plane


def overlap(first: Span, second: Span) -> Plane:
    """Length of ray inside both solids."""
    low = np.maximum(first.near, second.near)
    return np.asarray(np.maximum(np.float32(0), np.minimum(first.far, second.far) - low))


def hull(spans: list[Span]) -> Span:
    """From the first entrance to the last exit of several solids that lie together."""
    near = np.full_like(spans[0].half, 1e4)
    far = -near
    for one in spans:
        hit = one.half > 0
        np.minimum(near, one.near, out=near, where=hit)
        np.maximum(far, one.far, out=far, where=hit)
    half = np.maximum(np.float32(0), (far - near) / 2)
    return Span(np.where(half > 0, (far + near) / 2, np.float32(0)), half)


def clip(one: Span, within: Span) -> Span:
    """The part of a span inside another."""
    near = np.maximum(one.near, within.near)
    far = np.minimum(one.far, within.far)
    half = np.maximum(np.float32(0), (far - near) / 2)
    return Span((near + far) / 2, half)


@dataclass(frozen=True)
class Cloud:
    """Points with mass (mm^3 of water equivalent beyond the tissue around them)."""

    points: Float[np.ndarray, "n 3"]
    mass: Float[np.ndarray, " n"]


def join(clouds: list[Cloud]) -> Cloud:
    """All points of several clouds."""
    points = np.concatenate([c.points for c in clouds] or [np.zeros((0, 3), np.float32)])
    return Cloud(points, np.concatenate([c.mass for c in clouds] or [np.zeros(0, np.float32)]))


FINE = 2  # a cloud is gathered on a grid so many times finer, then averaged


def splat(cloud: Cloud, camera: Camera, blur: float = 0.7) -> Plane:
    """Path length (mm) through a cloud of points.

    `blur` is a Gaussian in pixels that hides the spacing of the points; 0 leaves it out.
    """
    size = camera.size * FINE
    column_px, row_px = camera.to_pixels(cloud.points)
    left = (column_px * np.float32(FINE)).astype(np.intp)
    top = (row_px * np.float32(FINE)).astype(np.intp)
    inside = (column_px > 0) & (left < size) & (row_px > 0) & (top < size)
    index = (top * size + left)[inside]
    total = np.bincount(index, cloud.mass[inside], minlength=size * size).astype(np.float32)
    total = total.reshape(camera.size, FINE, camera.size, FINE)
    plane = total[:, 0] + total[:, 1]
    plane = (plane[..., 0] + plane[..., 1]) / np.float32(camera.pitch**2)
    return gaussian_filter(plane, blur, truncate=3.0) if blur > 0 else plane


def blob(
    center: Float[np.ndarray, " 3"], sigmas: tuple[float, float, float], camera: Camera
) -> Plane:
    """Path length through a 3-D Gaussian of peak 1 with standard deviations along x, y, z (mm)."""
    c, s = float(np.cos(camera.angle)), float(np.sin(camera.angle))
    scale = float(camera.magnify(center[0] * s + center[1] * c))
    across = float(np.hypot(sigmas[0] * c, sigmas[1] * s))
    through = np.sqrt(2 * np.pi) * sigmas[0] * sigmas[1] / across
    u = (camera.columns / np.float32(scale) - (center[0] * c - center[1] * s)) / across
    z = (camera.rows / np.float32(scale) - center[2]) / sigmas[2]
    profile = np.exp(np.float32(-0.5) * np.square(u)) * np.exp(np.float32(-0.5) * np.square(z))
    path: Plane = (np.float32(through) * profile).astype(np.float32)
    return path
