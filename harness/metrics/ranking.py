"""Exact ranks of a retrieval pool: both directions, all conventions, one pass over the scores."""

from collections.abc import Mapping

import numpy as np

from harness.metrics.filling import (
    blank_outcomes,
    close_images,
    close_texts,
    fill_ranks,
    fill_relevant,
    fill_text_gains,
)
from harness.metrics.ordered import Ordered, ordered
from harness.metrics.passes import first_pass, second_pass
from harness.metrics.pool import CONVENTIONS, RetrievalPool
from harness.metrics.retrieval import DIRECTIONS, RetrievalOutcomes, no_outcomes
from harness.metrics.tiles import Embeddings, ScoreBlocks, scores_of

__all__ = ["Embeddings", "ScoreBlocks", "rank_pairs"]


def rank_pairs(
    pool: RetrievalPool, source: Embeddings | ScoreBlocks
) -> Mapping[str, RetrievalOutcomes]:
    """Outcomes by direction, queries in the order of `pool.queries`.

    rank = 1 + the candidates not relevant whose similarity is >= that of the best relevant one.
    Identical texts are one column of scores, so they tie exactly. Beside the inputs it needs some
    25 MB of tiles, 0.8 kB per query, of which two thirds are the outcomes, and 90 bytes per
    relevant pair of image and unique text.

    Args:
        pool: who belongs to whom.
        source: embeddings of the pool's images and of its unique texts; or a callable that gives
            the scores of a slice of images against all unique texts, asked once per slice.

    Raises:
        ValueError: a score or an embedding is NaN or infinite (which side, how many), or shapes
            do not fit the pool.
    """
    order = ordered(pool)
    scores = scores_of(source, order.rows, order.texts)
    n, m = len(pool.study), len(pool.queries)
    if not m:
        return {direction: no_outcomes(direction) for direction in DIRECTIONS}
    found = first_pass(order.pool, order.relations, scores)
    to_text = blank_outcomes(DIRECTIONS[0], order, scores.dtype, (m, m, m, pool.texts))
    to_image = blank_outcomes(DIRECTIONS[1], order, scores.dtype, (n, n, n, n))
    fill_relevant(order, to_text, to_image)
    at_least = np.empty(len(found.edge_scores), np.int32)
    second_pass(
        found,
        close_images(order, found.edge_scores, to_text),
        close_texts(order, found.edge_scores, to_image, at_least),
    )
    fill_ranks(order, found.images, (found.pairs,) * 3 + (found.unique,), to_text)
    fill_ranks(order, found.texts, (found.seen_images,) * 4, to_image)
    edge_scores = found.edge_scores
    del found, scores  # much of the memory at this point
    fill_text_gains(order, edge_scores, at_least, to_image)
    _ask_each_text_once(order, to_image)
    return {DIRECTIONS[0]: to_text, DIRECTIONS[1]: to_image}


def _ask_each_text_once(order: Ordered, outcomes: RetrievalOutcomes) -> None:
    """Under `unique_text`, a text that has been asked asks no more."""
    texts = order.pool.text[order.pool.queries]
    again = order.query[1:][texts[1:] == texts[:-1]]
    column = CONVENTIONS.index("unique_text")
    for values in (outcomes.ranks, outcomes.tied, outcomes.dcg):
        values[again, column] = 0
