"""The best candidates of every query, kept while tiles go by."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from harness.metrics.tiles import Tile

GROUPS = 60  # group maxima looked at for a first bound on what can still enter a list


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


def _raise_floor(lists: TopLists, lines: slice, scores: np.ndarray, axis: int) -> None:
    """A safe first floor: below the depth-th largest of the maxima of groups of candidates."""
    depth = lists.scores.shape[1]
    size = scores.shape[axis] // GROUPS
    if not size or depth > GROUPS or not np.isneginf(lists.floor[lines]).all():
        return
    if axis:
        grouped = scores[:, : GROUPS * size].reshape(-1, GROUPS, size).max(axis=2)
    else:
        grouped = scores[: GROUPS * size].reshape(GROUPS, size, -1).max(axis=1).T
    bound = np.partition(grouped, GROUPS - depth, axis=1)[:, GROUPS - depth]
    below = np.nextafter(bound, np.array(-np.inf, bound.dtype))
    lists.floor[lines] = below[: lines.stop - lines.start]


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
    _raise_floor(lists, tile.texts, tile.scores, axis=1)
    rows = tile.texts.stop - tile.texts.start
    np.greater(tile.scores[:rows], lists.floor[tile.texts][:, None], out=tile.mask[:rows])
    flat = np.flatnonzero(tile.mask[:rows])
    if len(flat):
        line, item = np.divmod(flat, tile.scores.shape[1])
        score = tile.scores.reshape(-1)[flat]
        _enter(lists, tile.texts.start + line, tile.images.start + item, score)


def offer_texts(lists: TopLists, tile: Tile) -> None:
    """Offer the tile's texts to the lists of its images."""
    _raise_floor(lists, tile.images, tile.scores, axis=0)
    width = tile.scores.shape[1]
    floor = np.full(width, np.inf, tile.scores.dtype)
    floor[: tile.images.stop - tile.images.start] = lists.floor[tile.images]
    flat = np.flatnonzero(np.greater(tile.scores, floor, out=tile.mask))
    if len(flat):
        item, line = np.divmod(flat, width)
        order = np.argsort(line.astype(np.uint16), kind="stable")  # a radix sort
        score = tile.scores.reshape(-1)[flat[order]]
        _enter(lists, tile.images.start + line[order], tile.texts.start + item[order], score)
