"""Training pictures: moved, made lighter or noisier, and where on them each finding lies."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from harness.boxes import Boxes
from lofi.picture import shift, shift_boxes, to_input
from lofi.vlm.config import Changes
from lofi.vlm.read import Pool

Moves = Mapping[int, tuple[int, int]]  # image of the pool -> pixels to the right and down


def draw_moves(
    images: Sequence[int], changes: Changes, size: int, draw: np.random.Generator
) -> Moves:
    """How far each picture is moved; its boxes move with it."""
    most = int(changes.shift * size)
    steps = draw.integers(-most, most + 1, size=(len(images), 2))
    return {image: (int(x), int(y)) for image, (x, y) in zip(images, steps, strict=True)}


def changed_pixels(
    pool: Pool, moves: Moves, changes: Changes, draw: np.random.Generator
) -> Float[Tensor, "n 3 s s"]:
    """The pictures as the tower sees them in training; never flipped.

    A tone curve and noise stand for other detectors, gain and offset for other exposures.
    """
    squares = [shift(pool.squares[pool.rows[image]], *move) for image, move in moves.items()]
    values = to_input(np.stack(squares))
    count = (len(squares), 1, 1)
    tone = np.exp(draw.uniform(-changes.tone, changes.tone, count))
    values = 2 * ((values + 1) / 2) ** tone - 1
    gain = draw.uniform(1 - changes.gain, 1 + changes.gain, count)
    offset = draw.uniform(-changes.gain, changes.gain, count)
    noise = draw.uniform(0, changes.noise, count) * draw.standard_normal(values.shape, np.float32)
    return rgb(values * gain + offset + noise)


def rgb(values: np.ndarray) -> Float[Tensor, "n 3 s s"]:
    """Grey values in [-1, 1] as three equal channels."""
    whole = torch.from_numpy(np.asarray(values, np.float32))[:, None]
    return whole.expand(-1, 3, -1, -1).contiguous()


def finding_maps(
    pool: Pool, moves: Moves, findings: Mapping[str, int], cells: int
) -> Float[Tensor, "n findings cells cells"]:
    """1 where the middle of a cell lies in a box of the finding, else 0."""
    size = pool.squares.shape[-1]
    out = np.zeros((len(moves), len(findings), cells, cells), np.float32)
    for row, (image, (right, down)) in enumerate(moves.items()):
        for phrase in (one for one in pool.phrases[image] if one.finding in findings):
            boxes = shift_boxes(phrase.boxes, right / size, down / size)
            inside = out[row, findings[phrase.finding]]
            np.maximum(inside, box_map(boxes, cells), out=inside)
    return torch.from_numpy(out)


def box_map(boxes: Boxes, cells: int) -> Float[np.ndarray, "cells cells"]:
    """1 where the middle of a cell lies in a box, else 0; no box is left without a cell."""
    middles = (np.arange(cells) + 0.5) / cells
    out = np.zeros((cells, cells), np.float32)
    for box in boxes:
        across = (middles > box[0]) & (middles < box[2])
        along = (middles > box[1]) & (middles < box[3])
        out[np.ix_(_some(along, box[1::2]), _some(across, box[::2]))] = 1
    return out


def _some(inside: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The cells inside, or the one in the middle of a box too small to hold any cell's middle."""
    if not inside.any():
        inside[min(int(edges.mean() * len(inside)), len(inside) - 1)] = True
    return inside
