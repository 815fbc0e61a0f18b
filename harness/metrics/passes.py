"""The two passes over the tiles of a pool: relevant scores first, then everything at once.

The first computes the tiles that hold a relevant pair, to know each query's best relevant score;
the second computes every tile once, for both directions: candidates at or above those scores are
counted, and the best candidates kept.
"""

from dataclasses import dataclass

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
from harness.metrics.toplists import TopLists, empty_lists, offer_images, offer_texts


@dataclass(frozen=True)
class Standing:
    """What the conventions make of each query of one direction, before and after counting.

    `best` and `at_best` are the best relevant score and how many relevant candidates have it;
    `place` the query's threshold per convention.
    """

    best: Float[np.ndarray, "m 4"]
    at_best: Int[np.ndarray, "m 4"]
    relevant: Int[np.ndarray, "m 4"]
    place: Int[np.ndarray, "m 4"]


@dataclass(frozen=True)
class Found:
    """All that is known when the last tile has gone by."""

    edge_scores: Float[np.ndarray, " e"]
    images: Standing
    texts: Standing
    unique: Counts
    pairs: Counts
    seen_images: Counts
    image_lists: TopLists
    text_lists: TopLists


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
    best = np.full((n, 4), -np.inf, scores.dtype)
    relevant, at_best = np.zeros((n, 4), np.int64), np.zeros((n, 4), np.int64)
    for c in range(4):
        weight = relations.weights[:, c]
        counts = weight > 0
        np.maximum.at(best[:, c], relations.row[counts], scores[counts])
        np.add.at(relevant[:, c], relations.row, weight)
        top = counts & (scores == best[relations.row, c])
        np.add.at(at_best[:, c], relations.row[top], weight[top])
    line = np.repeat(rows, 4)
    thresholds, place = thresholds_of(line, best[rows].reshape(-1), n)
    return Standing(best[rows], at_best[rows], relevant[rows], place.reshape(-1, 4)), thresholds


def _text_standing(
    pool: RetrievalPool, relations: Relations, scores: np.ndarray
) -> tuple[Standing, Thresholds]:
    m = len(pool.queries)
    best = np.zeros((m, 4), scores.dtype)
    relevant, at_best = np.zeros((m, 4), np.int64), np.zeros((m, 4), np.int64)
    for c, segments in enumerate(relations.segments if m else ()):
        value = scores[segments.edge]
        begin = np.searchsorted(segments.segment, np.arange(segments.segment[-1] + 1))
        peak = np.maximum.reduceat(value, begin)
        top = np.add.reduceat((value == peak[segments.segment]).astype(np.int64), begin)
        size = np.diff(np.append(begin, len(value)))
        for target, of_segment in ((best, peak), (at_best, top), (relevant, size)):
            target[:, c] = of_segment[segments.of_query]
    line = np.repeat(pool.text[pool.queries], 4)
    thresholds, place = thresholds_of(line, best.reshape(-1), pool.texts)
    return Standing(best, at_best, relevant, place.reshape(-1, 4)), thresholds


def find(pool: RetrievalPool, relations: Relations, scores: Scores) -> Found:
    """Scores of the relevant pairs, counts and lists, from both passes over the tiles."""
    edges = _Edges(relations, scores, *_tile_spans(scores, relations))
    edge_scores = _edge_scores(edges)
    images, per_image = _image_standing(pool, relations, edge_scores)
    texts, per_text = _text_standing(pool, relations, edge_scores)
    unique, pairs, seen = no_counts(per_image), no_counts(per_image), no_counts(per_text)
    image_lists = empty_lists(len(pool.study), LIST, scores.dtype)
    text_lists = empty_lists(pool.texts, LIST, scores.dtype)
    for tile in scores.tiles():
        count_texts(per_image, tile, relations.copies[tile.texts], (unique, pairs))
        count_images(per_text, tile, seen)
        _, text, image = edges.within(tile)
        tile.scores[text, image] = -np.inf  # the lists hold what is relevant to nothing
        offer_images(text_lists, tile)
        offer_texts(image_lists, tile)
    return Found(edge_scores, images, texts, unique, pairs, seen, image_lists, text_lists)
