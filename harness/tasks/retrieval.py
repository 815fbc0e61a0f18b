"""Image-text retrieval: which report belongs to this image, and which image to this report?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.images import Image
from harness.metrics.bootstrap import score
from harness.metrics.pool import CONVENTIONS, RetrievalPool, pool_of
from harness.metrics.ranking import Embeddings, rank_pairs
from harness.metrics.retrieval import (
    DIRECTIONS,
    RETRIEVAL_METRICS,
    RankedQueries,
    RetrievalOutcomes,
)
from harness.models import (
    AnalyticChance,
    EmbeddingModel,
    NotScorable,
    PairScorer,
    PoolScorer,
    Shuffled,
)
from harness.record import Score
from harness.samples import Dataset, ImageRef, ImageText
from harness.tasks.embedding import (
    as_image,
    embed_images_found,
    embed_texts,
    prepared_batches,
    tokens_cut,
)
from harness.tasks.misses import OTHERS, one_by_one
from harness.tasks.retrieval_chance import chance_scores
from harness.tasks.retrieval_controls import rank_control
from harness.tasks.retrieval_groups import retrieval_groups
from harness.tasks.retrieval_rows import KIND, chance_frame, outcome_frame, outcomes_of
from harness.tasks.shuffle import other_images
from harness.tasks.task import Asking, NonFinite, OutcomeSink, Scored, Task, as_score
from harness.text import normalize

CHANCE = "chance"  # the kind of outcome that says "computed, not asked"


def ask(asking: Asking) -> dict[str, float]:
    """Rank every asked pair in both directions and store the ranks; counts of cut tokens."""
    samples = image_texts(asking.dataset)
    if isinstance(asking.model, AnalyticChance):
        asking.sink.append(CHANCE, chance_frame())
        return {}
    pool, bearers = retrieval_pool(samples)
    if isinstance(asking.model, PoolScorer):
        if not asking.ranks.first:
            return {}
        counts: dict[str, float] = {}
        ranked_by_direction = rank_control(asking.model, samples, pool, bearers)
    else:
        source, counts = _source(asking, samples, [samples[row].text for row in bearers])
        if not asking.ranks.first:
            return {}  # the first process ranks, and scores pairs where there are no vectors
        ranked_by_direction = rank_pairs(pool, source)
    for outcomes in ranked_by_direction.values():
        frame = outcome_frame(samples, pool, outcomes)
        asking.sink.append(KIND, frame, keys=("sample_id", "direction"))
    return counts


def image_texts(dataset: Dataset) -> list[ImageText]:
    """The retrieval samples of a dataset."""
    return [sample for sample in dataset.samples if isinstance(sample, ImageText)]


def retrieval_pool(samples: Sequence[ImageText]) -> tuple[RetrievalPool, list[int]]:
    """The pool in integers, and the row that bears each unique text first."""
    names = sorted({label for sample in samples for label in sample.labels})
    labels = np.array([[name in s.labels for name in names] for s in samples], bool)
    return pool_of(
        studies=[s.image.study_id for s in samples],
        patients=[s.image.patient_id for s in samples],
        texts=[normalize(s.text) for s in samples],
        groups=[s.text_group for s in samples],
        asked=[s.asked for s in samples],
        labels=labels if names else None,
    )


def _source(
    asking: Asking, samples: Sequence[ImageText], texts: Sequence[str]
) -> tuple[Any, dict[str, float]]:
    model = asking.model
    inner = model.model if isinstance(model, Shuffled) else model
    images = [sample.image for sample in samples]
    if isinstance(model, Shuffled):
        images = other_images(images, model.seed)
    if isinstance(inner, EmbeddingModel):
        rows, found = embed_images_found(asking, inner, images)
        vectors = _missing_last(Embeddings(rows, embed_texts(asking, inner, texts)), found)
        return vectors, tokens_cut(asking, inner, texts) | _failures(found)
    if isinstance(inner, PairScorer):
        if asking.text_policy == "chunk-mean":
            raise NotScorable("it scores pairs and has no vectors of chunks to average")
        return _pair_blocks(asking, inner, images, texts), tokens_cut(asking, inner, texts)
    raise NotScorable("it has neither embeddings nor pair scores, so it cannot run 'retrieval'")


def _failures(found: np.ndarray) -> dict[str, float]:
    return {} if found.all() else {"failed": float((~found).sum())}


def _missing_last(vectors: Embeddings, found: np.ndarray) -> Embeddings:
    """The vectors, with a column by which an image without one scores below every other: a miss.

    As a query it ties with everything, which counts against the model.
    """
    if found.all():
        return vectors
    column = np.where(found, 0, -2).astype(vectors.images.dtype)
    ones = np.ones(len(vectors.texts), vectors.texts.dtype)
    return Embeddings(
        np.column_stack([vectors.images, column]), np.column_stack([vectors.texts, ones])
    )


def _pair_blocks(
    asking: Asking, model: PairScorer, images: Sequence[ImageRef], texts: Sequence[str]
) -> Callable[[slice], np.ndarray]:
    """Scores of a slice of images with all unique texts, computed block by block."""
    pictures = [as_image(image) for image in images]

    def score_images(chosen: Sequence[Image]) -> list[np.ndarray]:
        batches = prepared_batches(model, chosen, asking.batch_size)
        return [row for batch in batches for row in _scored(model, batch, texts, asking)]

    def block(rows: slice) -> np.ndarray:
        chosen = pictures[rows]
        others = [*pictures[: rows.start], *pictures[rows.stop :]][:OTHERS]
        found = one_by_one(score_images, chosen, others)
        asking.progress("scoring pairs", rows.stop or len(images), len(images))
        kind = next((row.dtype for row in found if row is not None), np.dtype(np.float32))
        least = np.full(len(texts), np.finfo(kind).min, kind)  # below every other: a miss
        return np.stack([least if row is None else row for row in found])

    return block


def _scored(
    model: PairScorer, batch: Sequence[Any], texts: Sequence[str], asking: Asking
) -> np.ndarray:
    # All texts at once: the model reads the batch of images once, and its texts once for all.
    block = np.asarray(model.score(batch, texts))
    if block.shape != (len(batch), len(texts)):
        raise ValueError(
            f"{asking.card.name}: scores of shape {block.shape} for {len(batch)} images and "
            f"{len(texts)} texts"
        )
    if not np.isfinite(block).all():
        raise NonFinite(
            f"{asking.card.name}: NaN or infinity in {int((~np.isfinite(block)).sum())} scores"
        )
    return block


def score_ranks(
    dataset: Dataset, sink: OutcomeSink, options: Mapping[str, Any], metrics: Sequence[str]
) -> Scored:
    """Every metric per direction, convention and group, with patient-clustered intervals."""
    samples = image_texts(dataset)
    pool, _ = retrieval_pool(samples)
    conventions = _conventions(options)
    if not sink.done_ids(KIND):
        return Scored(chance_scores(pool, conventions))
    found = outcomes_of(sink.read(KIND), samples, pool)
    chosen = {n: m for n, m in RETRIEVAL_METRICS.items() if not metrics or n in metrics}
    groups = retrieval_groups([samples[row] for row in pool.queries])
    scores: list[Score] = []
    for direction in DIRECTIONS:
        for convention in conventions:
            queries = found[direction].under(convention)
            scores += _scores(chosen, queries, groups, (direction, convention, options))
    counts = {"queries": float(len(pool.queries)), "images": float(len(samples))}
    counts["unique_texts"] = float(pool.texts)
    counts["tied"] = _tied_share(found, conventions[0])
    return Scored(scores, _missing(chosen, scores), counts)


def _tied_share(found: Mapping[str, RetrievalOutcomes], convention: str) -> float:
    """The share of all queries, of both directions, that tie under the convention shown first."""
    asked = [found[direction].under(convention) for direction in DIRECTIONS]
    tied = np.concatenate([queries.tied[queries.rank > 0] for queries in asked])
    return float(tied.mean())


def _conventions(options: Mapping[str, Any]) -> list[str]:
    wanted = options["relevance"]
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    wrong = [name for name in names if name not in CONVENTIONS]
    if wrong:
        raise ValueError(f"relevance {wrong}: known are {', '.join(CONVENTIONS)}")
    return names


def _scores(
    metrics: Mapping[str, Any],
    queries: RankedQueries,
    groups: Mapping[str, np.ndarray],
    where: tuple[str, str, Mapping[str, Any]],
) -> list[Score]:
    direction, convention, options = where
    found = score(metrics, queries, groups=groups, draws=int(options["draws"]))
    at = {"direction": direction, "relevance": convention, "pool": queries.candidates}
    return [
        as_score(name, group, interval, **at)
        for group, values in found.items()
        for name, interval in values.items()
        if interval.n and not np.isnan(interval.value)
    ]


def _missing(metrics: Mapping[str, Any], scores: Sequence[Score]) -> dict[str, str]:
    present = {item.metric for item in scores}
    return {n: f"needs {m.needs or 'labels'}" for n, m in metrics.items() if n not in present}


def ranked(dataset: Dataset, sink: OutcomeSink) -> Mapping[str, RetrievalOutcomes]:
    """The stored outcomes of a cell by direction, for comparisons and pictures."""
    samples = image_texts(dataset)
    pool, _ = retrieval_pool(samples)
    return outcomes_of(sink.read(KIND), samples, pool)


TASK = Task(
    name="retrieval",
    version=1,
    ask=ask,
    score=score_ranks,
    kinds=(KIND, CHANCE),
    metrics=RETRIEVAL_METRICS,
    defaults={"relevance": ["same_study"], "draws": 1000},
    choices={"relevance": CONVENTIONS},
)
