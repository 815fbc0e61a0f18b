"""The best candidates of every query, kept while tiles go by."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

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


def _raise_floor(lists: TopLists, lines: slice, tile: np.ndarray, axis: int) -> None:
    """A safe first floor: below the depth-th largest of the maxima of groups of candidates."""
    depth = lists.scores.shape[1]
    size = tile.shape[axis] // GROUPS
    if not size or depth > GROUPS or not np.isneginf(lists.floor[lines]).all():
        return
    if axis:
        grouped = tile[:, : GROUPS * size].reshape(-1, GROUPS, size).max(axis=2)
    else:
        grouped = tile[: GROUPS * size].reshape(GROUPS, size, -1).max(axis=1).T
    bound = np.partition(grouped, GROUPS - depth, axis=1)[:, GROUPS - depth]
    below = np.nextafter(bound, np.array(-np.inf, bound.dtype))
    lists.floor[lines] = below[: lines.stop - lines.start]


def _enter(lists: TopLists, line: np.ndarray, item: np.ndarray, score: np.ndarray) -> None:
    """Merge candidates, sorted by line, into their lists."""
    hot, first, counts = np.unique(line, return_index=True, return_counts=True)
    depth, width = lists.scores.shape[1], int(counts.max())
    scores = np.full((len(hot), width + depth), -np.inf, lists.scores.dtype)
    items = np.full((len(hot), width + depth), -1, np.int32)
    scores[:, width:], items[:, width:] = lists.scores[hot], lists.items[hot]
    row = np.repeat(np.arange(len(hot)), counts)
    column = np.arange(len(line)) - np.repeat(first, counts)
    scores[row, column], items[row, column] = score, item
    best = np.argpartition(scores, width, axis=1)[:, width:]
    kept = np.take_along_axis(scores, best, axis=1)
    lists.scores[hot], lists.items[hot] = kept, np.take_along_axis(items, best, axis=1)
    lists.floor[hot] = np.maximum(lists.floor[hot], kept.min(axis=1))


def offer_images(
    lists: TopLists, texts: slice, images: slice, tile: Float[np.ndarray, "texts images"]
) -> None:
    """Offer the tile's images to the lists of its texts."""
    _raise_floor(lists, texts, tile, axis=1)
    rows = texts.stop - texts.start
    flat = np.flatnonzero(tile[:rows] > lists.floor[texts][:, None])
    if len(flat):
        line, item = np.divmod(flat, tile.shape[1])
        _enter(lists, texts.start + line, images.start + item, tile.reshape(-1)[flat])


def offer_texts(
    lists: TopLists, texts: slice, images: slice, tile: Float[np.ndarray, "texts images"]
) -> None:
    """Offer the tile's texts to the lists of its images."""
    _raise_floor(lists, images, tile, axis=0)
    floor = np.full(tile.shape[1], np.inf, tile.dtype)
    floor[: images.stop - images.start] = lists.floor[images]
    flat = np.flatnonzero(tile > floor)
    if len(flat):
        item, line = np.divmod(flat, tile.shape[1])
        order = np.argsort(line.astype(np.uint16), kind="stable")  # a radix sort
        line, item, score = line[order], item[order], tile.reshape(-1)[flat[order]]
        _enter(lists, images.start + line, texts.start + item, score)
