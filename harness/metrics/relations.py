"""Which image-text pairs are relevant, and under which convention: sparse, before any score.

An *edge* joins an image row and a unique text if at least one convention calls them relevant. All
else in a pool is irrelevant to everything, which is what makes ranking by blocks cheap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

from harness.metrics.pool import RetrievalPool


@dataclass(frozen=True)
class Segments:
    """The relevant images of each text query under one convention.

    Query q's relevant edges are the entries whose `segment` is ``of_query[q]``; queries that share
    a text and what is relevant share a segment. Sorted by segment.
    """

    of_query: Int[np.ndarray, " m"]
    segment: Int[np.ndarray, " k"]
    edge: Int[np.ndarray, " k"]


@dataclass(frozen=True)
class Relations:
    """The edges of a pool, sorted by (text, image).

    Attributes:
        row: image row of the edge.
        text: unique text of the edge.
        weights: for the image as query, how many of the candidates that bear this text are
            relevant, per convention.
        copies: how many asked rows bear each unique text: the candidates it stands for.
        segments: for the text as query, per convention.
    """

    row: Int[np.ndarray, " e"]
    text: Int[np.ndarray, " e"]
    weights: Int[np.ndarray, "e 4"]
    copies: Int[np.ndarray, " u"]
    segments: tuple[Segments, Segments, Segments, Segments]


# per convention: segment of each query; then of each entry its segment, its image row, its text
_Part: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _small(*columns: np.ndarray) -> _Part:
    """Numbers of rows in half the memory: two billion of them would need 150 GB anyway."""
    a, b, c, d = (column.astype(np.int32) for column in columns)
    return a, b, c, d


def join(
    wanted: Int[np.ndarray, " s"], keys: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """All (index into `wanted`, index into `keys`) with equal values >= 0.

    >>> join(np.array([7, -1, 5]), np.array([5, 7, 7, -1]))
    (array([0, 0, 2]), array([1, 2, 0]))
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begin = np.searchsorted(ordered, wanted, side="left")
    end = np.searchsorted(ordered, wanted, side="right")
    counts = np.where(wanted >= 0, end - begin, 0)
    left = np.repeat(np.arange(len(wanted)), counts)
    within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    return left, order[np.repeat(begin, counts) + within]


def _study_within_group(pool: RetrievalPool) -> np.ndarray:
    """Per row: whether every row of its study has its text group, (n,) bool."""
    size = pool.study.max(initial=-1) + 1
    low = np.full(size, np.iinfo(np.int64).max)
    high = np.full(size, -1)
    np.minimum.at(low, pool.study, pool.group)
    np.maximum.at(high, pool.study, pool.group)
    return np.asarray((low == high)[pool.study] & (pool.group >= 0))


def _merged(columns: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rows (>= -1) that agree in all columns get one code: the first row of each code, and all."""
    first = code = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        key = code * (int(column.max(initial=-1)) + 2) + column + 1
        _, first, code = np.unique(key, return_index=True, return_inverse=True)
    return first, code


def _segments(pool: RetrievalPool, study: np.ndarray, group: np.ndarray, text: np.ndarray) -> _Part:
    """Queries merged by (study, group, text); then the rows of that study or that group."""
    first, of_query = _merged([study, group, text])
    by_study = join(study[first], pool.study)
    by_group = join(group[first], pool.group)
    n = len(pool.study)
    pairs = np.concatenate([by_study[0] * n + by_study[1], by_group[0] * n + by_group[1]])
    segment, row = np.divmod(np.unique(pairs), max(n, 1))
    return _small(of_query, segment, row, text[first][segment])


def _text_segments(pool: RetrievalPool) -> list[_Part]:
    rows = pool.queries
    study, group, text = pool.study[rows], pool.group[rows], pool.text[rows]
    nobody = np.full(len(rows), -1)
    # The union of a study and a group that holds it is the group: one segment for all its studies.
    outer = np.where(_study_within_group(pool)[rows], -1, study)
    bears, bearer = join(np.arange(pool.texts), pool.text)
    return [
        _small(np.arange(len(rows)), np.arange(len(rows)), rows, text),
        _segments(pool, study, nobody, text),
        _segments(pool, outer, group, text),
        _small(text, bears, bearer, bears),
    ]


def _occurrences(keys: np.ndarray, of: np.ndarray) -> np.ndarray:
    """How often each value of `of` occurs in `keys`."""
    known, counts = np.unique(keys, return_counts=True)
    if not len(known):
        return np.zeros(len(of), np.int64)
    place = np.minimum(np.searchsorted(known, of), len(known) - 1)
    return np.where(known[place] == of, counts[place], 0)


def _image_weights(pool: RetrievalPool, row: np.ndarray, text: np.ndarray) -> np.ndarray:
    rows, u = pool.queries, max(pool.texts, 1)
    _, both = _merged([pool.study, pool.group])
    own = (pool.text[row] == text) & pool.asked[row]

    def shared(key: np.ndarray) -> np.ndarray:
        return _occurrences(key[rows] * u + pool.text[rows], key[row] * u + text)

    study = shared(pool.study)
    grouped = pool.group[row] >= 0
    union = study + grouped * (shared(pool.group) - shared(both))
    return np.stack([own, study, union, own], axis=1).astype(np.int32)


def relations_of(pool: RetrievalPool) -> Relations:
    """Every edge of the pool with what each convention makes of it."""
    n = max(len(pool.study), 1)
    parts = _text_segments(pool)
    keys = [text.astype(np.int64) * n + row for _, _, row, text in parts]
    edges = np.unique(np.concatenate(keys))
    text, row = np.divmod(edges, n)
    segments = [
        Segments(of_query, segment, np.searchsorted(edges, key).astype(np.int32))
        for (of_query, segment, _, _), key in zip(parts, keys, strict=True)
    ]
    return Relations(
        row=row.astype(np.int32),
        text=text.astype(np.int32),
        weights=_image_weights(pool, row, text),
        copies=np.bincount(pool.text[pool.queries], minlength=pool.texts),
        segments=(segments[0], segments[1], segments[2], segments[3]),
    )
