"""Exact ranks of a retrieval pool: both directions, all conventions, one pass over the scores."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from harness.metrics.counting import Counts
from harness.metrics.gains import image_gains, label_hits, text_gains, with_edges
from harness.metrics.passes import Found, Standing, find
from harness.metrics.pool import CONVENTIONS, RetrievalPool
from harness.metrics.relations import Relations, relations_of
from harness.metrics.retrieval import DIRECTIONS, TOP, RetrievalOutcomes, no_outcomes
from harness.metrics.tiles import Embeddings, ScoreBlocks, scores_of
from harness.metrics.toplists import TopLists

__all__ = ["Embeddings", "ScoreBlocks", "rank_pairs"]

LABEL_CHUNK = 2048


@dataclass(frozen=True)
class _Ordered:
    """The pool as it is ranked, and the way back to the rows as they were given."""

    given: RetrievalPool
    pool: RetrievalPool
    relations: Relations
    rows: Int[np.ndarray, " n"]  # given row of each ordered row
    texts: Int[np.ndarray, " u"]  # given text of each ordered text
    bearer: Int[np.ndarray, " u"]  # given row that bears each ordered text first


def _ordered(given: RetrievalPool) -> _Ordered:
    """Often borne texts first and images by text: then few tiles hold a relevant pair."""
    copies = np.bincount(given.text[given.queries], minlength=given.texts)
    texts = np.argsort(-copies, kind="stable")
    code = np.full(given.texts + 1, -1)
    code[texts] = np.arange(given.texts)
    text = code[given.text]
    rows = np.argsort(np.where(text < 0, given.texts, text), kind="stable")
    columns = {name: getattr(given, name)[rows] for name in ("study", "patient", "group", "asked")}
    pool = replace(given, text=text[rows], labels=None, **columns)
    first = np.unique(pool.text[pool.queries], return_index=True)[1]
    return _Ordered(given, pool, relations_of(pool), rows, texts, rows[pool.queries[first]])


def _ranks(
    standing: Standing, counts: tuple[Counts, ...]
) -> tuple[Int[np.ndarray, "m 4"], Bool[np.ndarray, "m 4"]]:
    """Rank and tied flag per query and convention: ties stand before the relevant candidate."""
    ranks = np.empty_like(standing.place)
    tied = np.empty(standing.place.shape, bool)
    for c, count in enumerate(counts):
        place, relevant = standing.place[:, c], standing.at_best[:, c]
        ranks[:, c] = 1 + count.at_least[place] - relevant
        tied[:, c] = count.at_least[place] - count.above[place] > relevant
    return ranks, tied


def _label_hits(
    labels: Bool[np.ndarray, "n l"] | None,
    query: Int[np.ndarray, " m"],
    *,
    top: Int[np.ndarray, "m depth"],
    scores: Float[np.ndarray, "m depth"],
    copies: Int[np.ndarray, "m depth"],
) -> Float[np.ndarray, "m depths"] | None:
    """Label hits of queries given by row, from the rows and scores of their lists."""
    if labels is None:
        return None
    parts = []
    for begin in range(0, len(query), LABEL_CHUNK):
        here = slice(begin, begin + LABEL_CHUNK)
        shares = (labels[query[here], None] & labels[top[here]]).any(axis=2) & (top[here] >= 0)
        parts.append(label_hits(scores[here], shares, copies[here]))
    return np.where(labels[query].any(axis=1)[:, None], np.concatenate(parts), np.nan)


@dataclass(frozen=True)
class _Side:
    """One direction before it is put back into the given order of queries."""

    standing: Standing
    counts: tuple[Counts, ...]
    dcg: Float[np.ndarray, "m 4 depths"]
    lists: TopLists  # one per query
    row_of: Int[np.ndarray, " candidates"]  # given row behind each candidate of the lists
    copies: Int[np.ndarray, " candidates"]  # how many candidates each of them stands for
    pool_sizes: tuple[int, int, int, int]


def _taken(lists: TopLists, line: np.ndarray) -> TopLists:
    return TopLists(lists.scores[line], lists.items[line], lists.floor[line])


def _image_side(order: _Ordered, found: Found) -> _Side:
    edges, m = order.relations, len(order.pool.queries)
    lists = with_edges(found.image_lists, edges.row, edges.text, found.edge_scores)
    return _Side(
        standing=found.images,
        counts=(found.pairs, found.pairs, found.pairs, found.unique),
        dcg=image_gains(edges, found.edge_scores, found.image_lists)[order.pool.queries],
        lists=_taken(lists, order.pool.queries),
        row_of=order.bearer,
        copies=edges.copies,
        pool_sizes=(m, m, m, order.pool.texts),
    )


def _text_side(order: _Ordered, found: Found) -> _Side:
    edges, n = order.relations, len(order.rows)
    lists = with_edges(found.text_lists, edges.text, edges.row, found.edge_scores)
    gains = [text_gains(edges, s, found.edge_scores, found.text_lists) for s in edges.segments]
    return _Side(
        standing=found.texts,
        counts=(found.seen_images,) * len(CONVENTIONS),
        dcg=np.stack(gains, axis=1),
        lists=_taken(lists, order.pool.text[order.pool.queries]),
        row_of=order.rows,
        copies=np.ones(n, np.int64),
        pool_sizes=(n, n, n, n),
    )


def _outcomes(direction: str, order: _Ordered, side: _Side, asked: np.ndarray) -> RetrievalOutcomes:
    """One direction, queries in the given order; `asked` masks queries per convention."""
    given, place = order.given, np.empty(len(order.rows), np.int64)
    place[order.rows] = np.arange(len(order.rows))
    back = np.searchsorted(order.pool.queries, place[given.queries])
    ranks, tied = _ranks(side.standing, side.counts)
    items, scores = side.lists.items[back], side.lists.scores[back]
    top = np.where(items >= 0, side.row_of[items], -1)
    return RetrievalOutcomes(
        direction=direction,
        patients=given.patient[given.queries],
        ranks=(ranks * asked)[back],
        tied=(tied & asked)[back],
        relevant=side.standing.relevant[back],
        dcg=(side.dcg * asked[:, :, None])[back],
        label_hits=_label_hits(
            given.labels, given.queries, top=top, scores=scores, copies=side.copies[items]
        ),
        top=top[:, :TOP],
        top_scores=np.where(top >= 0, scores, np.nan)[:, :TOP],
        candidates=side.pool_sizes,
    )


def rank_pairs(
    pool: RetrievalPool, source: Embeddings | ScoreBlocks
) -> Mapping[str, RetrievalOutcomes]:
    """Outcomes by direction, queries in the order of `pool.queries`.

    rank = 1 + the candidates not relevant whose similarity is >= that of the best relevant one.
    Identical texts are one column of scores, so they tie exactly. Beside the inputs it needs some
    20 MB of tiles, up to 4 kB per query for lists, and 16 bytes per relevant pair of image and
    unique text.

    Args:
        pool: who belongs to whom.
        source: embeddings of the pool's images and of its unique texts; or a callable that gives
            the scores of a slice of images against all unique texts, asked once per slice.

    Raises:
        ValueError: a score or an embedding is NaN or infinite (which side, how many), or shapes
            do not fit the pool.
    """
    order = _ordered(pool)
    scores = scores_of(source, order.rows, order.texts)
    if not len(pool.queries):
        return {direction: no_outcomes(direction) for direction in DIRECTIONS}
    found = find(order.pool, order.relations, scores)
    every = np.ones((len(pool.queries), len(CONVENTIONS)), bool)
    once = every.copy()
    texts = order.pool.text[order.pool.queries]
    once[:, CONVENTIONS.index("unique_text")] = np.append(True, texts[1:] != texts[:-1])
    return {
        "image_to_text": _outcomes("image_to_text", order, _image_side(order, found), every),
        "text_to_image": _outcomes("text_to_image", order, _text_side(order, found), once),
    }
