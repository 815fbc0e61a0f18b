"""Models that read the toy films: a bright square on a 4 x 4 grid, its cell named in the text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.boxes import boxes_from_unit, no_boxes
from harness.models import Grounding, ModelCard, Query, TrainedOn

SIDE = 4


@dataclass(frozen=True)
class Reader:
    """Embeds and grounds; wrong on every `every`-th cell, silent on cell 15 if `shy`."""

    card: ModelCard
    every: int = 0
    shy: bool = False

    def prepare_image(self, image) -> int:
        pixels = image.read().astype(float)
        size = pixels.shape[0] // SIDE
        means = pixels.reshape(SIDE, size, SIDE, size).mean(axis=(1, 3))
        return int(means.argmax())

    def embed_images(self, prepared: Sequence[int]) -> np.ndarray:
        return np.eye(SIDE**2, dtype=np.float32)[[self._seen(cell) for cell in prepared]]

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        cells = [int(re.search(r"zone (\d+)", text)[1]) for text in texts]
        return np.eye(SIDE**2, dtype=np.float32)[cells]

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        return [self._answer(self.prepare_image(query.image)) for query in queries]

    def _seen(self, cell: int) -> int:
        wrong = self.every and cell % self.every == 0
        return (cell + 5) % SIDE**2 if wrong else cell

    def _answer(self, cell: int) -> Grounding:
        if self.shy and cell == SIDE**2 - 1:
            return Grounding(boxes=no_boxes(), raw="I cannot say", status="malformed")
        return Grounding(boxes=boxes_from_unit([cell_box(self._seen(cell))]), raw="a box")


def cell_box(cell: int) -> list[float]:
    """The box of a cell, xyxy in [0, 1]."""
    row, column = divmod(cell, SIDE)
    return [column / SIDE, row / SIDE, (column + 1) / SIDE, (row + 1) / SIDE]


def load(device: str = "cpu", *, every: int = 0, shy: bool = False, seen: bool = False) -> Reader:
    """A reader; `seen` says it was trained on this very data."""
    del device
    trained = (TrainedOn("manifest", "all", "images"),) if seen else ()
    weights = f"toy-{every}-{shy}-{seen}"
    card = ModelCard("toy", "toy-family", weights, "none", "MIT", trained, "invented")
    return Reader(card, every, shy)


def broken(device: str = "cpu") -> Reader:
    """A model that cannot be loaded."""
    del device
    raise RuntimeError("the toy is broken")
