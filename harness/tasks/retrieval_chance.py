"""Chance, computed from the pool: nothing is asked and nothing is drawn."""

from collections.abc import Sequence
from fractions import Fraction
from math import comb

import numpy as np

from harness.metrics.pool import CONVENTIONS, RetrievalPool
from harness.metrics.retrieval import DIRECTIONS, RECALL_AT
from harness.record import Score


def chance_recall(candidates: int, relevant: np.ndarray, k: int) -> float:
    """The mean over queries of 1 - C(N-m, K) / C(N, K), m the query's relevant candidates.

    That is the probability that a random ranking has one of them in its top K (protocol, section
    2); 1 where K reaches all that is not relevant. Exact: computed in integers, rounded once.

    >>> chance_recall(10, np.array([1, 1]), 1)
    0.1
    """
    others = candidates - relevant
    k = min(k, candidates)
    every = comb(candidates, k)
    values, counts = np.unique(relevant, return_counts=True)
    hits = sum(
        int(count) * (every - comb(candidates - int(m), k))
        for m, count in zip(values, counts, strict=True)
    )
    return float(Fraction(hits, every * len(relevant)))


def chance_scores(pool: RetrievalPool, conventions: Sequence[str]) -> list[Score]:
    """Recall@K of chance per direction and convention; exact, so without an interval."""
    scores = []
    for direction in DIRECTIONS:
        for convention in conventions:
            candidates, relevant, patients = _relevant(pool, direction, convention)
            scores += [
                Score(
                    metric=f"recall@{k}",
                    direction=direction,
                    relevance=convention,
                    value=chance_recall(candidates, relevant, k),
                    n=len(relevant),
                    patients=patients,
                    pool=candidates,
                )
                for k in RECALL_AT
            ]
    return scores


def _relevant(pool: RetrievalPool, direction: str, convention: str) -> tuple[int, np.ndarray, int]:
    """Candidates, relevant ones per query, and patients, counted without a score."""
    queries = pool.queries
    to_text = direction == "image_to_text"
    rows = queries if to_text else np.arange(len(pool.study))
    asked = queries
    if convention == "unique_text":
        if to_text:
            return pool.texts, np.ones(len(queries), int), len(np.unique(pool.patient[queries]))
        asked = queries[np.unique(pool.text[queries], return_index=True)[1]]
    counts = np.array([_count(pool, query, rows, convention) for query in asked])
    return len(rows), counts, len(np.unique(pool.patient[asked]))


def _count(pool: RetrievalPool, query: int, rows: np.ndarray, convention: str) -> int:
    if convention == CONVENTIONS[0]:
        return 1
    if convention == "unique_text":
        return int((pool.text[rows] == pool.text[query]).sum())
    same = pool.study[rows] == pool.study[query]
    if convention == "same_text" and pool.group[query] >= 0:
        same = same | (pool.group[rows] == pool.group[query])
    return int(same.sum())
