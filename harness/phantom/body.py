"""The outside of the patient and the air that is not lung: trunk, arms, breasts, airways, gas."""

from dataclasses import replace

import numpy as np

from harness.phantom.anatomy import SIDES, Build, Changes, Posture, dome_height, wall_at
from harness.phantom.solids import Loft, ellipsoid, loft_of


def _chest(build: Build, changes: Changes) -> Loft:
    t = build.tall
    z = np.array([-330, -220, -150, -90, -30, 30, 70, 92, 112, 128, 140]) * t
    wide, _ = wall_at(build, z)
    belly = np.array([1.25, 1.2, 0.9, 0.6, 0.5, 0.55, 0.6, 0.55, 0.4, 0.3, 0.1]) * build.fat
    across = np.array([0.93, 0.92, 0.95, 0.98, 1.0, 1.0, 0.98, 0.92, 0.80, 0.62, 0.40])
    through = np.array([1, 1, 1, 1, 1, 0.96, 0.84, 0.68, 0.44, 0.2, 0.01])
    rim = np.array([1, 1, 1, 1, 1, 1, 1, 0.9, 0.7, 0.4, 0.01])
    a = np.maximum(np.minimum(wide, build.width * across * 1.05), build.width * across) + 13 + belly
    b = build.depth * (1 + 0.15 * changes.inflation) * through + (12 + belly) * rim
    return Loft(z, np.zeros_like(z), np.full_like(z, -1.0), a, b, square=True)


def _shoulder(build: Build, posture: Posture) -> Loft:
    """Shoulders and neck in one."""
    t, reach = build.tall, build.shoulders
    rows = [
        (76 * t, 0, -14, 0.86 * reach, 4),
        (88 * t, 0, -14, 0.95 * reach, 44),
        (102 * t, 0, -14, reach, 64),
        (118 * t, 0, -16, 0.97 * reach, 74),
        (132 * t, 0, -18, 0.86 * reach, 77),
        (142 * t, 0, -20, 0.68 * reach, 77),
        (152 * t, 0, -22, 0.48 * reach, 74),
        (165 * t, 0, -23, 66, 70),
        (185 * t, 0, -22, 60, 66),
        (260 * t, 0, -20, 58, 64),
    ]
    loft = loft_of(rows)
    return replace(loft, a=np.minimum(loft.a, 0.62 * reach)) if posture.raised else loft


def _arm(build: Build, posture: Posture, sign: float) -> Loft:
    t, reach, away = build.tall, build.shoulders, posture.arms
    rows = [
        (-400, sign * (reach + away), -14, 40, 40),
        (0, sign * (reach + away * 0.6), -14, 44, 46),
        (60 * t, sign * (reach + away * 0.25), -14, 46, 48),
        (110 * t, sign * (reach + away * -0.12), -14, 42, 44),
        (128 * t, sign * (reach + away * -0.2), -14, 14, 14),
    ]
    return loft_of(rows)


def torso(build: Build, posture: Posture, changes: Changes) -> list[Loft]:
    """Chest with belly, shoulders with neck, and the two arms (none where they are raised)."""
    trunk = [_chest(build, changes), _shoulder(build, posture)]
    return trunk if posture.raised else [*trunk, *(_arm(build, posture, s) for s in SIDES.values())]


def breasts(build: Build) -> list[Loft]:
    """The two breasts, empty for men."""
    if not build.breast:
        return []
    k = build.breast
    return [
        ellipsoid(
            (
                sign * 0.56 * build.width,
                build.depth * 0.86 + build.fat * 0.5,
                -38 * build.tall - 14 * k,
            ),
            (48 + 20 * k, 26 + 34 * k, 50 + 22 * k),
            (sign * -0.12, -0.45),
        )
        for sign in SIDES.values()
    ]


def airways(build: Build, changes: Changes) -> list[Loft]:
    """Trachea and the first of both main bronchi (air)."""
    t, s = build.tall, changes.shift
    trachea = [
        (24 * t, 2 + s, -22, 8.5, 9),
        (60 * t, 1 + 0.8 * s, -20, 8.5, 9),
        (110 * t, 0.3 * s, -14, 8.5, 9),
        (240 * t, 0, -6, 8.5, 9),
    ]
    right = [(4 * t, -24 + s, -20, 7.5, 7), (27 * t, s, -20, 7.5, 7)]
    left = [(8 * t, 34 + s, -20, 8.5, 6), (27 * t, 4 + s, -20, 8.5, 6)]
    return [loft_of(rows) for rows in (trachea, right, left)]


def stomach(build: Build, posture: Posture, changes: Changes, fill: float) -> Loft:
    """The gas bubble under the left dome, flat below where the fluid level stands; fill in 0..1."""
    top = dome_height(build, "left", posture, changes) - 9
    tall = 10 + 26 * fill
    t = np.linspace(0, 1, 9)
    cap = np.sqrt(np.maximum(0.0, 1 - t**2))
    width = 20 + 24 * fill
    return Loft(
        top - tall + tall * t,
        np.full_like(t, 0.45 * build.width),
        np.full_like(t, 5.0),
        width * cap,
        26 * cap,
    )
