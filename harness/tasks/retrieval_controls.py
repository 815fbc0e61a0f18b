"""Ranks of controls that score from the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.metrics.pool import CONVENTIONS, RetrievalPool
from harness.metrics.ranking import rank_pairs
from harness.metrics.retrieval import RetrievalOutcomes
from harness.models import PoolScorer
from harness.samples import ImageText

_UNIQUE = CONVENTIONS.index("unique_text")


def rank_control(
    control: PoolScorer, samples: Sequence[ImageText], pool: RetrievalPool, bearers: Sequence[int]
) -> Mapping[str, RetrievalOutcomes]:
    """The control's outcomes by direction.

    One that tells texts of one wording apart is ranked over a pool in which each asked text is a
    candidate of its own; under ``unique_text`` it is then asked and counted as everybody is.
    """
    block = control.score_pool(samples)
    place = {int(row): column for column, row in enumerate(pool.queries)}
    if not control.tells_texts_apart:
        columns = np.array([place[row] for row in bearers], np.int64)
        return rank_pairs(pool, lambda rows: block(rows, slice(None))[:, columns])
    apart = np.full(len(pool.text), -1, np.int64)
    apart[pool.queries] = np.arange(len(pool.queries))
    ranked = rank_pairs(replace(pool, text=apart), lambda rows: block(rows, slice(None)))
    return {name: _as_everybody(outcomes, pool) for name, outcomes in ranked.items()}


def _as_everybody(outcomes: RetrievalOutcomes, pool: RetrievalPool) -> RetrievalOutcomes:
    if outcomes.direction == "image_to_text":
        instance, study, text, _ = outcomes.candidates
        return replace(outcomes, candidates=(instance, study, text, pool.texts))
    repeated = np.ones(len(pool.queries), bool)
    repeated[np.unique(pool.text[pool.queries], return_index=True)[1]] = False
    ranks, tied = outcomes.ranks.copy(), outcomes.tied.copy()
    ranks[repeated, _UNIQUE] = 0
    tied[repeated, _UNIQUE] = False
    return replace(outcomes, ranks=ranks, tied=tied)
