"""The patient's build: numbers drawn from the patient's seed, and the soft solids made from them.

`Build` is who the patient is (the same in all studies); `Posture` is how he stands and breathes for
one study; `Changes` is what diseases do to the shape. The three together give the lofts.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.phantom.plan import PatientPlan
from harness.phantom.solids import Loft, ellipsoid, loft_of
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
    raised: bool = False  # arms over the head, as for a lateral film


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
        heart=(58 if male else 53)
        + 2.2 * size
        + 3 * aging
        + 3 * patient.habitus
        + rng.normal(0, 2.2),
        heart_tilt=between(rng, -0.75, -0.3) - 0.1 * patient.habitus,
        knob=12.5 + 3.0 * aging + rng.normal(0, 1.2),
        mediastinum=25 + 5 * patient.habitus + 2 * aging + rng.normal(0, 1.8),
        domes=(between(rng, -6, 8), between(rng, -18, 0)),
        breast=0.0
        if male
        else float(np.clip(0.35 + 0.6 * patient.habitus + rng.normal(0, 0.2), 0.1, 1.3)),
        shoulders=(192 if male else 172) + 6 * size + 12 * patient.habitus,
        bone=(1.0 if male else 0.88) - 0.28 * aging + rng.normal(0, 0.05),
    )


def wall_at(build: Build, z: np.ndarray, inflation: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Half width and half depth of the rib cage's inside at heights z (mm)."""
    apex, base = APEX * build.tall, BASE * build.tall
    t = np.clip((apex - z) / (apex - base), 0, 1)
    rise = np.sqrt(np.maximum(0.0, 1 - (1 - np.minimum(t / 0.62, 1)) ** 2.0))
    width = build.width * (0.33 + 0.67 * rise) * (1 - 0.035 * np.maximum(0, t - 0.75) / 0.25)
    depth = build.depth * (
        0.30 + 0.70 * np.sqrt(np.maximum(0.0, 1 - (1 - np.minimum(t / 0.7, 1)) ** 2))
    )
    return width * (1 + 0.03 * inflation), depth * (1 + 0.13 * inflation)


def lung(build: Build, side: str, posture: Posture, changes: Changes) -> Loft:
    """The pleural cavity of one side, apex to deepest recess; domes and heart cut it later."""
    sign = SIDES[side]
    apex, base = (
        APEX * build.tall,
        BASE * build.tall - posture.breath * 0.8 - 10 * changes.inflation,
    )
    t = (1 - np.cos(np.linspace(0, np.pi, 41))) / 2
    z = apex + (base - apex) * t
    wide, deep = wall_at(build, z, changes.inflation)
    inner = 10 + 15 * np.exp(-t / 0.10) + 3 * t + 46 * np.maximum(0, (t - 0.68) / 0.32) ** 1.6
    cap = np.sqrt(np.maximum(0.0, 1 - (1 - np.minimum(t / 0.17, 1)) ** 2))
    a = (wide - inner) / 2 * cap
    center = sign * (inner + (wide - inner) / 2) * (0.90 + 0.10 * np.minimum(t / 0.2, 1))
    recess = np.sqrt(np.maximum(0.0, 1 - np.maximum(0.0, (t - 0.78) / 0.22) ** 2))
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
    power = 2.5 + 1.5 * changes.inflation
    cap = np.maximum(0.0, 1 - np.sin(t * np.pi / 2) ** power) ** (1 / 2)
    a = (0.56 * wide[0] + 1) * cap
    b = deep[0] * np.sqrt(np.maximum(0.0, 1 - np.sin(t * np.pi / 2) ** 4))
    y = 6 + 10 * (z - base) / (top - base + 1e-6)
    loft = Loft(z, np.full_like(z, sign * wide[0] * 0.44), y, a, b)
    low = loft_of([(height, loft.x[0], y[0], a[0], b[0]) for height in (-400, -399)])
    z, x, y, a, b = (
        np.concatenate([getattr(low, name), getattr(loft, name)])
        for name in ("z", "x", "y", "a", "b")
    )
    return Loft(z, x, y, a, b)


def heart_lofts(build: Build, posture: Posture, changes: Changes) -> list[Loft]:
    """Left ventricle, right heart, left atrial border; the hull of their spans is the heart."""
    h = 0.82 * build.heart * changes.heart
    tall = build.heart * changes.heart**0.35  # an enlarged heart grows sideways
    floor = (
        dome_height(build, "right", posture, changes) + dome_height(build, "left", posture, changes)
    ) / 2
    z = floor + 18 + 0.26 * tall
    narrow = 1 - 0.16 * changes.inflation
    x = 5 + changes.shift
    lean = (build.heart_tilt, -0.30)
    left = ellipsoid((x + 0.42 * h * narrow, 24, z - 6), (0.92 * h * narrow, 62, 0.80 * tall), lean)
    right = ellipsoid(
        (x - 0.36 * h * narrow, 24, z + 4), (0.62 * h * narrow, 60, 0.88 * tall), (0.06, -0.30)
    )
    atrium = ellipsoid(
        (x + 0.20 * h * narrow, 0, z + 0.66 * tall), (0.56 * h, 48, 0.84 * tall), (-0.18, 0.0)
    )
    return [left, right, atrium]


def _widened(build: Build, changes: Changes) -> Loft:
    """The tissue that widens the upper mediastinum."""
    m, tall = build.mediastinum, build.tall
    to_right, to_left = changes.mediastinum
    middle, extra = changes.shift + (to_left - to_right) / 2, (to_left + to_right) / 2
    rows = [
        (-15, m * 0.9, 20),
        (15, m + extra * 0.8, 32),
        (50, m + extra, 34),
        (85, m + 0.8 * extra, 30),
        (112, m * 0.6, 20),
    ]
    return loft_of([(z * tall, middle, 0, a, b) for z, a, b in rows])


def vessel_lofts(build: Build, changes: Changes) -> list[Loft]:
    """Upper mediastinum, aortic arch, pulmonary trunk, rising aorta and superior vena cava."""
    m, t, s = build.mediastinum, build.tall, changes.shift
    middle = [
        (-330, 0, -14, m - 8, 50),
        (-130 * t, s + 2, -14, m - 10, 50),
        (-40 * t, s + 3, -13, m - 8, 50),
        (0, s + 1, -12, m - 2, 50),
        (40 * t, s - 1, -12, m - 4, 48),
        (70 * t, 0.8 * s - 2, -14, m - 7, 45),
        (100 * t, 0.5 * s - 1, -16, m - 6, 40),
        (130 * t, 0.2 * s, -18, m - 1, 32),
        (170 * t, 0, -18, m + 3, 30),
    ]
    cava = [
        (-30 * t, s - 20, 8, 12, 12),
        (20 * t, s - 19, 8, 13, 12),
        (70 * t, s - 18, 8, 12, 12),
        (95 * t, s - 16, 8, 9, 12),
    ]
    knob = ellipsoid((s + 19, -14, 52 * t), (build.knob + 5, 30, build.knob + 5))
    trunk = ellipsoid((s + 21, 6, 14 * t), (18, 30, 34 * t), (-0.10, 0.0))
    rising = ellipsoid((s - 13, 8, 22 * t), (20, 30, 48 * t))
    lofts = [loft_of(middle), knob, trunk, rising, loft_of(cava)]
    return [*lofts, _widened(build, changes)] if any(changes.mediastinum) else lofts


def spine_depth(z: np.ndarray) -> np.ndarray:
    """Depth y of the middle of the vertebral bodies: far back at the chest, forward at the neck."""
    return np.asarray(-68 + 0.00115 * np.square(z))


def spine_loft() -> Loft:
    """Spine with its muscles and the descending aorta: what stands behind the heart."""
    z = np.linspace(-330, 190, 14)
    y = np.minimum(spine_depth(z), -45)
    return Loft(z, np.full_like(z, 3.0), y, np.full_like(z, 26.0), np.full_like(z, 24.0))
