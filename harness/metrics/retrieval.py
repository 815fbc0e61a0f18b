"""Ranks and what is computed from them: Recall@K, MRR, median and mean rank, nDCG, precision@K."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from harness.metrics.metric import Metric, mean, weighted_median
from harness.metrics.pool import CONVENTIONS

DIRECTIONS = ("image_to_text", "text_to_image")
RECALL_AT = (1, 5, 10, 20, 40)
DEPTHS = (1, 5, 10, 20, 40)  # K of DCG and label hits; the last is how deep lists are kept
TOP = 10  # candidates kept by name
NDCG_AT = 10
LABELS_AT = (1, 5, 10)

# GAIN[k] = sum of 1 / log2(1 + r) over the ranks r = 1..k: the DCG of k relevant ones in front
GAIN = np.concatenate([[0.0], np.cumsum(1 / np.log2(1 + np.arange(1, DEPTHS[-1] + 1)))])


@dataclass(frozen=True)
class RankedQueries:
    """The queries of one direction under one convention; what retrieval metrics take.

    `rank` is 0 where the convention does not ask the query (a repeated text under `unique_text`).
    `listed` are the candidates among which label hits were counted, None for `candidates`: texts
    that `unique_text` merges stand there as often as they are asked.
    """

    patients: Int[np.ndarray, " m"]
    rank: Int[np.ndarray, " m"]
    tied: Bool[np.ndarray, " m"]
    relevant: Int[np.ndarray, " m"]
    dcg: Float[np.ndarray, "m depths"]
    label_hits: Float[np.ndarray, "m depths"] | None
    candidates: int
    listed: int | None = None


@dataclass(frozen=True)
class RetrievalOutcomes:
    """All queries of one direction, under every convention (columns in order of `CONVENTIONS`).

    Attributes:
        direction: ``image_to_text`` or ``text_to_image``.
        patients: patient code of the query.
        ranks: 1 is best; 0 where the convention does not ask the query.
        tied: whether a candidate that is not relevant scores exactly as the best relevant one.
        relevant: number of relevant candidates.
        dcg: discounted cumulative gain at each of `DEPTHS`, gain 1 for a relevant candidate.
        label_hits: candidates in the top K that share a label with the query, NaN where it has
            none; None without labels. The same under all conventions, `instance`'s candidates.
        top: row (of the pool) of the best candidates, best first, -1 where there are fewer; a
            text stands under the first row that bears it, once.
        top_scores: their similarities, NaN where there are fewer.
        candidates: size of the pool ranked, per convention.
    """

    direction: str
    patients: Int[np.ndarray, " m"]
    ranks: Int[np.ndarray, "m 4"]
    tied: Bool[np.ndarray, "m 4"]
    relevant: Int[np.ndarray, "m 4"]
    dcg: Float[np.ndarray, "m 4 depths"]
    label_hits: Float[np.ndarray, "m depths"] | None
    top: Int[np.ndarray, "m top"]
    top_scores: Float[np.ndarray, "m top"]
    candidates: tuple[int, int, int, int]

    def under(self, convention: str) -> RankedQueries:
        """The queries under one convention, ready for the metrics of `RETRIEVAL_METRICS`."""
        column = CONVENTIONS.index(convention)
        return RankedQueries(
            patients=self.patients,
            rank=self.ranks[:, column],
            tied=self.tied[:, column],
            relevant=self.relevant[:, column],
            dcg=self.dcg[:, column],
            label_hits=self.label_hits,
            candidates=self.candidates[column],
            listed=self.candidates[CONVENTIONS.index("instance")],
        )


def no_outcomes(direction: str) -> RetrievalOutcomes:
    """The outcomes of a pool that asks nothing."""
    depths = len(DEPTHS)
    return RetrievalOutcomes(
        direction=direction,
        patients=np.zeros(0, np.int64),
        ranks=np.zeros((0, 4), np.int32),
        tied=np.zeros((0, 4), bool),
        relevant=np.zeros((0, 4), np.int32),
        dcg=np.zeros((0, 4, depths)),
        label_hits=None,
        top=np.zeros((0, TOP), np.int32),
        top_scores=np.zeros((0, TOP)),
        candidates=(0, 0, 0, 0),
    )


def _asked(queries: RankedQueries, values: np.ndarray) -> np.ndarray:
    return np.where(queries.rank > 0, np.asarray(values, np.float64), np.nan)[:, None]


def _recall(k: int) -> Metric:
    return Metric(
        name=f"recall@{k}",
        contribute=lambda queries: _asked(queries, queries.rank <= k),
        reduce=mean,
        definition=f"Share of queries with a relevant candidate in the top {k}; ties count "
        "against the model.",
    )


def reciprocal_rank(queries: RankedQueries) -> np.ndarray:
    """1 / rank of the best relevant candidate, (m, 1)."""
    return _asked(queries, 1 / np.maximum(queries.rank, 1))


def _rank(queries: RankedQueries) -> np.ndarray:
    return _asked(queries, queries.rank)


def _tied(queries: RankedQueries) -> np.ndarray:
    return _asked(queries, queries.tied)


MRR = Metric("mrr", reciprocal_rank, mean, "Mean of 1 / rank of the best relevant candidate.")
MEDIAN_RANK = Metric(
    "median_rank",
    _rank,
    weighted_median,
    "Median rank of the best relevant candidate.",
    False,
    bounded=False,
)
MEAN_RANK = Metric(
    "mean_rank", _rank, mean, "Mean rank of the best relevant candidate.", False, bounded=False
)
TIED = Metric(
    "tied_queries",
    _tied,
    mean,
    "Share of queries where a candidate that is not relevant ties with the best relevant one.",
    False,
)


def ndcg_rows(queries: RankedQueries) -> np.ndarray:
    """DCG at 10 over that of a perfect order, (m, 1); gain 1 for every relevant candidate."""
    ideal = GAIN[np.clip(queries.relevant, 1, NDCG_AT)]
    return _asked(queries, queries.dcg[:, DEPTHS.index(NDCG_AT)] / ideal)


def _label_precision(k: int) -> Metric:
    def rows(queries: RankedQueries) -> np.ndarray:
        if queries.label_hits is None:
            return np.full((len(queries.rank), 1), np.nan)
        hits = queries.label_hits[:, DEPTHS.index(k)]
        pool = queries.candidates if queries.listed is None else queries.listed
        return _asked(queries, hits / max(1, min(k, pool)))

    return Metric(
        name=f"label_precision@{k}",
        contribute=rows,
        reduce=mean,
        definition=f"Mean share of the top {k} that has a label in common with the query; "
        "queries without a label are left out.",
        needs="labels",
    )


NDCG = Metric(
    f"ndcg@{NDCG_AT}",
    ndcg_rows,
    mean,
    f"Mean over queries of the discounted gain of relevant candidates in the top {NDCG_AT}, as a "
    "share of the best possible.",
)

RETRIEVAL_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in [
        *map(_recall, RECALL_AT),
        MRR,
        MEDIAN_RANK,
        MEAN_RANK,
        NDCG,
        *map(_label_precision, LABELS_AT),
        TIED,
    ]
}
