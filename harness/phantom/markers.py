"""Lead letters, collimation and monitoring leads: what is on a film and not in the patient."""

import numpy as np

from harness.phantom.plan import StudyPlan, View
from harness.phantom.solids import Camera, Plane
from harness.phantom.streams import between, stream
from harness.phantom.tubes import resample

LEAD = 150.0  # mm of water that a lead letter is worth
# Strokes of the letters on a 1 x 1.6 grid, y downward.
LETTERS: dict[str, list[list[tuple[float, float]]]] = {
    "L": [[(0, 0), (0, 1.6), (1, 1.6)]],
    "R": [
        [(0, 1.6), (0, 0), (0.7, 0), (1, 0.25), (1, 0.55), (0.7, 0.8), (0, 0.8)],
        [(0.45, 0.8), (1, 1.6)],
    ],
    "A": [[(0, 1.6), (0.5, 0), (1, 1.6)], [(0.2, 1.0), (0.8, 1.0)]],
    "P": [[(0, 1.6), (0, 0), (0.7, 0), (1, 0.25), (1, 0.55), (0.7, 0.8), (0, 0.8)]],
}


def _stamp(plane: Plane, line_px: np.ndarray, weight: float, width: float) -> None:
    """Draw a polyline (column, row) as a soft stroke of so many pixels."""
    flat = np.column_stack([line_px, np.zeros(len(line_px))])
    points = resample(flat, 0.5)[:, :2]
    size = len(plane)
    low = np.maximum(np.floor(points.min(axis=0) - width - 2).astype(int), 0)
    high = np.minimum(np.ceil(points.max(axis=0) + width + 2).astype(int), size)
    if (high <= low).any():
        return
    y, x = np.mgrid[low[1] : high[1], low[0] : high[0]] + 0.5
    gap = np.full(x.shape, 1e9)
    for px, py in points:
        np.minimum(gap, (x - px) ** 2 + (y - py) ** 2, out=gap)
    stroke = np.clip(width / 2 + 0.5 - np.sqrt(gap), 0, 1).astype(np.float32)
    window = plane[low[1] : high[1], low[0] : high[0]]
    np.maximum(window, np.float32(weight) * stroke, out=window)


def _word(plane: Plane, word: str, at: tuple[float, float], *, tall: float, turn: float) -> None:
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    for index, letter in enumerate(word):
        for stroke in LETTERS[letter]:
            local = (np.array(stroke) + np.array([1.5 * index, 0])) * tall / 1.6
            _stamp(plane, local @ spin.T + at, LEAD, max(0.9, tall / 6))


def markers_path(plan: StudyPlan, view: View, camera: Camera) -> Plane:
    """Path through the letters: the side at an upper corner, and AP or P beside it at times."""
    rng = stream(plan.seed, "markers", view)
    plane = np.zeros((camera.size, camera.size), np.float32)
    size = camera.size
    letter = "L" if view == "LATERAL" or rng.random() < 0.6 else "R"
    tall = size * between(rng, 0.030, 0.048)
    column = between(rng, 0.84, 0.93) if letter == "L" else between(rng, 0.05, 0.12)
    at = (column * size, between(rng, 0.03, 0.22) * size)
    turn = float(rng.normal(0, 0.12))
    if rng.random() < 0.94:
        _word(plane, letter, at, tall=tall, turn=turn)
    if view == "AP" and rng.random() < 0.5:
        _word(plane, "AP", (at[0] - tall * 0.4, at[1] + 1.7 * tall), tall=0.7 * tall, turn=turn)
    return plane


def shutter_of(plan: StudyPlan, view: View, camera: Camera) -> np.ndarray:
    """Pixels blacked out beyond the collimator's edges, as a mask."""
    rng = stream(plan.seed, "shutter", view)
    mask = np.zeros((camera.size, camera.size), bool)
    used = rng.random(4) < 0.30
    widths = (rng.uniform(0.008, 0.045, 4) * camera.size).astype(int)
    top, bottom, left, right = np.where(used, widths, 0)
    mask[:top] = True
    mask[camera.size - bottom :] = True
    mask[:, :left] = True
    mask[:, camera.size - right :] = True
    return mask
