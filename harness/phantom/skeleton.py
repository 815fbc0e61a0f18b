"""Bones as clouds of points: ribs, spine, clavicles, scapulae, upper arms, breastbone."""

from dataclasses import dataclass

import numpy as np

from harness.phantom.anatomy import SIDES, Build, Posture, wall_at
from harness.phantom.plan import PatientPlan
from harness.phantom.solids import Cloud, join
from harness.phantom.streams import between, stream
from harness.phantom.tubes import hollow, plate, shell_of, smooth_curve

FALL = (34, 52, 68, 82, 92, 98, 102, 104, 100, 90, 62, 40)  # mm from back to front end, ribs 1-12
END = (0.86, 0.80, 0.79, 0.78, 0.78, 0.77, 0.75, 0.71, 0.68, 0.62, 0.44, 0.30)  # of half a turn


@dataclass(frozen=True)
class Rib:
    """The axis of one rib: points (mm), outward unit vectors and the part of the turn at each."""

    line: np.ndarray
    outward: np.ndarray
    turn: np.ndarray
    scale: float


def rib(patient: PatientPlan, build: Build, side: str, number: int, step: float = 1.7) -> Rib:
    """Rib `number` (1-12) of one side, from spine to front end."""
    rng = stream(patient.seed, "rib", number)  # both sides alike, as in a body
    own = stream(patient.seed, "rib", number, side)
    k = number - 1
    slope = FALL[k] * build.tall * between(stream(patient.seed, "rib slope"), 0.85, 1.15)
    start = (121 - 22.5 * k - 0.35 * k * k) * build.tall + rng.normal(0, 1.3) + own.normal(0, 0.7)
    turn = np.linspace(0.085, END[k] + own.normal(0, 0.012), 200)
    z = start + 6 * np.exp(-turn / 0.08) - slope * turn**1.15
    wide, deep = wall_at(build, z)
    phi = turn * np.pi
    tuck = np.minimum(1.0, 0.60 + turn / 0.35)
    x = SIDES[side] * (wide + 3.5) * np.sin(phi) ** 0.92
    y = -(deep + 4.5) * np.cos(phi) * np.where(turn < 0.5, tuck, 1.0) - 4
    line = np.stack([x, y, z], axis=1)
    length = np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
    keep = np.linspace(0, 199, max(24, int(length / step))).astype(int)
    outward = np.stack([x / wide**2, (y + 4) / deep**2, np.zeros_like(x)], axis=1)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    return Rib(line[keep], outward[keep], turn[keep], 0.82 if number in (1, 12) else 1.0)


def rib_cloud(one: Rib, build: Build) -> Cloud:
    """The rib as a hollow bone, thinner at its front end."""
    return hollow(
        one.line,
        one.outward,
        radii=(3.0 * one.scale, 6.4 * one.scale),
        shell=1.25 * build.bone,
        core=0.32 * build.bone,
        around=10,
    )


def _vertebra(build: Build, z: float, level: int) -> list[Cloud]:
    y = -62 - 6 * np.cos((z - 10) / 120)
    wide = 14 + 0.55 * level
    body = shell_of(np.array([0, y, z]), (wide, 14.0, 1.0), 1.5 * build.bone, step=3.0)
    half = 9.0 + 0.25 * level
    ends = [Cloud(body.points + np.float32([0, 0, s * half]), body.mass) for s in (-1, 1)]
    grid = np.stack(np.meshgrid(np.linspace(0, 2 * np.pi, 20), np.linspace(-half, half, 7)), axis=-1)
    angle, rise = grid[..., 0].ravel(), grid[..., 1].ravel()
    waist = 1 - 0.10 * (1 - (rise / half) ** 2)
    wall = np.stack([wide * waist * np.cos(angle), y + 14 * waist * np.sin(angle), z + rise], axis=1)
    area = 2 * np.pi * (wide + 14) / 2 * 2 * half
    clouds = [*ends, Cloud(wall.astype(np.float32), np.full(len(wall), area * 1.7 * build.bone / len(wall), np.float32))]
    for sign in SIDES.values():
        clouds.append(shell_of(np.array([sign * (wide - 4), y - 18, z + 2]), (3.5, 5, 5.5), 2.2 * build.bone, step=2.5))
        process = np.array([[sign * 12, y - 24, z + 3], [sign * 33, y - 28, z + 5], [sign * 33, y - 28, z - 1], [sign * 12, y - 24, z - 5]])
        clouds.append(plate(process, 2.5 * build.bone, step=2.5))
    clouds.append(shell_of(np.array([0, y - 42, z - 12]), (3, 9, 7), 2.5 * build.bone, step=2.5))
    return clouds


def _shoulder(patient: PatientPlan, build: Build, side: str, posture: Posture) -> list[Cloud]:
    sign, t = SIDES[side], build.tall
    rng = stream(patient.seed, "shoulder", side)
    reach = build.shoulders - 34
    lift = posture.clavicle + rng.normal(0, 2.5)
    knots = [
        (sign * 14, 62, (78 + 0.5 * lift) * t),
        (sign * 0.34 * reach, 62, (92 + lift) * t),
        (sign * 0.68 * reach, 22, (104 + lift) * t),
        (sign * 0.97 * reach, -12, (112 + lift) * t),
    ]
    line = smooth_curve(knots, 90)
    outward = np.tile([0.0, 0.0, 1.0], (90, 1))
    bone = build.bone
    clavicle = hollow(line, outward, radii=(5.4, 5.4), shell=1.5 * bone, core=0.3 * bone, around=14)
    out = 30 * (1 - posture.scapula)
    top, tip = 96 * t, -30 * t
    blade = np.array(
        [
            (sign * (82 + out), -86, top),
            (sign * (reach - 6), -44, 92 * t),
            (sign * (reach - 10), -50, 74 * t),
            (sign * (98 + out * 1.3), -100, tip),
        ]
    )
    ridge = smooth_curve([(sign * (86 + out), -98, 78 * t), (sign * 0.85 * reach, -66, 98 * t), (sign * reach, -26, 113 * t)], 40)
    head = shell_of(np.array([sign * (reach + 10), -20, 88 * t]), (21, 21, 22), 1.7 * bone, step=2.6)
    shaft = np.linspace((sign * (reach + 20), -18, 74 * t), (sign * (reach + 20 + posture.arms), -16, -200), 90)
    arm = hollow(shaft, np.tile([1.0, 0.0, 0.0], (90, 1)), radii=(11, 11), shell=3.2 * bone, around=12)
    spine = hollow(ridge, np.tile([0.0, 0.0, 1.0], (40, 1)), radii=(5, 4), shell=1.4 * bone, around=8)
    return [clavicle, plate(blade, 1.6 * bone, rim=4.0 * bone, step=2.2), spine, head, arm]


def skeleton(patient: PatientPlan, build: Build, posture: Posture) -> Cloud:
    """All bones of a patient as one cloud."""
    parts = [rib_cloud(rib(patient, build, s, n), build) for s in SIDES for n in range(1, 13)]
    for level in range(-3, 15):
        parts += _vertebra(build, (124 - 22.8 * level - 0.3 * level * abs(level)) * build.tall, level)
    for side in SIDES:
        parts += _shoulder(patient, build, side, posture)
    t = build.tall
    _, deep = wall_at(build, np.array([60.0 * t, -60.0 * t]))
    sternum = np.array([(-18, deep[0] + 2, 76 * t), (18, deep[0] + 2, 76 * t), (13, deep[1] + 2, -60 * t), (-13, deep[1] + 2, -60 * t)])
    parts.append(plate(sternum, 3.0 * build.bone, rim=3.0 * build.bone, step=2.4))
    return join(parts)
