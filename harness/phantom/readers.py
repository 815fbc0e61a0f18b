"""Two simulated readers: what a person would have drawn for the exact boxes of a finding."""

import numpy as np

from harness.boxes import Boxes, no_boxes
from harness.phantom.streams import stream

JITTER = 0.052  # standard deviation of an edge, as a part of the box's side
FLOOR = 0.003  # and of the image
MERGE = 0.35  # chance that two near boxes are drawn as one
SPLIT = 0.10  # chance that a long box is drawn as two
MISS = 0.10  # chance that one of several boxes is not drawn
MISS_SUBTLE = 0.20  # chance that reader 2 draws nothing for a subtle finding
NEAR = 0.05  # of the image: boxes closer than this may be merged


def _merge(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kept: list[np.ndarray] = []
    for box in boxes:
        last = kept.pop() if kept else box
        near = bool((np.maximum(last[:2], box[:2]) - np.minimum(last[2:], box[2:]) < NEAR).all())
        if last is box:
            kept = [box]
        elif near and rng.random() < MERGE:
            both = [np.minimum(last[:2], box[:2]), np.maximum(last[2:], box[2:])]
            kept.append(np.concatenate(both))
        else:
            kept += [last, box]
    return np.stack(kept)


def _split(box: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    sides = box[2:] - box[:2]
    axis = int(sides.argmax())
    if sides[axis] < 0.22 or rng.random() >= SPLIT:
        return [box]
    cut = box[axis] + sides[axis] * rng.uniform(0.42, 0.58)
    first, second = box.copy(), box.copy()
    first[axis + 2], second[axis] = cut - 0.01, cut + 0.01
    return [first, second]


def _jitter(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    sides = np.tile(box[2:] - box[:2], 2)
    grow = rng.normal(0.01, 0.025)
    moved = (
        box
        + rng.normal(0, 1, 4) * (JITTER * sides + FLOOR)
        + np.array([-1, -1, 1, 1]) * grow * sides
    )
    low, high = np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 0.005)
    return np.asarray(np.clip(np.concatenate([middle - half, middle + half]), 0, 1))


def read_boxes(exact: Boxes, seed: int, reader: int, *, subtle: bool = False) -> Boxes:
    """The boxes reader 1 or 2 draws; reader 1 always draws something where there is something.

    Edges are jittered, near boxes may be merged, a long one split, one of several missed.
    """
    if not len(exact):
        return no_boxes()
    rng = stream(seed, "reader", reader)
    draws_nothing = rng.random() < MISS_SUBTLE
    if reader == 2 and subtle and draws_nothing:
        return no_boxes()
    boxes = _merge(np.asarray(exact, np.float64), rng)
    parts = [part for box in boxes for part in _split(box, rng)]
    drawn = [_jitter(part, rng) for part in parts]
    kept = [box for box in drawn if len(drawn) == 1 or rng.random() >= MISS]
    return np.stack(kept or drawn[:1]).astype(np.float32)
