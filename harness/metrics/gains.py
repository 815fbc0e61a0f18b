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
from harness.metrics.relations import Relations, Segments
from harness.metrics.retrieval import DEPTHS, GAIN
from harness.metrics.toplists import TopLists

LIST = DEPTHS[-1] + 1  # one more than the deepest K shows whether a tie crosses its border
CHUNK = 1 << 16


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


def _listed(
    lists: TopLists, line: np.ndarray, score: np.ndarray, weight: np.ndarray | None
) -> Int[np.ndarray, " e"]:
    """How many listed candidates (or how much of `weight`) score at least `score`."""
    total = np.zeros(len(line), np.int64)
    for begin in range(0, len(line), CHUNK):
        here = slice(begin, begin + CHUNK)
        ahead = lists.scores[line[here]] >= score[here, None]
        parts = ahead if weight is None else ahead * weight[lists.items[line[here]]]
        total[here] = parts.sum(axis=1)
    return total


def _sums(line: np.ndarray, values: np.ndarray, lines: int) -> np.ndarray:
    columns = [np.bincount(line, values[:, k], minlength=lines) for k in range(values.shape[1])]
    return np.stack(columns, axis=1)


def image_gains(
    relations: Relations, scores: Float[np.ndarray, " e"], lists: TopLists
) -> Float[np.ndarray, "n 4 depths"]:
    """DCG of every image as a query, per convention."""
    runs = runs_of(relations.row, scores)
    row, score = relations.row[runs.order], scores[runs.order]
    each = np.ones(len(relations.copies), np.int64)
    gains = np.zeros((len(lists.scores), len(CONVENTIONS), len(DEPTHS)))
    for column, convention in enumerate(CONVENTIONS):
        copies = each if convention == "unique_text" else relations.copies
        relevant = relations.weights[runs.order, column]
        other = np.cumsum(copies[relations.text[runs.order]] - relevant)
        before = np.concatenate([[0], other])[runs.first]
        ahead = np.cumsum(relevant) - relevant
        start = _listed(lists, row, score, copies) + (other[runs.last_tied] - before)
        start = start + ahead - ahead[runs.first]
        gains[:, column] = _sums(row, discounted(start, relevant), len(gains))
    return gains


def text_gains(
    relations: Relations, segments: Segments, scores: Float[np.ndarray, " e"], lists: TopLists
) -> Float[np.ndarray, "m depths"]:
    """DCG of every text query under the convention of `segments`."""
    column = runs_of(relations.text, scores)
    at_least = np.empty(len(scores), np.int64)
    at_least[column.order] = column.last_tied - column.first + 1
    at_least += _listed(lists, relations.text, scores, None)
    runs = runs_of(segments.segment, scores[segments.edge])
    relevant = runs.last_tied - runs.first + 1
    ahead = np.arange(len(runs.order)) - runs.first
    start = at_least[segments.edge[runs.order]] - relevant + ahead
    gains = discounted(start, np.ones(len(start), np.int64))
    total = int(segments.segment.max(initial=-1)) + 1
    return np.asarray(_sums(segments.segment[runs.order], gains, total)[segments.of_query])


def with_edges(lists: TopLists, line: np.ndarray, item: np.ndarray, score: np.ndarray) -> TopLists:
    """The lists, in order, with the relevant pairs put in, cut to the same depth.

    Of equal scores what is relevant to nothing comes first.
    """
    depth = lists.scores.shape[1]
    runs = runs_of(line, score)
    within = np.arange(len(line)) - runs.first
    near = runs.order[within < depth]
    most = int(np.minimum(within, depth - 1).max(initial=-1)) + 1
    scores = np.full((len(lists.scores), depth + most), -np.inf, lists.scores.dtype)
    items = np.full(scores.shape, -1, np.int32)
    scores[:, :depth], items[:, :depth] = lists.scores, lists.items
    slot = (line[near], depth + within[within < depth])
    scores[slot], items[slot] = score[near], item[near]
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
