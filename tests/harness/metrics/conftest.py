"""Naive loops that define what the fast code must give, and small builders."""

from dataclasses import dataclass

import numpy as np
import pytest

from harness.metrics.pool import RetrievalPool, pool_of


@dataclass(frozen=True)
class Naive:
    rank: int
    tied: bool
    relevant: int
    dcg: dict[int, float]


def naive_query(scores: list[float], relevant: list[bool]) -> Naive:
    """One query by its definition: candidates that are not relevant go first among equals."""
    best = max(s for s, r in zip(scores, relevant, strict=True) if r)
    others = [s for s, r in zip(scores, relevant, strict=True) if not r]
    order = sorted(zip(scores, relevant, strict=True), key=lambda c: (-c[0], c[1]))
    gains = [r / np.log2(place + 2) for place, (_, r) in enumerate(order)]
    return Naive(
        rank=1 + sum(s >= best for s in others),
        tied=best in others,
        relevant=sum(relevant),
        dcg={k: float(sum(gains[:k])) for k in (1, 5, 10, 20, 40)},
    )


def is_relevant(pool: RetrievalPool, row: int, query: int, convention: str) -> bool:
    """Whether the pair (image of `row`, text of `query`) is relevant, from the protocol's words."""
    study = pool.study[row] == pool.study[query]
    group = pool.group[row] == pool.group[query] and pool.group[row] >= 0
    return {
        "instance": row == query,
        "same_study": study,
        "same_text": study or group,
        "unique_text": pool.text[row] == pool.text[query],
    }[convention]


def naive_image_to_text(pool, scores, convention):
    """One `Naive` per asked row; `scores` is (images, unique texts)."""
    found = []
    for query in pool.queries:
        if convention == "unique_text":
            row = scores[query].tolist()
            relevant = [text == pool.text[query] for text in range(pool.texts)]
        else:
            row = [scores[query, pool.text[j]] for j in pool.queries]
            relevant = [is_relevant(pool, query, j, convention) for j in pool.queries]
        found.append(naive_query(row, [bool(r) for r in relevant]))
    return found


def naive_text_to_image(pool, scores, convention):
    """One `Naive` per asked row, None where the convention has asked this text already."""
    found, asked = [], set()
    for query in pool.queries:
        if convention == "unique_text" and pool.text[query] in asked:
            found.append(None)
            continue
        asked.add(pool.text[query])
        column = scores[:, pool.text[query]].tolist()
        relevant = [is_relevant(pool, i, query, convention) for i in range(len(pool.study))]
        found.append(naive_query(column, [bool(r) for r in relevant]))
    return found


@pytest.fixture(scope="session")
def naive():
    """The naive loops, by direction."""
    return {"image_to_text": naive_image_to_text, "text_to_image": naive_text_to_image}


@pytest.fixture(scope="session")
def random_pool():
    """A pool with repeated texts, shared studies, text groups, labels and distractors."""

    def build(n: int, seed: int, *, groups: bool = True) -> RetrievalPool:
        rng = np.random.default_rng(seed)
        asked = rng.random(n) < 0.8
        asked[0] = True
        studies = [f"s{v}" for v in rng.integers(0, max(1, n // 2), n)]
        named = [f"g{v}" if v < 3 and groups else "" for v in rng.integers(0, 6, n)]
        pool, _ = pool_of(
            studies=studies,
            patients=[f"p{s}" for s in studies],
            texts=[f"t{v}" for v in rng.integers(0, max(1, n // 3), n)],
            groups=named,
            asked=asked.tolist(),
            labels=rng.random((n, 4)) < 0.3,
        )
        return pool

    return build


@pytest.fixture(scope="session")
def plain_pool():
    """A pool of n images of n patients with n different texts, or the texts given."""

    def build(n: int, texts: list[str] | None = None) -> RetrievalPool:
        names = [str(i) for i in range(n)]
        pool, _ = pool_of(studies=names, patients=names, texts=texts or names)
        return pool

    return build
