"""Scores of a pool, tile by tile: texts down, images across, never the whole matrix.

All tiles have one padded shape, so that the matrix product takes one code path and equal vectors
get equal scores, and a tile that is computed twice comes out the same to the bit.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from tempfile import TemporaryFile
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

MAX_IMAGES = 1984  # of a tile; at most 2040: counts are kept in eight byte lanes of 255
MAX_TEXTS = 960
LANES = 64  # tiles are padded to a multiple of it
SPOOL = 1 << 26  # bytes of scores of a callable kept in memory before they go to a file
ROWS_PER_CALL = 256


@dataclass(frozen=True)
class Embeddings:
    """Unit rows: one per image of the pool, one per unique text."""

    images: Float[np.ndarray, "n d"]
    texts: Float[np.ndarray, "u d"]


ScoreBlocks: TypeAlias = Callable[[slice], np.ndarray]  # rows of images -> (rows, unique texts)
Fill: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray], None]


@dataclass(frozen=True)
class Grid:
    """How a pool is cut: `images` and `texts` per tile, and both padded."""

    n: int
    u: int

    @staticmethod
    def _step(count: int, most: int) -> int:
        tiles = max(1, -(-count // most))
        return max(1, -(-count // tiles))

    @cached_property
    def images(self) -> int:
        """Images per tile."""
        return self._step(self.n, MAX_IMAGES)

    @cached_property
    def texts(self) -> int:
        """Texts per tile."""
        return self._step(self.u, MAX_TEXTS)

    @property
    def shape(self) -> tuple[int, int]:
        """The padded shape of every tile, (texts, images)."""
        return -(-self.texts // LANES) * LANES, -(-self.images // LANES) * LANES

    @cached_property
    def image_tiles(self) -> list[slice]:
        """Slices of image rows."""
        return [slice(a, min(a + self.images, self.n)) for a in range(0, self.n, self.images)]

    @cached_property
    def text_tiles(self) -> list[slice]:
        """Slices of unique texts."""
        return [slice(a, min(a + self.texts, self.u)) for a in range(0, self.u, self.texts)]


@dataclass(frozen=True)
class Tile:
    """Scores of some texts (down) with some images (across), padded with -inf.

    `mask` is room for comparisons with the scores. Both are written over by
    later tiles.
    """

    images: slice
    texts: slice
    scores: Float[np.ndarray, "texts images"]
    mask: Bool[np.ndarray, "texts images"]


@dataclass(frozen=True)
class Scores:
    """A source of tiles over reordered images and texts.

    `fill(tile, image_rows, text_codes)` writes the scores into the upper left of `tile`.
    """

    grid: Grid
    dtype: np.dtype
    image_order: Int[np.ndarray, " n"]
    text_order: Int[np.ndarray, " u"]
    fill: Fill

    def tiles(self, wanted: Callable[[int, int], bool] | None = None) -> Iterator[Tile]:
        """The tile of each wanted (image tile, text tile), default all.

        The next tile is computed in a thread while this one is looked at.
        """
        todo = [
            (images, texts)
            for i, images in enumerate(self.grid.image_tiles)
            for t, texts in enumerate(self.grid.text_tiles)
            if wanted is None or wanted(i, t)
        ]
        buffers = [np.empty(self.grid.shape, self.dtype) for _ in range(2)]
        mask = np.empty(self.grid.shape, bool)
        with ThreadPoolExecutor(1) as thread:
            coming = [thread.submit(self._filled, buffers[0], *spans) for spans in todo[:1]]
            for number, (images, texts) in enumerate(todo):
                values = coming.pop().result()
                for spans in todo[number + 1 : number + 2]:
                    coming.append(thread.submit(self._filled, buffers[1 - number % 2], *spans))
                yield Tile(images, texts, values, mask)

    def _filled(self, values: np.ndarray, images: slice, texts: slice) -> np.ndarray:
        self.fill(values, self.image_order[images], self.text_order[texts])
        values[texts.stop - texts.start :] = -np.inf
        values[:, images.stop - images.start :] = -np.inf
        return values


def _refuse_not_finite(side: str, rows: np.ndarray) -> None:
    bad = sum(
        int((~np.isfinite(rows[a : a + 4096]).all(axis=1)).sum()) for a in range(0, len(rows), 4096)
    )
    if bad:
        raise ValueError(f"{side}: {bad} of {len(rows)} rows hold NaN or infinity")


def _check_shape(what: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != expected:
        raise ValueError(f"{what}: shape {found}, expected {expected}")


def _fill_products(source: Embeddings, grid: Grid, dtype: np.dtype) -> Fill:
    d = source.images.shape[1]
    images, texts = (np.zeros((size, d), dtype) for size in reversed(grid.shape))
    held = np.zeros(0, np.int64)

    def fill(tile: np.ndarray, rows: np.ndarray, codes: np.ndarray) -> None:
        nonlocal held
        if held is not rows and not np.array_equal(held, rows):
            images[len(rows) :] = 0
            images[: len(rows)] = source.images[rows]
            held = rows
        texts[len(codes) :] = 0
        texts[: len(codes)] = source.texts[codes]
        np.matmul(texts, images.T, out=tile)

    return fill


def _storage(n: int, u: int, kind: np.dtype) -> np.ndarray:
    if n * u * kind.itemsize <= SPOOL:
        return np.empty((n, u), kind)
    with TemporaryFile() as file:
        return np.memmap(file, dtype=kind, shape=(n, u), mode="w+")


def _spooled(source: ScoreBlocks, n: int, u: int) -> np.ndarray:
    """All blocks of a callable, asked once each; large ones lie in an unnamed temporary file."""
    stored: np.ndarray | None = None
    for begin in range(0, n, ROWS_PER_CALL):
        rows = slice(begin, min(begin + ROWS_PER_CALL, n))
        block = np.asarray(source(rows))
        where = f"scores of images {begin}..{rows.stop - 1}"
        _check_shape(where, block.shape, (rows.stop - begin, u))
        _refuse_not_finite(where, block)
        if stored is None:
            kind = np.dtype(np.float64 if block.dtype.itemsize > 4 else np.float32)
            stored = _storage(n, u, kind)
        stored[rows] = block
    return np.zeros((n, u), np.float32) if stored is None else stored


def _fill_stored(stored: np.ndarray) -> Fill:
    def fill(tile: np.ndarray, rows: np.ndarray, codes: np.ndarray) -> None:
        tile[: len(codes), : len(rows)] = stored[rows[:, None], codes].T

    return fill


def scores_of(
    source: Embeddings | ScoreBlocks,
    image_order: Int[np.ndarray, " n"],
    text_order: Int[np.ndarray, " u"],
) -> Scores:
    """Tiles of a source, with image i of the result being row ``image_order[i]`` of the source.

    Raises:
        ValueError: shapes that do not fit the pool, NaN or infinity (which side, how many).
    """
    n, u = len(image_order), len(text_order)
    grid = Grid(n, u)
    if not isinstance(source, Embeddings):
        stored = _spooled(source, n, u)
        return Scores(grid, stored.dtype, image_order, text_order, _fill_stored(stored))
    d = source.images.shape[-1]
    _check_shape("image embeddings", source.images.shape, (n, d))
    _check_shape("text embeddings", source.texts.shape, (u, d))
    _refuse_not_finite("image embeddings", source.images)
    _refuse_not_finite("text embeddings", source.texts)
    wide = np.float64 in (source.images.dtype, source.texts.dtype)
    dtype = np.dtype(np.float64 if wide else np.float32)
    return Scores(grid, dtype, image_order, text_order, _fill_products(source, grid, dtype))
