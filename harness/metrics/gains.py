"""Discounted gain and label hits at each K, exact under ties, from lists and the relevant edges.

The lists hold the best candidates that are relevant to nothing; the score of every relevant pair
is known beside them. A relevant candidate at score s therefore stands behind all candidates of its
list with a score >= s: if those are not all in the list, it is deeper than the list and gains
nothing.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from harness.metrics.pool import CONVENTIONS
from harness.metrics.relations import Segments
from harness.metrics.retrieval import DEPTHS, GAIN
from harness.metrics.toplists import TopLists

LIST = DEPTHS[-1] + 1  # one more than the deepest K shows whether a tie crosses its border
CHUNK = 1 << 13


@dataclass(frozen=True)
class ScoredEdges:
    """The relevant pairs of neighbouring lines (queries), and the lists of those lines.

    Attributes:
        line: counted from the first of them.
        item: the candidate.
        score: their similarity.
        lists: the best candidates that are relevant to nothing, one list a line.
    """

    line: Int[np.ndarray, " e"]
    item: Int[np.ndarray, " e"]
    score: Float[np.ndarray, " e"]
    lists: TopLists


@dataclass(frozen=True)
class Runs:
    """Entries sorted by (line, falling score), and where each one's line and tie begin and end."""

    order: Int[np.ndarray, " e"]
    first: Int[np.ndarray, " e"]  # of the line
    last_tied: Int[np.ndarray, " e"]


def runs_of(line: Int[np.ndarray, " e"], score: Float[np.ndarray, " e"]) -> Runs:
    """The runs of equal line and of equal score within a line."""
    order = np.lexsort((-score, line))
    line, score = line[order], score[order]
    new_line = np.ones(len(line), bool)
    new_line[1:] = line[1:] != line[:-1]
    new_score = new_line.copy()
    new_score[1:] |= score[1:] != score[:-1]
    place = np.arange(len(line))
    first = np.maximum.accumulate(np.where(new_line, place, 0)) if len(line) else place
    begins = np.append(np.flatnonzero(new_score), len(line))
    return Runs(order, first, (begins[1:] - 1)[np.cumsum(new_score) - 1])


def discounted(
    start: Int[np.ndarray, " e"], copies: Int[np.ndarray, " e"]
) -> Float[np.ndarray, "e depths"]:
    """Gain at each of `DEPTHS` of `copies` relevant candidates behind `start` others."""
    depths = np.array(DEPTHS)
    begin, end = start[:, None], (start + copies)[:, None]
    return np.asarray(GAIN[np.minimum(end, depths)] - GAIN[np.minimum(begin, depths)])


def _listed(edges: ScoredEdges, order: np.ndarray, copies: np.ndarray | None) -> np.ndarray:
    """How many listed candidates, each with its `copies`, score at least what each edge does."""
    total = np.zeros(len(order), np.int64)
    for begin in range(0, len(order), CHUNK):
        here = order[begin : begin + CHUNK]
        ahead = edges.lists.scores[edges.line[here]] >= edges.score[here, None]
        parts = ahead if copies is None else ahead * copies[edges.lists.items[edges.line[here]]]
        total[begin : begin + CHUNK] = parts.sum(axis=1)
    return total


def _sums(line: np.ndarray, values: np.ndarray, lines: int) -> np.ndarray:
    columns = [np.bincount(line, values[:, k], minlength=lines) for k in range(values.shape[1])]
    return np.stack(columns, axis=1)


def image_gains(
    edges: ScoredEdges, weights: Int[np.ndarray, "e 4"], copies: Int[np.ndarray, " u"]
) -> Float[np.ndarray, "lines 4 depths"]:
    """DCG of images as queries, per convention; each text stands for `copies` candidates.

    `weights` says how many of those are relevant, per convention.
    """
    runs = runs_of(edges.line, edges.score)
    line, each = edges.line[runs.order], np.ones(len(copies), np.int64)
    gains = np.zeros((len(edges.lists.scores), len(CONVENTIONS), len(DEPTHS)))
    for column, convention in enumerate(CONVENTIONS):
        copied = each if convention == "unique_text" else copies
        relevant = weights[runs.order, column].astype(np.int64)
        other = np.cumsum(copied[edges.item[runs.order]] - relevant)
        before = np.concatenate([[0], other])[runs.first]
        ahead = np.cumsum(relevant) - relevant
        start = _listed(edges, runs.order, copied) + (other[runs.last_tied] - before)
        start = start + ahead - ahead[runs.first]
        gains[:, column] = _sums(line, discounted(start, relevant), len(gains))
    return gains


def images_at_least(edges: ScoredEdges) -> Int[np.ndarray, " e"]:
    """How many images, the edge's own among them, its text finds at least as near."""
    column = runs_of(edges.line, edges.score)
    at_least = _listed(edges, np.arange(len(edges.line)), None)
    at_least[column.order] += column.last_tied - column.first + 1
    return at_least


def text_gains(
    segments: Segments, scores: Float[np.ndarray, " e"], at_least: Int[np.ndarray, " e"]
) -> Float[np.ndarray, "segments depths"]:
    """DCG of the text queries of every segment.

    Args:
        segments: which edges each has.
        scores: of all edges.
        at_least: `images_at_least` of all edges.
    """
    ends = np.searchsorted(segments.segment, np.arange(segments.segment[-1] + 1), side="right")
    gains = np.empty((len(ends), len(DEPTHS)))
    begin = 0
    while begin < len(gains):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + CHUNK, side="right")))
        here = slice(done, ends[end - 1])
        edge, line = segments.edge[here], segments.segment[here] - begin
        gains[begin:end] = _text_gains(line, scores[edge], at_least[edge])
        begin = end
    return gains


def _text_gains(line: np.ndarray, scores: np.ndarray, at_least: np.ndarray) -> np.ndarray:
    runs = runs_of(line, scores)
    relevant = runs.last_tied - runs.first + 1
    ahead = np.arange(len(line)) - runs.first
    start = at_least[runs.order] - relevant + ahead
    each = np.ones(len(line), np.int64)
    return _sums(line[runs.order], discounted(start, each), int(line[-1]) + 1)


def with_edges(edges: ScoredEdges) -> TopLists:
    """The lists, in order, with the relevant pairs put in, cut to the same depth.

    Of equal scores what is relevant to nothing comes first.
    """
    lists, depth = edges.lists, edges.lists.scores.shape[1]
    runs = runs_of(edges.line, edges.score)
    within = np.arange(len(edges.line)) - runs.first
    near = runs.order[within < depth]
    most = int(np.minimum(within, depth - 1).max(initial=-1)) + 1
    scores = np.full((len(lists.scores), depth + most), -np.inf, lists.scores.dtype)
    items = np.full(scores.shape, -1, np.int32)
    scores[:, :depth], items[:, :depth] = lists.scores, lists.items
    slot = (edges.line[near], depth + within[within < depth])
    scores[slot], items[slot] = edges.score[near], edges.item[near]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    return TopLists(
        np.take_along_axis(scores, order, axis=1),
        np.take_along_axis(items, order, axis=1),
        lists.floor,
    )


def label_hits(
    scores: Float[np.ndarray, "m depth"],
    shares: Bool[np.ndarray, "m depth"],
    copies: Int[np.ndarray, "m depth"],
) -> Int[np.ndarray, "m depths"]:
    """Candidates in the top K of each list of falling `scores` that share a label.

    Among equal scores those that share none come first. Where a tie crosses the end of the list
    none of its candidates counts, since more of them may stand outside.
    """
    complete = (scores > scores[:, -1:]) & shares
    order = np.lexsort((shares, -scores), axis=1)
    copies = np.take_along_axis(copies, order, axis=1)
    counted = np.take_along_axis(complete, order, axis=1)
    end = np.cumsum(copies, axis=1)
    hits = [
        (counted * (np.minimum(end, k) - np.minimum(end - copies, k))).sum(axis=1) for k in DEPTHS
    ]
    return np.stack(hits, axis=1)
