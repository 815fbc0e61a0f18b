"""The picture behind `bench data sheet`: phantoms of both renderings over real films."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image as Pillow

from harness.datasets.manifest import load
from harness.datasets.table import Request
from harness.images import Image
from harness.phantom.plan import Film, Rendering, StudyPlan, View
from harness.phantom.sheet import BoxKind, contact_sheet, film_cell
from harness.phantom.world import plan_study
from harness.roots import recognize

WIDTH = 320  # pixels of a cell
KINDS: tuple[BoxKind, ...] = ("exact", "reader_1", "reader_2")


def draw_sheet(*, studies: int, columns: int, boxed: bool, real: Path | None) -> Pillow.Image:
    """Rows of MIMIC-like films, PadChest-like films, and real films of a manifest if one is given.

    Every study gives all its views; with `boxed` the second half of each rendering's studies has
    its boxes drawn.
    """
    boxes = KINDS if boxed else ()
    renderings: tuple[Rendering, ...] = ("mimic", "padchest")
    parts = [_phantoms(name, studies, columns, boxes) for name in renderings]
    if real is not None:
        parts.append(_real_films(recognize("manifest", real), columns))
    return _stack(parts, columns * WIDTH)


def _phantoms(
    rendering: Rendering, studies: int, columns: int, boxes: Sequence[BoxKind]
) -> Pillow.Image:
    plans = [plan_study(rendering, "test", index) for index in range(studies)]
    half = studies // 2
    return _stack(
        [_sheet(plans[:half], columns, ()), _sheet(plans[half:], columns, boxes)], columns * WIDTH
    )


def _sheet(plans: Sequence[StudyPlan], columns: int, boxes: Sequence[BoxKind]) -> Pillow.Image:
    return contact_sheet(plans, columns=columns, width=WIDTH, boxes=boxes)


def _stack(parts: Sequence[Pillow.Image], width: int) -> Pillow.Image:
    whole = Pillow.new("RGB", (width, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole


def _real_films(top: Path, columns: int) -> Pillow.Image:
    """One row of the manifest's images, spread over the file, padded to squares."""
    request = Request("retrieval", "all", "as-given", {"manifest": top})
    images = [sample.image for sample in load(request).samples]
    chosen = images[:: max(1, len(images) // columns)][:columns]
    cells = []
    for image in chosen:
        pixels = _square(Image(image.image_id, image.file).read())
        cells.append(film_cell(Film(cast(View, image.view or "real"), pixels), WIDTH))
    row = Pillow.new("RGB", (columns * WIDTH, cells[0].height))
    for index, cell in enumerate(cells):
        row.paste(cell, (index * WIDTH, 0))
    return row


def _square(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape
    side = max(height, width)
    square = np.zeros((side, side), pixels.dtype)
    y, x = (side - height) // 2, (side - width) // 2
    square[y : y + height, x : x + width] = pixels
    return square
