"""The two passes over the tiles of a pool: relevant scores first, then everything at once.

The first computes the tiles that hold a relevant pair, to know each query's best relevant score;
the second computes every tile once, for both directions: candidates at or above those scores are
counted, and the best candidates kept. What is kept is handed on as soon as nothing can enter it
any more, so that lists of all queries never lie in memory together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from harness.metrics.counting import (
    Counts,
    Thresholds,
    count_images,
    count_texts,
    no_counts,
    thresholds_of,
)
from harness.metrics.gains import LIST
from harness.metrics.pool import RetrievalPool
from harness.metrics.relations import Relations
from harness.metrics.tiles import Scores, Tile
from harness.metrics.toplists import (
    Shelf,
    TopLists,
    empty_lists,
    offer_images,
    offer_texts,
    shelf_of,
)

Close: TypeAlias = Callable[[slice, TopLists], None]  # some lines and their lists, which are full


@dataclass(frozen=True)
class Standing:
    """What the conventions make of each query of one direction, before anything is counted.

    `at_best` is how many relevant candidates have the best relevant score; `place` the query's
    threshold per convention: that score.
    """

    at_best: Int[np.ndarray, "m 4"]
    place: Int[np.ndarray, "m 4"]


def _tile_spans(scores: Scores, relations: Relations) -> tuple[np.ndarray, np.ndarray]:
    """The edges sorted by tile, and where each tile's edges begin, (images x texts tiles + 1,)."""
    across = len(scores.grid.text_tiles)
    tile = (relations.row // scores.grid.images) * across + relations.text // scores.grid.texts
    order = np.argsort(tile, kind="stable")
    count = len(scores.grid.image_tiles) * across
    return order, np.searchsorted(tile[order], np.arange(count + 1))


@dataclass(frozen=True)
class _Edges:
    """The edges of each tile: where they lie in it."""

    relations: Relations
    scores: Scores
    order: np.ndarray
    start: np.ndarray

    def number(self, image_tile: int, text_tile: int) -> int:
        return image_tile * len(self.scores.grid.text_tiles) + text_tile

    def any(self, image_tile: int, text_tile: int) -> bool:
        number = self.number(image_tile, text_tile)
        return bool(self.start[number + 1] > self.start[number])

    def within(self, tile: Tile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edge numbers, and their text and image counted from the tile's corner."""
        grid = self.scores.grid
        number = self.number(tile.images.start // grid.images, tile.texts.start // grid.texts)
        edge = self.order[self.start[number] : self.start[number + 1]]
        row, text = self.relations.row[edge], self.relations.text[edge]
        return edge, text - tile.texts.start, row - tile.images.start


def _edge_scores(edges: _Edges) -> np.ndarray:
    values = np.zeros(len(edges.order), edges.scores.dtype)
    for tile in edges.scores.tiles(edges.any):
        edge, text, image = edges.within(tile)
        values[edge] = tile.scores[text, image]
    return values


def _image_standing(
    pool: RetrievalPool, relations: Relations, scores: np.ndarray
) -> tuple[Standing, Thresholds]:
    n, rows = len(pool.study), pool.queries
    best, at_best = np.full((n, 4), -np.inf, scores.dtype), np.zeros((n, 4), np.int32)
    for c in range(4):
        weight = relations.weights[:, c]
        counts = weight > 0
        np.maximum.at(best[:, c], relations.row[counts], scores[counts])
        top = counts & (scores == best[relations.row, c])
        np.add.at(at_best[:, c], relations.row[top], weight[top])
    line = np.repeat(rows, 4)
    thresholds, place = thresholds_of(line, best[rows].reshape(-1), n)
    return Standing(at_best[rows], place.reshape(-1, 4)), thresholds


def _text_standing(
    pool: RetrievalPool, relations: Relations, scores: np.ndarray
) -> tuple[Standing, Thresholds]:
    m = len(pool.queries)
    best, at_best = np.zeros((m, 4), scores.dtype), np.zeros((m, 4), np.int32)
    for c, segments in enumerate(relations.segments):
        value = scores[segments.edge]
        begin = np.searchsorted(segments.segment, np.arange(segments.segment[-1] + 1))
        peak = np.maximum.reduceat(value, begin)
        top = np.add.reduceat((value == peak[segments.segment]).astype(np.int64), begin)
        for target, of_segment in ((best, peak), (at_best, top)):
            target[:, c] = of_segment[segments.of_query]
    line = np.repeat(pool.text[pool.queries], 4)
    thresholds, place = thresholds_of(line, best.reshape(-1), pool.texts)
    return Standing(at_best, place.reshape(-1, 4)), thresholds


@dataclass(frozen=True)
class Found:
    """What the first pass knows, and the counts that the second fills."""

    edges: _Edges
    edge_scores: Float[np.ndarray, " e"]
    images: Standing
    texts: Standing
    per_image: Thresholds
    per_text: Thresholds
    unique: Counts
    pairs: Counts
    seen_images: Counts


def first_pass(pool: RetrievalPool, relations: Relations, scores: Scores) -> Found:
    """Scores of the relevant pairs, and counts of nothing yet."""
    edges = _Edges(relations, scores, *_tile_spans(scores, relations))
    edge_scores = _edge_scores(edges)
    images, per_image = _image_standing(pool, relations, edge_scores)
    texts, per_text = _text_standing(pool, relations, edge_scores)
    return Found(
        edges=edges,
        edge_scores=edge_scores,
        images=images,
        texts=texts,
        per_image=per_image,
        per_text=per_text,
        unique=no_counts(per_image),
        pairs=no_counts(per_image),
        seen_images=no_counts(per_text),
    )


def second_pass(found: Found, close_images: Close, close_texts: Close) -> None:
    """Fill the counts; hand on the lists of images tile by tile, those of texts at the end."""
    scores = found.edges.scores
    with shelf_of(scores.grid.text_tiles, LIST, scores.dtype) as shelf:
        for tile in scores.tiles():
            if not tile.texts.start:
                lists = empty_lists(tile.images.stop - tile.images.start, LIST, scores.dtype)
            _count(found, tile)
            _offer(tile, lists, shelf)
            if tile.texts.stop == scores.grid.u:
                close_images(tile.images, lists)
        for number, span in enumerate(scores.grid.text_tiles):
            close_texts(span, shelf.take(number))


def _count(found: Found, tile: Tile) -> None:
    copies = found.edges.relations.copies[tile.texts]
    count_texts(found.per_image, tile, copies, (found.unique, found.pairs))
    count_images(found.per_text, tile, found.seen_images)
    _, text, image = found.edges.within(tile)
    tile.scores[text, image] = -np.inf  # the lists hold what is relevant to nothing


def _offer(tile: Tile, image_lists: TopLists, shelf: Shelf) -> None:
    number = tile.texts.start // (shelf.blocks[0].stop)
    text_lists = shelf.take(number)
    offer_images(text_lists, tile)
    shelf.put(number, text_lists)
    offer_texts(image_lists, tile)
