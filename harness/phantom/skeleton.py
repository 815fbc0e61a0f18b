"""Bones as clouds of points: ribs, spine, clavicles, scapulae, upper arms, breastbone."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.phantom.anatomy import SIDES, Build, Posture, spine_depth, wall_at
from harness.phantom.plan import PatientPlan
from harness.phantom.solids import Cloud, join
from harness.phantom.streams import stream
from harness.phantom.tubes import hollow, plate, shell_of, smooth_curve

FALL = np.array([34, 52, 68, 82, 92, 98, 102, 104, 100, 90, 62, 40.0])  # mm, back to front end
END = np.array([0.86, 0.80, 0.79, 0.78, 0.78, 0.77, 0.75, 0.71, 0.68, 0.62, 0.44, 0.30])
START = 0.06  # ribs run from START to END, as parts of half a turn around the chest
AROUND = 9  # points on the circumference of a rib


@dataclass(frozen=True)
class Ribs:
    """Axes of ribs: points and outward unit vectors (.., n, 3), part of the turn (.., n)."""

    line: np.ndarray
    outward: np.ndarray
    turn: np.ndarray


def all_ribs(patient: PatientPlan, build: Build, detail: int = 1) -> Ribs:
    """The ribs of both sides, leading axes (side: right, left; rib 1-12)."""
    rng = stream(patient.seed, "ribs")
    slope = FALL * build.tall * rng.uniform(0.85, 1.15)
    k = np.arange(12)
    start = (121 - 22.5 * k - 0.35 * k * k) * build.tall + rng.normal(0, 1.3, 12)
    start = start + rng.normal(0, 0.7, (2, 12))
    end = END + rng.normal(0, 0.012, (2, 12))
    turn = START + (end - START)[..., None] * np.linspace(0, 1, 150 * detail)
    z = start[..., None] + 6 * np.exp(-turn / 0.08) - slope[:, None] * turn**1.15
    wide, deep = wall_at(build, z)
    phi = turn * np.pi
    tuck = 1 - 0.42 * np.exp(-np.square(turn / 0.11))
    sign = np.array([SIDES["right"], SIDES["left"]])[:, None, None]
    x = sign * (wide + 3.5) * np.sin(phi) ** 0.92
    y = -(deep + 4.5) * np.cos(phi) * tuck - 4
    outward = np.stack([x / wide**2, (y + 4) / deep**2, np.zeros_like(x)], axis=-1)
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    return Ribs(np.stack([x, y, z], axis=-1), outward, turn)


def rib_cloud(ribs: Ribs, build: Build, detail: int = 1) -> Cloud:
    """Ribs as hollow bones that fade at the front, where cartilage takes over."""
    fade = 1 - 0.45 * np.clip((ribs.turn - 0.5) / 0.3, 0, 1)
    return hollow(
        ribs.line,
        ribs.outward,
        radii=(3.0, 5.7),
        shell=2.5 * build.bone * fade,
        core=0.30 * build.bone * fade,
        around=AROUND * detail,
    )


@lru_cache(maxsize=4)
def _vertebra(detail: int) -> Cloud:
    """One vertebra of unit build: body 14 mm half wide, 9 mm half high, processes behind."""
    step = 1.8 / detail
    turns, rises = np.linspace(0, 2 * np.pi, int(90 / step)), np.linspace(-9, 9, int(18 / step))
    angle, rise = (grid.ravel() for grid in np.meshgrid(turns, rises))
    waist = 14 * (1 - 0.10 * (1 - (rise / 9) ** 2))
    wall = np.stack([waist * np.cos(angle), waist * np.sin(angle), rise], axis=1)
    area = 2 * np.pi * 14 * 18
    clouds = [
        Cloud(wall.astype(np.float32), np.full(len(wall), 1.1 * area / len(wall), np.float32))
    ]
    for end in (-9, 9):
        corners = np.array([(-12.5, -12, end), (12.5, -12, end), (12.5, 12, end), (-12.5, 12, end)])
        clouds.append(plate(corners, 1.0, step=step))
    for sign in (-1.0, 1.0):
        clouds.append(shell_of(np.array([sign * 10, -18, 2]), (3.5, 5, 5.5), 1.5, step=step))
        corners = np.array([(12, -24, 3), (31, -28, 5), (31, -28, -1), (12, -24, -5)]) * [
            sign,
            1,
            1,
        ]
        clouds.append(plate(corners, 2.2, step=step))
    return join([*clouds, shell_of(np.array([0, -42, -12]), (3, 9, 7), 1.6, step=step)])


def _spine(build: Build, detail: int) -> Cloud:
    """Vertebrae from neck to loin, each larger than the one above."""
    one = _vertebra(detail)
    level = np.arange(-3, 15)
    z = (124 - 22.8 * level - 0.3 * level * np.abs(level)) * build.tall
    wide, high = 1 + 0.04 * level, 1 + 0.028 * level
    scale = np.stack([wide, np.ones_like(wide), high], axis=1)
    at = np.stack([np.zeros_like(z), spine_depth(z), z], axis=1)
    points = one.points[None] * scale[:, None] + at[:, None]
    mass = one.mass[None] * (0.75 * wide * high * build.bone)[:, None]
    return Cloud(points.reshape(-1, 3).astype(np.float32), mass.ravel().astype(np.float32))


def trunk_bones(patient: PatientPlan, build: Build, detail: int = 1) -> Cloud:
    """Ribs, spine and breastbone; `detail` 2 halves the spacing of points, 3 thirds it."""
    t = build.tall
    _, deep = wall_at(build, np.array([60.0 * t, -60.0 * t]))
    top, low = (deep[0] + 2, 76 * t), (deep[1] + 2, -60 * t)
    sternum = np.array([(-18, *top), (18, *top), (13, *low), (-13, *low)])
    breastbone = plate(sternum, 3.0 * build.bone, rim=3.0 * build.bone, step=2.4 / detail)
    return join(
        [
            rib_cloud(all_ribs(patient, build, detail), build, detail),
            _spine(build, detail),
            breastbone,
        ]
    )


def _scapula(build: Build, side: str, *, posture: Posture, detail: int) -> list[Cloud]:
    sign, t, bone = SIDES[side], build.tall, build.bone
    reach, out, n = build.shoulders - 34, 30 * (1 - posture.scapula), 80 * detail
    corners = [
        (sign * (82 + out), -86, 96 * t),
        (sign * (reach - 6), -44, 92 * t),
        (sign * (reach - 10), -50, 74 * t),
        (sign * (98 + out * 1.3), -100, -30 * t),
    ]
    knots = [
        (sign * (86 + out), -98, 78 * t),
        (sign * 0.85 * reach, -66, 98 * t),
        (sign * reach, -26, 113 * t),
    ]
    upward = np.tile([0.0, 0.0, 1.0], (n, 1))
    ridge = hollow(
        smooth_curve(knots, n), upward, radii=(5, 4), shell=1.4 * bone, around=8 * detail
    )
    return [plate(np.array(corners), 1.6 * bone, rim=4.0 * bone, step=2.2 / detail), ridge]


def _arm(build: Build, side: str, *, posture: Posture, detail: int) -> list[Cloud]:
    sign, t, bone = SIDES[side], build.tall, build.bone
    reach, n = build.shoulders - 34, 80 * detail
    middle = np.array([sign * (reach + 10), -20, 88 * t])
    head = shell_of(middle, (21, 21, 22), 1.7 * bone, step=2.4 / detail)
    elbow = (sign * (reach + 20 + posture.arms), -16.0, -200.0)
    if posture.raised:
        elbow = (sign * (reach - 30), 130.0, 250.0)
    line = np.linspace((sign * (reach + 20), -18, 74 * t), elbow, n)
    outward = np.tile([1.0, 0.0, 0.0], (n, 1))
    return [head, hollow(line, outward, radii=(11, 11), shell=3.2 * bone, around=24 * detail)]


def _clavicle(build: Build, side: str, lift: float, detail: int) -> Cloud:
    sign, t, reach, n = SIDES[side], build.tall, build.shoulders - 34, 80 * detail
    knots = [
        (sign * 14, 62, (78 + 0.5 * lift) * t),
        (sign * 0.34 * reach, 62, (92 + lift) * t),
        (sign * 0.68 * reach, 22, (104 + lift) * t),
        (sign * 0.97 * reach, -12, (112 + lift) * t),
    ]
    return hollow(
        smooth_curve(knots, n),
        np.tile([0.0, 0.0, 1.0], (n, 1)),
        radii=(5.4, 5.4),
        shell=2.0 * build.bone,
        core=0.3 * build.bone,
        around=12 * detail,
    )


def shoulder_bones(patient: PatientPlan, build: Build, posture: Posture, detail: int = 1) -> Cloud:
    """Both shoulder girdles and upper arms, as the posture holds them."""
    lifts = posture.clavicle + stream(patient.seed, "shoulders").normal(0, 2.5, 2)
    parts = []
    for side, lift in zip(SIDES, lifts, strict=True):
        parts.append(_clavicle(build, side, float(lift), detail))
        parts += _scapula(build, side, posture=posture, detail=detail)
        parts += _arm(build, side, posture=posture, detail=detail)
    return join(parts)
