"""Exact ranks of a retrieval pool, both directions and all conventions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from harness.metrics.pool import RetrievalPool
from harness.metrics.retrieval import DEPTHS, TOP, RetrievalOutcomes


@dataclass(frozen=True)
class Embeddings:
    """Unit rows: one per image of the pool, one per unique text."""

    images: Float[np.ndarray, "n d"]
    texts: Float[np.ndarray, "u d"]


ScoreBlocks: TypeAlias = Callable[[slice], np.ndarray]  # rows of images -> (rows, unique texts)


def rank_pairs(
    pool: RetrievalPool, source: Embeddings | ScoreBlocks
) -> Mapping[str, RetrievalOutcomes]:
    """Outcomes by direction."""
    n, u, queries = len(pool.study), pool.texts, pool.queries
    if isinstance(source, Embeddings):
        scores = source.images @ source.texts.T
    else:
        scores = source(slice(0, n))
    pairs = scores[:, pool.text[queries]] if n else np.zeros((0, 0))
    study = pool.study[:, None] == pool.study[queries]
    group = (pool.group[:, None] == pool.group[queries]) & (pool.group[queries] >= 0)
    own = np.arange(n)[:, None] == queries
    bears = pool.text[:, None] == pool.text[queries]
    masks = [own, study, study | group, bears]
    image = [_column(pairs[queries], mask[queries]) for mask in masks[:3]]
    image.append(_column(scores[queries], np.arange(u) == pool.text[queries][:, None]))
    first = np.zeros(len(queries), bool)
    first[np.unique(pool.text[queries], return_index=True)[1]] = True
    text = [_column(pairs.T, mask.T) for mask in masks]
    text[3] = tuple(np.where(first, c, 0) for c in text[3][:3]) + (text[3][3] * first[:, None],)
    bearer = queries[np.unique(pool.text[queries], return_index=True)[1]]
    return {
        "image_to_text": _outcomes(
            "image_to_text", pool, image, scores[queries], bearer, (len(queries),) * 3 + (u,)
        ),
        "text_to_image": _outcomes("text_to_image", pool, text, pairs.T, np.arange(n), (n,) * 4),
    }


def _column(scores: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, ...]:
    best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    rank = 1 + ((scores >= best) & ~relevant).sum(axis=1)
    tied = ((scores == best) & ~relevant).any(axis=1)
    order = np.lexsort((relevant, -scores), axis=1)
    gain = np.take_along_axis(relevant, order, axis=1) / np.log2(2 + np.arange(scores.shape[1]))
    dcg = np.stack([gain[:, :k].sum(axis=1) for k in DEPTHS], axis=1)
    return rank, tied, relevant.sum(axis=1), dcg


def _outcomes(direction, pool, columns, scores, rows, candidates):  # type: ignore[no-untyped-def]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    pad = ((0, 0), (0, TOP - order.shape[1]))
    return RetrievalOutcomes(
        direction=direction,
        patients=pool.patient[pool.queries],
        ranks=np.stack([c[0] for c in columns], axis=1),
        tied=np.stack([c[1] for c in columns], axis=1).astype(bool),
        relevant=np.stack([c[2] for c in columns], axis=1),
        dcg=np.stack([c[3] for c in columns], axis=1),
        label_hits=None,
        top=np.pad(rows[order], pad, constant_values=-1),
        top_scores=np.pad(np.take_along_axis(scores, order, axis=1), pad, constant_values=np.nan),
        candidates=candidates,
    )
