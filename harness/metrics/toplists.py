"""The best candidates of every query, kept while tiles go by."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedIOBase, BytesIO
from tempfile import TemporaryFile

import numpy as np
from jaxtyping import Float, Int

from harness.metrics.tiles import Tile

GROUPS = 60  # group maxima looked at for a first bound on what can still enter a list
IN_MEMORY = 1 << 24  # bytes of lists put aside in memory; more lie in a file


@dataclass(frozen=True)
class TopLists:
    """Per line the `depth` best scores seen and their candidates; -inf and -1 where fewer.

    Which of several equal scores stays at the border is not defined.
    """

    scores: Float[np.ndarray, "lines depth"]
    items: Int[np.ndarray, "lines depth"]
    floor: Float[np.ndarray, " lines"]  # the least score of each list: only larger ones enter


def empty_lists(lines: int, depth: int, dtype: np.dtype) -> TopLists:
    """Lists with nothing in them."""
    return TopLists(
        np.full((lines, depth), -np.inf, dtype),
        np.full((lines, depth), -1, np.int32),
        np.full(lines, -np.inf, dtype),
    )


@dataclass(frozen=True)
class Shelf:
    """The lists of each block of lines, put aside until the block has its next turn."""

    blocks: Sequence[slice]
    depth: int
    dtype: np.dtype
    file: BufferedIOBase
    begun: set[int] = field(default_factory=set)

    def take(self, number: int) -> TopLists:
        """The lists of a block as they were last put aside; at first they are empty."""
        block = self.blocks[number]
        lists = empty_lists(block.stop - block.start, self.depth, self.dtype)
        if number in self.begun:
            self._find(number)
            for part in (lists.scores, lists.items, lists.floor):
                self.file.readinto(part.data)
        return lists

    def put(self, number: int, lists: TopLists) -> None:
        """Put the lists of a block aside."""
        self.begun.add(number)
        self._find(number)
        for part in (lists.scores, lists.items, lists.floor):
            self.file.write(part.data)

    def _find(self, number: int) -> None:
        self.file.seek(self.blocks[number].start * _size(self.depth, self.dtype))


def _size(depth: int, dtype: np.dtype) -> int:
    """Bytes of one line: scores, items, floor."""
    return depth * (dtype.itemsize + np.dtype(np.int32).itemsize) + dtype.itemsize


@contextmanager
def shelf_of(blocks: Sequence[slice], depth: int, dtype: np.dtype) -> Iterator[Shelf]:
    """Room for the lists of all blocks, in memory or, where that is much, in an unnamed file."""
    size = (blocks[-1].stop if blocks else 0) * _size(depth, dtype)
    with BytesIO() if size <= IN_MEMORY else TemporaryFile() as file:
        yield Shelf(blocks, depth, dtype, file)


def _raise_floor(lists: TopLists, scores: np.ndarray, axis: int) -> None:
    """A safe first floor: below the depth-th largest of the maxima of groups of candidates."""
    depth = lists.scores.shape[1]
    size = scores.shape[axis] // GROUPS
    if not size or depth > GROUPS or not np.isneginf(lists.floor).all():
        return
    if axis:
        grouped = scores[:, : GROUPS * size].reshape(-1, GROUPS, size).max(axis=2)
    else:
        grouped = scores[: GROUPS * size].reshape(GROUPS, size, -1).max(axis=1).T
    bound = np.partition(grouped, GROUPS - depth, axis=1)[:, GROUPS - depth]
    below = np.nextafter(bound, np.array(-np.inf, bound.dtype))
    lists.floor[:] = below[: len(lists.floor)]


def _enter(lists: TopLists, line: np.ndarray, item: np.ndarray, score: np.ndarray) -> None:
    """Merge candidates, sorted by line, into their lists."""
    first = np.flatnonzero(np.append(True, line[1:] != line[:-1]))
    hot, counts = line[first], np.diff(first, append=len(line))
    depth, width = lists.scores.shape[1], int(counts.max())
    scores = np.full((len(hot), width + depth), -np.inf, lists.scores.dtype)
    items = np.full((len(hot), width + depth), -1, np.int32)
    scores[:, width:], items[:, width:] = lists.scores[hot], lists.items[hot]
    row = np.repeat(np.arange(len(hot)), counts)
    column = np.arange(len(line)) - np.repeat(first, counts)
    scores[row, column], items[row, column] = score, item
    best = np.argpartition(scores, width, axis=1)[:, width:]
    best += np.arange(0, scores.size, width + depth)[:, None]
    kept = scores.reshape(-1)[best]
    lists.scores[hot], lists.items[hot] = kept, items.reshape(-1)[best]
    lists.floor[hot] = np.maximum(lists.floor[hot], kept.min(axis=1))


def offer_images(lists: TopLists, tile: Tile) -> None:
    """Offer the tile's images to the lists of its texts."""
    _raise_floor(lists, tile.scores, axis=1)
    rows = len(lists.floor)
    np.greater(tile.scores[:rows], lists.floor[:, None], out=tile.mask[:rows])
    flat = np.flatnonzero(tile.mask[:rows])
    if len(flat):
        line, item = np.divmod(flat, tile.scores.shape[1])
        score = tile.scores.reshape(-1)[flat]
        _enter(lists, line, tile.images.start + item, score)


def offer_texts(lists: TopLists, tile: Tile) -> None:
    """Offer the tile's texts to the lists of its images."""
    _raise_floor(lists, tile.scores, axis=0)
    width = tile.scores.shape[1]
    floor = np.full(width, np.inf, tile.scores.dtype)
    floor[: len(lists.floor)] = lists.floor
    flat = np.flatnonzero(np.greater(tile.scores, floor, out=tile.mask))
    if len(flat):
        item, line = np.divmod(flat, width)
        order = np.argsort(line.astype(np.uint16), kind="stable")  # a radix sort
        score = tile.scores.reshape(-1)[flat[order]]
        _enter(lists, line[order], tile.texts.start + item[order], score)
