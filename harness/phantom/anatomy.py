"""The patient's build: numbers drawn from the patient's seed, and the soft solids made from them.

`Build` is who the patient is (the same in all studies); `Posture` is how he stands and breathes for
one study; `Changes` is what diseases do to the shape. The three together give the lofts.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.phantom.plan import PatientPlan
from harness.phantom.solids import Loft, column, ellipsoid
from harness.phantom.streams import between, stream

APEX, BASE = 122.0, -128.0  # heights of lung apex and deepest recess at rest, mm
DOME = -68.0  # height of the right dome at a good inspiration
SIDES = {"right": -1.0, "left": 1.0}


@dataclass(frozen=True)
class Build:
    """One person's measures, in mm unless said otherwise."""

    width: float  # half width inside the rib cage
    depth: float  # half depth inside the rib cage
    tall: float  # scale of all heights
    fat: float
    heart: float  # half of the heart's width
    heart_tilt: float
    knob: float  # radius of the aortic arch
    mediastinum: float
    domes: tuple[float, float]  # extra height of the right and left dome
    breast: float  # 0 for none
    shoulders: float
    bone: float  # 1 for a young adult


@dataclass(frozen=True)
class Posture:
    """How the body is held in one study: breath lowers the domes by so many mm."""

    breath: float = 0.0
    arms: float = 40.0  # lateral shift of the arms, mm
    scapula: float = 0.0  # 0 rotated off the lungs .. 1 over them
    clavicle: float = 0.0  # mm higher


@dataclass(frozen=True)
class Changes:
    """What disease does to the shape."""

    heart: float = 1.0  # scale of the heart
    mediastinum: tuple[float, float] = (0.0, 0.0)  # mm added right and left
    inflation: float = 0.0  # 0 none .. 1 barrel chest, flat low domes
    shift: float = 0.0  # mm the mediastinum is pushed to the left


@lru_cache(maxsize=64)
def build_of(patient: PatientPlan) -> Build:
    """The measures of a patient, from the seed, sex, age and habitus alone."""
    rng = stream(patient.seed, "build")
    male = patient.sex == "M"
    size = rng.normal(0, 1)
    aging = max(0.0, (patient.age - 45) / 40)
    fat = 6 + 34 * patient.habitus + between(rng, -3, 3)
    return Build(
        width=(138 if male else 123) + 5.5 * size,
        depth=(92 if male else 82) + 3 * size + 8 * aging + rng.normal(0, 4),
        tall=(1.0 if male else 0.92) + 0.035 * size + rng.normal(0, 0.02),
        fat=max(4.0, fat),
        heart=(66 if male else 60) + 2.5 * size + 4 * aging + 4 * patient.habitus + rng.normal(0, 3),
        heart_tilt=between(rng, -0.5, 0.0) + 0.1 * patient.habitus,
        knob=12.5 + 3.0 * aging + rng.normal(0, 1.2),
        mediastinum=25 + 5 * patient.habitus + 2 * aging + rng.normal(0, 1.8),
        domes=(between(rng, -6, 8), between(rng, -18, 0)),
        breast=0.0 if male else float(np.clip(0.35 + 0.6 * patient.habitus + rng.normal(0, 0.2), 0.1, 1.3)),
        shoulders=(192 if male else 172) + 6 * size + 12 * patient.habitus,
        bone=(1.0 if male else 0.88) - 0.28 * aging + rng.normal(0, 0.05),
    )


def wall_at(build: Build, z: np.ndarray, inflation: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Half width and half depth of the rib cage's inside at heights z (mm)."""
    apex, base = APEX * build.tall, BASE * build.tall
    t = np.clip((apex - z) / (apex - base), 0, 1)
    rise = np.sqrt(np.maximum(0.0, 1 - (1 - np.minimum(t / 0.62, 1)) ** 2.0))
    width = build.width * (0.33 + 0.67 * rise) * (1 - 0.035 * np.maximum(0, t - 0.75) / 0.25)
    depth = build.depth * (0.30 + 0.70 * np.sqrt(np.maximum(0.0, 1 - (1 - np.minimum(t / 0.7, 1)) ** 2)))
    return width * (1 + 0.03 * inflation), depth * (1 + 0.13 * inflation)


def lung(build: Build, side: str, posture: Posture, changes: Changes) -> Loft:
    """The pleural cavity of one side, from apex to the deepest recess; domes and heart cut it later."""
    sign = SIDES[side]
    apex, base = APEX * build.tall, BASE * build.tall - posture.breath * 0.8 - 10 * changes.inflation
    t = (1 - np.cos(np.linspace(0, np.pi, 41))) / 2
    z = apex + (base - apex) * t
    wide, deep = wall_at(build, z, changes.inflation)
    inner = 4 + 22 * np.exp(-t / 0.10) + 3 * t
    cap = np.sqrt(np.maximum(0.0, 1 - (1 - np.minimum(t / 0.17, 1)) ** 2))
    a = (wide - inner) / 2 * cap
    center = sign * (inner + (wide - inner) / 2) * (0.90 + 0.10 * np.minimum(t / 0.2, 1))
    recess = np.sqrt(np.maximum(0.0, 1 - np.maximum(0.0, (t - 0.86) / 0.14) ** 2))
    y = -16 + 14 * t - 20 * (1 - recess)
    order = slice(None, None, -1)
    b = np.maximum(0.1, deep * cap * (0.35 + 0.65 * recess))
    return Loft(z[order], center[order], y[order], np.maximum(0.1, a)[order], b[order], square=True)


def dome_height(build: Build, side: str, posture: Posture, changes: Changes) -> float:
    """Height of the top of a hemidiaphragm."""
    extra = build.domes[0 if side == "right" else 1]
    return DOME * build.tall + extra - posture.breath - 16 * changes.inflation


def abdomen(build: Build, side: str, posture: Posture, changes: Changes) -> Loft:
    """What lies under one hemidiaphragm: a dome that leaves a thin recess of lung around it."""
    sign = SIDES[side]
    base = BASE * build.tall - posture.breath * 0.8 - 10 * changes.inflation
    top = dome_height(build, side, posture, changes)
    t = np.linspace(0, 1, 25)
    z = base - 6 + (top - base + 6) * np.sin(t * np.pi / 2)
    wide, deep = wall_at(build, z, changes.inflation)
    power = 2.0 + 1.0 * changes.inflation
    cap = np.maximum(0.0, 1 - np.sin(t * np.pi / 2) ** power) ** (1 / 2)
    a = (wide[0] / 2 + 2) * cap
    b = deep[0] * 0.98 * cap
    y = 6 + 10 * (z - base) / (top - base + 1e-6)
    loft = Loft(z, np.full_like(z, sign * wide[0] * 0.49), y, a, b)
    low = column((-400, -399), x=loft.x[0], y=y[0], a=a[0], b=b[0])
    return Loft(*(np.concatenate([getattr(low, k), getattr(loft, k)]) for k in ("z", "x", "y", "a", "b")))


def heart_lofts(build: Build, posture: Posture, changes: Changes) -> list[Loft]:
    """Left ventricle, right heart and the left atrial border; the hull of their spans is the heart."""
    h = build.heart * changes.heart
    floor = (dome_height(build, "right", posture, changes) + dome_height(build, "left", posture, changes)) / 2
    z = floor + 34 + 0.22 * h
    narrow = 1 - 0.16 * changes.inflation
    x = 5 + changes.shift
    lean = (build.heart_tilt, 0.10)
    left = ellipsoid((x + 0.42 * h * narrow, 18, z - 6), (0.92 * h * narrow, 46, 0.80 * h), lean)
    right = ellipsoid((x - 0.36 * h * narrow, 20, z + 4), (0.60 * h * narrow, 40, 0.84 * h))
    atrium = ellipsoid((x + 0.22 * h * narrow, 2, z + 0.62 * h), (0.50 * h, 36, 0.62 * h))
    return [left, right, atrium]


def vessel_lofts(build: Build, posture: Posture, changes: Changes) -> list[Loft]:
    """Upper mediastinum, aortic arch, pulmonary trunk and superior vena cava."""
    m, tall = build.mediastinum, build.tall
    to_right, to_left = changes.mediastinum
    s = changes.shift
    arch = 52 * tall
    top = column(
        (-40 * tall, 0, 40 * tall, 70 * tall, 100 * tall, 130 * tall, 170 * tall),
        x=[s * k for k in (1, 1, 1, 0.8, 0.5, 0.2, 0)],
        y=[10, 6, 0, -6, -10, -14, -16],
        a=[m + 4, m + 1, m - 2, m - 5, m - 3, m, m + 3],
        b=[44, 42, 38, 34, 30, 26, 26],
    )
    knob = ellipsoid((s + 20, -14, arch), (build.knob + 3, 26, build.knob + 2))
    trunk = ellipsoid((s + 24, 10, 20 * tall), (17, 22, 22 * tall))
    cava = column(
        (-30 * tall, 20 * tall, 70 * tall, 95 * tall), x=[s - 20, s - 19, s - 18, s - 16], y=8, a=[12, 13, 12, 9], b=12
    )
    lofts = [top, knob, trunk, cava]
    if to_right or to_left:
        middle = s + (to_left - to_right) / 2
        extra = (to_left + to_right) / 2
        lofts.append(
            column(
                (-15 * tall, 15 * tall, 50 * tall, 85 * tall, 112 * tall),
                x=middle,
                y=0,
                a=[m * 0.9, m + extra * 0.8, m + extra, m + 0.8 * extra, m * 0.6],
                b=[20, 32, 34, 30, 20],
            )
        )
    return lofts


def spine_loft(build: Build) -> Loft:
    """Spine with its muscles and the descending aorta: what stands behind the heart."""
    z = np.linspace(-260, 190, 12)
    return Loft(z, np.full_like(z, 3.0), -64 - 6 * np.cos((z - 10) / 120), np.full_like(z, 21.0), np.full_like(z, 21.0))


def torso(build: Build, posture: Posture) -> list[Loft]:
    """Chest and belly, shoulders with neck, and two arms."""
    z = np.array([-330, -220, -150, -90, -30, 30, 70, 105, 130]) * build.tall
    wide, deep = wall_at(build, z)
    belly = np.array([1.25, 1.2, 0.9, 0.6, 0.5, 0.55, 0.6, 0.5, 0.4]) * build.fat
    a = np.maximum(wide, build.width * np.array([0.93, 0.92, 0.95, 0.98, 1.0, 1.0, 0.98, 0.9, 0.75])) + 13 + belly
    b = np.maximum(deep, build.depth * np.array([1, 1, 1, 1, 1, 0.97, 0.85, 0.65, 0.5])) + 12 + belly
    chest = Loft(z, np.zeros_like(z), np.full_like(z, -1.0), a, b, square=True)
    t = build.tall
    reach = build.shoulders
    shoulder = column(
        (40 * t, 70 * t, 98 * t, 118 * t, 132 * t, 142 * t, 152 * t, 165 * t, 185 * t, 260 * t),
        x=0,
        y=[-8, -10, -12, -14, -16, -17, -18, -18, -16, -10],
        a=[0.55 * reach, 0.92 * reach, reach, 0.97 * reach, 0.86 * reach, 0.68 * reach, 0.48 * reach, 66, 60, 58],
        b=[10, 34, 46, 50, 52, 54, 55, 56, 56, 56],
    )
    arms = [
        column(
            (-400, 0, 60 * t, 110 * t, 128 * t),
            x=[sign * (reach + posture.arms * k) for k in (1.0, 0.6, 0.25, -0.12, -0.2)],
            y=-14,
            a=[40, 44, 46, 42, 14],
            b=[40, 46, 48, 44, 14],
        )
        for sign in SIDES.values()
    ]
    return [chest, shoulder, *arms]


def breasts(build: Build) -> list[Loft]:
    """The two breasts, empty for men."""
    if not build.breast:
        return []
    k = build.breast
    return [
        ellipsoid(
            (sign * 0.56 * build.width, build.depth * 0.86 + build.fat * 0.5, -38 * build.tall - 14 * k),
            (48 + 20 * k, 26 + 34 * k, 50 + 22 * k),
            (sign * -0.12, -0.25),
        )
        for sign in SIDES.values()
    ]


def airways(build: Build, changes: Changes) -> list[Loft]:
    """Trachea and the first of both main bronchi (air)."""
    t, s = build.tall, changes.shift
    trachea = column((24 * t, 60 * t, 110 * t, 240 * t), x=[2 + s, 1 + 0.8 * s, 0.3 * s, 0], y=[-22, -20, -14, -6], a=8.5, b=9)
    right = column((4 * t, 27 * t), x=[-24 + s, s], y=-20, a=7.5, b=7)
    left = column((8 * t, 27 * t), x=[34 + s, 4 + s], y=-20, a=8.5, b=6)
    return [trachea, right, left]


def stomach(build: Build, posture: Posture, changes: Changes, fill: float) -> Loft:
    """The gas bubble under the left dome, flat below where the fluid level stands; fill in 0..1."""
    top = dome_height(build, "left", posture, changes) - 9
    tall = 10 + 26 * fill
    t = np.linspace(0, 1, 9)
    cap = np.sqrt(np.maximum(0.0, 1 - t**2))
    width = 20 + 24 * fill
    return Loft(top - tall + tall * t, np.full_like(t, 0.45 * build.width), np.full_like(t, 5.0), width * cap, 26 * cap)
