"""Chance, computed from the pool: nothing is asked and nothing is drawn."""

from collections.abc import Sequence
from fractions import Fraction
from math import comb

import numpy as np

from harness.metrics.pool import RetrievalPool
from harness.metrics.retrieval import DIRECTIONS, RECALL_AT
from harness.record import Score


def chance_recall(candidates: int, relevant: np.ndarray, k: int) -> float:
    """The mean over queries of 1 - C(N-m, K) / C(N, K), m the query's relevant candidates.

    That is the probability that a random ranking has one of them in its top K (protocol, section
    2); 1 where K reaches all that is not relevant. Exact: computed in integers, rounded once.

    >>> chance_recall(10, np.array([1, 1]), 1)
    0.1
    """
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
            candidates, relevant, patients = relevant_counts(pool, direction, convention)
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


def relevant_counts(
    pool: RetrievalPool, direction: str, convention: str
) -> tuple[int, np.ndarray, int]:
    """Candidates, relevant ones per query, and patients, counted without a score."""
    asked = pool.queries
    if convention == "unique_text" and direction == "image_to_text":
        return pool.texts, np.ones(len(asked), int), len(np.unique(pool.patient[asked]))
    candidates = asked if direction == "image_to_text" else np.arange(len(pool.study))
    if convention == "unique_text":
        asked = asked[np.unique(pool.text[asked], return_index=True)[1]]
    counts = _counts(pool, asked, candidates, convention)
    return len(candidates), counts, len(np.unique(pool.patient[asked]))


def _counts(
    pool: RetrievalPool, asked: np.ndarray, candidates: np.ndarray, convention: str
) -> np.ndarray:
    if convention == "instance":
        return np.ones(len(asked), int)
    if convention == "unique_text":
        return _equal(pool.text, asked, candidates)
    same_study = _equal(pool.study, asked, candidates)
    if convention == "same_study":
        return same_study
    grouped = pool.group >= 0
    same_group = _equal(np.where(grouped, pool.group, -1), asked, candidates[grouped[candidates]])
    both = pool.study.astype(np.int64) * (int(pool.group.max(initial=-1)) + 2) + pool.group + 1
    same_both = _equal(both, asked, candidates[grouped[candidates]])
    return same_study + np.where(grouped[asked], same_group - same_both, 0)


def _equal(codes: np.ndarray, asked: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """For each asked row, how many candidates have its code."""
    values, index = np.unique(codes, return_inverse=True)
    counts = np.bincount(index[candidates], minlength=len(values))
    return np.asarray(counts[index[asked]])
