"""The two kinds of solid a phantom is made of, and their shadows: lofts (stacked ellipses) and clouds.

Patient frame, in mm: x to the patient's left, y to the front, z up; z = 0 is mid-lung. A film looks
along the horizontal direction at `angle` from front to back: u = x cos - y sin runs to the right of
the film, v = x sin + y cos into depth. At angle 0 the patient's left is right in the image.
"""

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
        """u of each column in mm at the detector, (1, size)."""
        steps = (np.arange(self.size, dtype=np.float32) + 0.5) * self.pitch - self.field / 2
        return (steps + self.shift_u)[None, :]

    @cached_property
    def rows(self) -> Plane:
        """z of each row in mm at the detector, (size, 1), from the top."""
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
    """A solid whose every horizontal section is an ellipse: heights z (ascending), center, half-axes.

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


def column(z: tuple[float, ...], *, x: object, y: object, a: object, b: object) -> Loft:
    """A loft through the given heights; each of the other arguments is one number or one a height."""
    heights = np.asarray(z, np.float64)
    order = np.argsort(heights)
    full = [np.broadcast_to(np.asarray(v, np.float64), heights.shape)[order] for v in (x, y, a, b)]
    return Loft(heights[order], *full)


@dataclass(frozen=True)
class Span:
    """Where each ray is inside a solid: middle and half length in depth; half = 0 means never.

    `across` is the ray's place between the two outlines of a loft, -1 to 1, where the span is one's.
    """

    mid: Plane
    half: Plane
    across: Plane | None = None

    @property
    def near(self) -> Plane:
        """Depth where the ray enters."""
        return self.mid - self.half

    @property
    def far(self) -> Plane:
        """Depth where the ray leaves."""
        return self.mid + self.half


def span(loft: Loft, camera: Camera) -> Span:
    """Middle and half length of the chord every ray has in the loft.

    An ellipse with half-axes a, b seen at an angle is w = sqrt(a^2 cos^2 + b^2 sin^2) half wide, and
    its chord at u has half length (a b / w) sqrt(1 - (u / w)^2).
    """
    c, s = float(np.cos(camera.angle)), float(np.sin(camera.angle))
    scale = float(camera.magnify(float(np.mean(loft.x * s + loft.y * c))))
    z = camera.rows[:, 0] / scale
    inside = (z >= loft.z[0]) & (z <= loft.z[-1])
    x, y, a, b = (np.interp(z, loft.z, v) for v in (loft.x, loft.y, loft.a, loft.b))
    w = np.sqrt((a * c) ** 2 + (b * s) ** 2) + 1e-6
    length = np.where(inside, a * b / w, 0.0).astype(np.float32)[:, None]
    tilt = (c * s * (a**2 - b**2) / w).astype(np.float32)[:, None]
    start = ((x * c - y * s) / w).astype(np.float32)[:, None]
    t = (camera.columns / np.float32(scale)) * (1 / w).astype(np.float32)[:, None] - start
    fall = np.square(t)
    if loft.square:
        fall = np.square(fall)
    half = np.sqrt(np.maximum(np.float32(0), 1 - fall)) * length
    return Span((x * s + y * c).astype(np.float32)[:, None] + tilt * t, half, t)


def overlap(first: Span, second: Span) -> Plane:
    """Length of ray inside both solids."""
    low = np.maximum(first.near, second.near)
    return np.maximum(np.float32(0), np.minimum(first.far, second.far) - low)


def hull(spans: list[Span]) -> Span:
    """From the first entrance to the last exit of several solids that lie together."""
    near, far = np.float32(1e4), np.float32(-1e4)
    for one in spans:
        hit = one.half > 0
        near = np.minimum(near, np.where(hit, one.near, np.float32(1e4)))
        far = np.maximum(far, np.where(hit, one.far, np.float32(-1e4)))
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


def splat(cloud: Cloud, camera: Camera, blur: float = 0.7) -> Plane:
    """Path length (mm) through a cloud: each mass is shared by its four nearest pixels.

    `blur` is a Gaussian in pixels that hides the spacing of the points; 0 leaves it out.
    """
    size = camera.size
    column_px, row_px = camera.to_pixels(cloud.points)
    column_px, row_px = column_px - np.float32(0.5), row_px - np.float32(0.5)
    inside = (column_px > 0) & (column_px < size - 1) & (row_px > 0) & (row_px < size - 1)
    column_px, row_px, mass = column_px[inside], row_px[inside], cloud.mass[inside]
    left, top = column_px.astype(np.int32), row_px.astype(np.int32)
    right_part, low_part = column_px - left, row_px - top
    start = top * size + left
    right, low = mass * right_part, low_part
    left_mass = mass - right
    total = np.zeros(size * size, np.float64)
    for offset, weight in (
        (0, left_mass * (1 - low)),
        (1, right * (1 - low)),
        (size, left_mass * low),
        (size + 1, right * low),
    ):
        total += np.bincount(start + offset, weight, minlength=size * size)
    plane = (total / camera.pitch**2).astype(np.float32).reshape(size, size)
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
    return (np.float32(through) * profile).astype(np.float32)
