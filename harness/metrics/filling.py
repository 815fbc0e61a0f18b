"""Outcomes of a pool, filled in while its lists and counts become complete.

Queries are ranked in an order of their own (`Ordered`) and written to the place they were given
in, so that nothing is put into order a second time.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from harness.metrics.counting import Counts
from harness.metrics.gains import (
    ScoredEdges,
    image_gains,
    images_at_least,
    label_hits,
    text_gains,
    with_edges,
)
from harness.metrics.ordered import Ordered
from harness.metrics.passes import Close, Standing
from harness.metrics.pool import CONVENTIONS
from harness.metrics.retrieval import DEPTHS, TOP, RetrievalOutcomes
from harness.metrics.toplists import TopLists

LABEL_CHUNK = 2048  # queries whose lists are looked up at once


def blank_outcomes(
    direction: str, order: Ordered, kind: np.dtype, candidates: tuple[int, int, int, int]
) -> RetrievalOutcomes:
    """Room for the outcomes of every query of one direction; `kind` is that of the scores."""
    m, conventions = len(order.query), len(CONVENTIONS)
    labelled = order.given.labels is not None
    return RetrievalOutcomes(
        direction=direction,
        patients=order.given.patient[order.given.queries],
        ranks=np.zeros((m, conventions), np.int32),
        tied=np.zeros((m, conventions), bool),
        relevant=np.zeros((m, conventions), np.int32),
        dcg=np.zeros((m, conventions, len(DEPTHS))),
        label_hits=np.zeros((m, len(DEPTHS))) if labelled else None,
        top=np.zeros((m, TOP), np.int32),
        top_scores=np.zeros((m, TOP), kind),
        candidates=candidates,
    )


@dataclass(frozen=True)
class _Filler:
    """Puts lists into the outcomes of one direction, with what stands behind their items."""

    order: Ordered
    outcomes: RetrievalOutcomes
    row_of: Int[np.ndarray, " candidates"]  # given row behind each candidate
    copies: Int[np.ndarray, " candidates"]  # how many candidates each of them stands for

    def fill(self, lists: TopLists, line: np.ndarray, to: np.ndarray) -> None:
        """The list in each `line` is that of the query given at place `to`."""
        for begin in range(0, len(to), LABEL_CHUNK):
            here = slice(begin, begin + LABEL_CHUNK)
            self._fill(lists.items[line[here]], lists.scores[line[here]], to[here])

    def _fill(self, items: np.ndarray, scores: np.ndarray, to: np.ndarray) -> None:
        top = np.where(items >= 0, self.row_of[items], -1)
        self.outcomes.top[to] = top[:, :TOP]
        self.outcomes.top_scores[to] = np.where(top >= 0, scores, np.nan)[:, :TOP]
        labels, hits = self.order.given.labels, self.outcomes.label_hits
        if labels is not None and hits is not None:
            own = labels[self.order.given.queries[to]]
            shares = (own[:, None] & labels[top]).any(axis=2) & (top >= 0)
            counted = label_hits(scores, shares, self.copies[items])
            hits[to] = np.where(own.any(axis=1)[:, None], counted, np.nan)


def close_images(
    order: Ordered, scores: Float[np.ndarray, " e"], outcomes: RetrievalOutcomes
) -> Close:
    """What to do with the lists of images: their gain, and who is near them."""
    edges, queries = order.relations, order.pool.queries
    by_row = np.argsort(edges.row, kind="stable")
    begin = np.searchsorted(edges.row[by_row], np.arange(len(order.rows) + 1))
    filler = _Filler(order, outcomes, order.bearer, edges.copies)

    def close(span: slice, lists: TopLists) -> None:
        edge = by_row[begin[span.start] : begin[span.stop]]
        line, text = edges.row[edge] - span.start, edges.text[edge]
        scored = ScoredEdges(line, text, scores[edge], lists)
        asked = slice(*np.searchsorted(queries, [span.start, span.stop]))
        line, to = queries[asked] - span.start, order.query[asked]
        outcomes.dcg[to] = image_gains(scored, edges.weights[edge], edges.copies)[line]
        filler.fill(with_edges(scored), line, to)

    return close


def close_texts(
    order: Ordered,
    scores: Float[np.ndarray, " e"],
    outcomes: RetrievalOutcomes,
    at_least: Int[np.ndarray, " e"],
) -> Close:
    """What to do with the lists of texts: who is near them, and `at_least` for each edge."""
    edges, text = order.relations, order.pool.text[order.pool.queries]
    filler = _Filler(order, outcomes, order.rows, np.ones(len(order.rows), np.int8))

    def close(span: slice, lists: TopLists) -> None:
        edge = slice(*np.searchsorted(edges.text, [span.start, span.stop]))
        scored = ScoredEdges(edges.text[edge] - span.start, edges.row[edge], scores[edge], lists)
        at_least[edge] = images_at_least(scored)
        asked = slice(*np.searchsorted(text, [span.start, span.stop]))
        filler.fill(with_edges(scored), text[asked] - span.start, order.query[asked])

    return close


def fill_relevant(order: Ordered, to_text: RetrievalOutcomes, to_image: RetrievalOutcomes) -> None:
    """How many candidates are relevant, in both directions."""
    edges = order.relations
    for c, segments in enumerate(edges.segments):
        texts = np.bincount(edges.row, edges.weights[:, c], len(order.rows))
        to_text.relevant[order.query, c] = texts[order.pool.queries]
        to_image.relevant[order.query, c] = np.bincount(segments.segment)[segments.of_query]


def fill_text_gains(
    order: Ordered,
    scores: Float[np.ndarray, " e"],
    at_least: Int[np.ndarray, " e"],
    outcomes: RetrievalOutcomes,
) -> None:
    """The gain of texts as queries, whose relevant pairs may lie under several texts."""
    for c, segments in enumerate(order.relations.segments):
        gains = text_gains(segments, scores, at_least)
        for k in range(len(DEPTHS)):
            outcomes.dcg[order.query, c, k] = gains[segments.of_query, k]


def fill_ranks(
    order: Ordered, standing: Standing, counts: tuple[Counts, ...], outcomes: RetrievalOutcomes
) -> None:
    """Rank and tied flag per convention: ties stand before the relevant candidate."""
    for c, count in enumerate(counts):
        place, relevant = standing.place[:, c], standing.at_best[:, c]
        outcomes.ranks[order.query, c] = 1 + count.at_least[place] - relevant
        outcomes.tied[order.query, c] = count.at_least[place] - count.above[place] > relevant
