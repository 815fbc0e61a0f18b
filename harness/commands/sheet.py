"""The picture behind `bench data sheet`: phantoms of both renderings over real films."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image as Pillow

from harness.datasets.manifest import load
from harness.datasets.table import Request
from harness.images import Image
from harness.phantom.film import render_study
from harness.phantom.plan import Film, Rendering, View
from harness.phantom.sheet import BoxKind, film_cell
from harness.phantom.world import plan_study
from harness.roots import recognize

WIDTH = 320  # pixels of a cell
KINDS: tuple[BoxKind, ...] = ("exact", "reader_1", "reader_2")
_APART = 7  # studies from one cell to the next, so that mostly different people are shown


def draw_sheet(*, studies: int, columns: int, boxed: bool, real: Path | None) -> Pillow.Image:
    """Rows of MIMIC-like films, PadChest-like films, and real films of a manifest if one is given.

    Every study gives all its views; with `boxed` the second half of each rendering's studies has
    its boxes drawn.
    """
    renderings: tuple[Rendering, ...] = ("mimic", "padchest")
    rows = [list(_phantoms(name, studies, KINDS if boxed else ())) for name in renderings]
    if real is not None:
        rows.append(list(_real_films(recognize("manifest", real), columns)))
    return _stack([_grid(cells, columns) for cells in rows])


def _phantoms(
    rendering: Rendering, studies: int, boxes: Sequence[BoxKind]
) -> Iterator[Pillow.Image]:
    for number in range(studies):
        shown = boxes if number >= studies // 2 else ()
        for film in render_study(plan_study(rendering, "test", number * _APART)):
            yield film_cell(film, WIDTH, shown)


def _real_films(top: Path, count: int) -> Iterator[Pillow.Image]:
    """Images of the manifest, spread over the file, padded to squares."""
    request = Request("retrieval", "all", "as-given", {"manifest": top})
    images = [sample.image for sample in load(request).samples]
    for image in images[:: max(1, len(images) // count)][:count]:
        pixels = _square(Image(image.image_id, image.file).read())
        yield film_cell(Film(cast(View, f"real {image.view}"), pixels), WIDTH)


def _grid(cells: Sequence[Pillow.Image], columns: int) -> Pillow.Image:
    height = cells[0].height
    sheet = Pillow.new("RGB", (columns * WIDTH, -(-len(cells) // columns) * height))
    for index, cell in enumerate(cells):
        sheet.paste(cell, (index % columns * WIDTH, index // columns * height))
    return sheet


def _stack(parts: Sequence[Pillow.Image]) -> Pillow.Image:
    whole = Pillow.new("RGB", (parts[0].width, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole


def _square(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape
    side = max(height, width)
    square = np.zeros((side, side), pixels.dtype)
    y, x = (side - height) // 2, (side - width) // 2
    square[y : y + height, x : x + width] = pixels
    return square
