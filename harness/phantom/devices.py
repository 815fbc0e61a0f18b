"""Lines, tubes and implants as clouds in the patient's frame."""

from collections.abc import Callable

import numpy as np

from harness.phantom.anatomy import Build, wall_at
from harness.phantom.plan import StudyPlan
from harness.phantom.project import Scene
from harness.phantom.sites import height_at
from harness.phantom.solids import Camera, Cloud, Plane, join, splat
from harness.phantom.streams import between, stream
from harness.phantom.tubes import plate, smooth_curve, wire

PLASTIC, METAL = 2.6, 14.0  # density relative to water
Maker = Callable[[np.random.Generator, Scene, float], list[Cloud]]


def _front(build: Build, x: float, z: float) -> float:
    """Depth y of the skin of the chest at a place."""
    _, deep = wall_at(build, np.array([z]))
    return float((deep[0] + 8) * np.sqrt(max(0.05, 1 - (x / (build.width * 1.15)) ** 2)))


def _tube(knots: list[tuple[float, float, float]], radius: float, density: float) -> Cloud:
    return wire(smooth_curve(knots, 60), radius, density, step=0.9)


def _to_heart(
    start: tuple[float, float, float], t: float, end: float
) -> list[tuple[float, float, float]]:
    """Way of a catheter from below a clavicle through the caval vein to height `end`."""
    sign = np.sign(start[0])
    return [
        start,
        (sign * 62, 42, 94 * t),
        (sign * 30, 34, 82 * t),
        (-16, 14, 58 * t),
        (-21, 10, 30 * t),
        (-21, 10, end),
    ]


def _port(rng: np.random.Generator, scene: Scene, sign: float) -> list[Cloud]:
    b, t = scene.build, scene.build.tall
    x, z = sign * between(rng, 62, 84), between(rng, 52, 70) * t
    y = _front(b, x, z)
    angle = np.linspace(0, 2 * np.pi, 30)
    ring = np.stack([x + 10 * np.cos(angle), np.full(30, y), z + 10 * np.sin(angle)], axis=1)
    disc = [wire(ring, 1.8, METAL, step=0.9), plate(_square(x, y, z, 6.5), 12.0, step=1.5)]
    return [*disc, _tube(_to_heart((x, y, z + 10), t, between(rng, -14, 14)), 1.1, 5.0)]


def _square(x: float, y: float, z: float, half: float) -> np.ndarray:
    return np.array(
        [
            (x - half, y, z - half),
            (x + half, y, z - half),
            (x + half, y, z + half),
            (x - half, y, z + half),
        ]
    )


def _pacemaker(rng: np.random.Generator, scene: Scene, sign: float) -> list[Cloud]:
    b, t = scene.build, scene.build.tall
    x, z = sign * between(rng, 82, 98), between(rng, 58, 74) * t
    y = _front(b, x, z)
    box = _square(x, y, z, between(rng, 20, 24)) * [1, 1, 1]
    floor = height_at(scene, "left", 0.06)
    lead = _to_heart((x - sign * 8, y, z + 20), t, 0)
    tip = [(-18, 18, 0.5 * floor), (8, 38, floor + 4), (b.heart * 0.95, 48, floor + 12)]
    leads = [_tube([*lead, *tip], 1.0, METAL)]
    if rng.random() < 0.6:
        leads.append(_tube([*lead, (-24, 30, 0.35 * floor), (-34, 42, 0.2 * floor)], 1.0, METAL))
    return [plate(box, 26.0, rim=10.0, step=1.4), *leads]


def _endotracheal(rng: np.random.Generator, scene: Scene, _: float) -> list[Cloud]:
    t = scene.build.tall
    tip = between(rng, 44, 74) * t
    center = [(0, -8, 250), (0, -14, 150 * t), (0.5, -18, 110 * t), (1, -20, tip)]
    walls = [_tube([(x + dx, y, z) for x, y, z in center], 0.8, 2.2) for dx in (-4.6, 4.6)]
    return [*walls, _tube([(x + 4.6, y, z) for x, y, z in center], 0.7, 7.0)]


def _central_line(rng: np.random.Generator, scene: Scene, sign: float) -> list[Cloud]:
    t = scene.build.tall
    end = between(rng, -10, 26) * t
    neck = [(sign * 46, 10, 230), (sign * 34, 12, 140 * t), (sign * 22, 22, 96 * t)]
    return [_tube([*neck, (-15, 16, 62 * t), (-20, 12, 34 * t), (-21, 10, end)], 1.3, 4.2)]


def _nasogastric(rng: np.random.Generator, scene: Scene, _: float) -> list[Cloud]:
    t, floor = scene.build.tall, height_at(scene, "left", 0.0)
    end = (between(rng, 30, 70), 20.0, floor - between(rng, 45, 75))
    way = [
        (2, -24, 250),
        (3, -30, 100 * t),
        (5, -36, 20 * t),
        (10, -30, 0.6 * floor),
        (22, -14, floor - 22),
        end,
    ]
    return [_tube(way, 1.6, 3.6)]


def _chest_drain(rng: np.random.Generator, scene: Scene, sign: float) -> list[Cloud]:
    b = scene.build
    side = "left" if sign > 0 else "right"
    wide = b.width * 0.98
    entry = height_at(scene, side, between(rng, 0.10, 0.3))
    tip = (
        sign * between(rng, 40, 66),
        between(rng, -60, 30),
        height_at(scene, side, between(rng, 0.72, 0.9)),
    )
    way = [
        (sign * (wide + 50), 10, entry - 50),
        (sign * (wide + 4), 0, entry),
        (sign * wide * 0.86, -20, entry + 34),
        tip,
    ]
    return [_tube(way, 2.2, 2.4), _tube(way, 0.8, 9.0)]


def _sternal_wires(rng: np.random.Generator, scene: Scene, _: float) -> list[Cloud]:
    b, t = scene.build, scene.build.tall
    loops = []
    for z in np.linspace(66, -44, 6) * t:
        y = _front(b, 0, z) - 4
        angle = np.linspace(0, 2 * np.pi, 16) + rng.normal(0, 0.2)
        lean = rng.normal(0, 0.15)
        x = 8.5 * np.cos(angle)
        ring = np.stack([x, y + 4 * np.sin(angle), z + 3.2 * np.sin(angle) + lean * x], axis=1)
        loops.append(wire(ring, 0.75, METAL, step=0.7))
    return loops


DEVICES: dict[str, Maker] = {
    "port": _port,
    "pacemaker": _pacemaker,
    "ett": _endotracheal,
    "central line": _central_line,
    "ng tube": _nasogastric,
    "chest drain": _chest_drain,
    "sternotomy wires": _sternal_wires,
}


def parse_device(text: str) -> tuple[str, float]:
    """Name and side (+1 left, -1 right, 1 where none is named) of e.g. ``port left``.

    Raises:
        ValueError: the name is not known.
    """
    name, _, last = text.rpartition(" ")
    if last not in ("left", "right"):
        name, last = text, "left"
    if name not in DEVICES:
        raise ValueError(
            f"device {text!r}: expected one of {sorted(DEVICES)}, with a side where it has one"
        )
    return name, 1.0 if last == "left" else -1.0


def _electrodes(plan: StudyPlan, scene: Scene) -> list[Cloud]:
    """Monitoring leads that lie on some portable patients, by the study's seed."""
    rng = stream(plan.seed, "electrodes")
    if "AP" not in plan.views or rng.random() > 0.35:
        return []
    clouds = []
    for _ in range(int(rng.integers(2, 4))):
        x, z = between(rng, -105, 105), between(rng, -60, 90)
        y = _front(scene.build, x, z) + 8
        away = float(np.sign(x) or 1)
        way = [
            (x, y, z),
            (x + 22 * away, y, z - 24),
            (x + 34 * away, y, z - 90),
            (x + between(rng, -30, 60) * away, y, -250),
        ]
        clouds += [plate(_square(x, y, z, 3.6), 22.0, step=1.2), _tube(way, 0.8, 5.0)]
    return clouds


def devices_path(plan: StudyPlan, scene: Scene, camera: Camera, *, cables: bool = True) -> Plane:
    """Path length through all devices of the plan (and monitoring leads), mm of water."""
    clouds = _electrodes(plan, scene) if cables else []
    for text in plan.devices:
        name, sign = parse_device(text)
        clouds += DEVICES[name](stream(plan.seed, "device", text), scene, sign)
    if not clouds:
        return np.zeros((1, 1), np.float32)
    return splat(join(clouds), camera, 0.45)
