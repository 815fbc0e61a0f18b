"""Images and texts to unit vectors: prepared ahead in threads, cached, checked row by row."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32

from harness.chunks import chunk_text
from harness.embedding_cache import EmbeddingCache
from harness.file_hash import file_sha256
from harness.images import Image
from harness.models import EmbeddingModel, NotScorable, TokenCounter
from harness.samples import ImageRef
from harness.tasks.misses import ENDS_THE_CELL, OTHERS, one_by_one
from harness.tasks.task import Asking, NonFinite

Vectors: TypeAlias = Float32[np.ndarray, "n d"]
THREADS = 4
SHARD = 1024  # vectors that are stored at a time,
SECONDS = 20.0  # or as many as this long takes: a slow model loses no more when it is killed
UNIT = 1e-2  # how far from 1 the length of a "unit" vector may be (bf16) before it is a mistake


def embed_images(asking: Asking, model: EmbeddingModel, images: Sequence[ImageRef]) -> Vectors:
    """One unit row per image, in order."""
    cache = _cache(asking, model, "image")
    ids = [file_sha256(image.file) for image in images] if cache else []

    def compute(rows: Sequence[int]) -> Iterator[Vectors]:
        chosen = [as_image(images[row]) for row in rows]
        for number, batch in enumerate(prepared_batches(model, chosen, asking.batch_size)):
            asking.progress("embedding images", number * asking.batch_size, len(rows))
            yield model.embed_images(batch)

    names = [image.image_id for image in images]
    return _through_cache(asking, cache, (ids, names), compute)


def embed_images_found(
    asking: Asking, model: EmbeddingModel, images: Sequence[ImageRef]
) -> tuple[Vectors, Bool[np.ndarray, " n"]]:
    """One unit row per image, and which images the model embeds; the rows of others are zeros.

    Several processes that share a cell do not wait for one another's second tries: there a failure
    on one image is one of the cell.
    """
    try:
        return embed_images(asking, model, images), np.ones(len(images), bool)
    except ENDS_THE_CELL:
        raise
    except Exception as error:
        if asking.ranks.world > 1:
            raise
        failure = error
    size = asking.batch_size
    rows: list[np.ndarray | None] = []
    for start in range(0, len(images), size):
        batch = list(images[start : start + size])
        # What is asked again must be asked of the model itself: a cache outlives a broken one.
        others = [image for image in images[: size + OTHERS] if image not in batch]
        rows += one_by_one(_rows_of(asking, model, batch), batch, others)
    found = np.array([row is not None for row in rows])
    if not found.any():
        raise failure
    width = next(len(row) for row in rows if row is not None)
    return np.stack([np.zeros(width, np.float32) if r is None else r for r in rows]), found


def _rows_of(
    asking: Asking, model: EmbeddingModel, batch: Sequence[ImageRef]
) -> Callable[[Sequence[ImageRef]], list[np.ndarray]]:
    inside = {image.image_id for image in batch}

    def rows(images: Sequence[ImageRef]) -> list[np.ndarray]:
        if all(image.image_id in inside for image in images):
            return list(embed_images(asking, model, images))
        return list(model.embed_images([model.prepare_image(as_image(i)) for i in images]))

    return rows


def as_image(image: ImageRef) -> Image:
    """The picture behind a reference."""
    return Image(image.image_id, image.file)


def prepared_batches(model: Any, images: Sequence[Image], batch_size: int) -> Iterator[list[Any]]:
    """Batches of prepared images; the next ones are read while the model works on this one."""
    ahead = 2 * batch_size
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(model.prepare_image, image) for image in images[:ahead]]
        for start in range(0, len(images), batch_size):
            stop = min(start + batch_size, len(images))
            later = images[ahead + start : ahead + stop]
            waiting += [pool.submit(model.prepare_image, image) for image in later]
            yield [future.result() for future in waiting[: stop - start]]
            del waiting[: stop - start]


def embed_texts(asking: Asking, model: EmbeddingModel, texts: Sequence[str]) -> Vectors:
    """One unit row per text, in order, under the cell's text policy.

    ``official`` leaves long texts to the model's own truncation; ``chunk-mean`` is the mean of the
    unit vectors of the text's chunks, made a unit vector again.

    Raises:
        NotScorable: chunk-mean of a model that cannot count tokens or has no limit.
    """
    if asking.text_policy == "chunk-mean":
        return _chunk_means(asking, model, texts)
    return _embed_plain(asking, model, texts)


def _embed_plain(asking: Asking, model: EmbeddingModel, texts: Sequence[str]) -> Vectors:
    ids = [hashlib.sha256(text.encode()).hexdigest() for text in texts]

    def compute(rows: Sequence[int]) -> Iterator[Vectors]:
        for start in range(0, len(rows), asking.batch_size):
            batch = rows[start : start + asking.batch_size]
            asking.progress("embedding texts", start, len(rows))
            yield model.embed_texts([texts[row] for row in batch])

    names = [identifier[:12] for identifier in ids]
    return _through_cache(asking, _cache(asking, model, "text"), (ids, names), compute)


def _chunk_means(asking: Asking, model: EmbeddingModel, texts: Sequence[str]) -> Vectors:
    limit = asking.card.max_tokens
    if not isinstance(model, TokenCounter) or not limit:
        raise NotScorable("chunk-mean needs a model that counts tokens and has a limit")
    chunks = [chunk_text(text, limit, model.count_tokens) for text in texts]
    flat = list(dict.fromkeys(chunk for parts in chunks for chunk in parts))
    rows = {chunk: row for row, chunk in enumerate(flat)}
    vectors = _embed_plain(asking, model, flat)
    means = np.stack([vectors[[rows[chunk] for chunk in parts]].mean(axis=0) for parts in chunks])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)


def tokens_cut(asking: Asking, model: Any, texts: Sequence[str]) -> dict[str, float]:
    """How many tokens and texts the official policy cuts; empty where the model does not say."""
    limit = asking.card.max_tokens
    if asking.text_policy != "official" or not limit or not isinstance(model, TokenCounter):
        return {}
    over = [max(0, n - limit) for n in model.count_tokens(texts)]
    return {"tokens_cut": float(sum(over)), "texts_cut": float(sum(n > 0 for n in over))}


def _cache(asking: Asking, model: EmbeddingModel, modality: str) -> EmbeddingCache | None:
    cache = asking.embeddings(model.card, modality) if asking.embeddings else None
    # A GPU in bfloat16 and a CPU in float32 give other vectors: neither is given for the other.
    return cache.computed_in(getattr(model, "precision", "float32")) if cache else None


def _through_cache(
    asking: Asking,
    cache: EmbeddingCache | None,
    ids: tuple[Sequence[str], Sequence[str]],
    compute: Callable[[Sequence[int]], Iterator[Vectors]],
) -> Vectors:
    keys, names = ids
    name = asking.card.name
    ranks = asking.ranks
    if cache is None or not cache.usable:
        # With nowhere to meet, every process computes all: no process is done before another.
        every = list(range(len(names)))
        return unit_rows(np.concatenate(list(compute(every))), name, names)
    found, _ = cache.get(keys)
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    ranks.meet()  # none stores before all have seen what is missing, so that all share one list
    missing = ranks.share(sorted(row for key, row in first.items() if not found[row]))
    for part, vectors in _shards(missing, compute(missing), asking.batch_size):
        rows = unit_rows(vectors, name, [names[row] for row in part])
        cache.put([keys[row] for row in part], rows)
    ranks.meet()
    found, vectors = cache.get(keys)
    if not found.all():
        raise ValueError(f"{name}: {int((~found).sum())} vectors are not in the cache just filled")
    return np.asarray(vectors, np.float32)


def _shards(
    rows: Sequence[int], batches: Iterator[Vectors], size: int
) -> Iterator[tuple[Sequence[int], np.ndarray]]:
    """Batches of `size` joined to what is stored at a time, with the rows they belong to.

    Raises:
        ValueError: a batch has another number of vectors than of inputs.
    """
    waiting: list[np.ndarray] = []
    done, stored = 0, time.monotonic()
    for first, batch in zip(range(0, len(rows), size), batches, strict=True):
        end = min(first + size, len(rows))
        if len(batch) != end - first:
            raise ValueError(f"embeddings of shape {batch.shape} for {end - first} inputs")
        waiting.append(batch)
        if end == len(rows) or end - done >= SHARD or time.monotonic() - stored > SECONDS:
            yield rows[done:end], np.concatenate(waiting)
            waiting, done, stored = [], end, time.monotonic()


def unit_rows(vectors: np.ndarray, model: str, names: Sequence[str]) -> Vectors:
    """The rows made exactly unit in float32, after they were found to be nearly so.

    Raises:
        NonFinite: NaN or infinity, naming the samples.
        ValueError: another number of rows than asked, or rows that are not unit vectors.
    """
    rows = np.asarray(vectors, np.float32)
    if rows.ndim != 2 or len(rows) != len(names):
        raise ValueError(f"{model}: embeddings of shape {rows.shape} for {len(names)} inputs")
    bad = [names[int(i)] for i in np.flatnonzero(~np.isfinite(rows).all(axis=1))]
    if bad:
        raise NonFinite(f"{model}: NaN or infinity in {len(bad)} embeddings, first: {bad[:3]}")
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    off = np.abs(lengths - 1) > UNIT
    if off.any():
        raise ValueError(
            f"{model}: {int(off.sum())} embeddings are not unit vectors, e.g. length "
            f"{lengths[off][0]:.4f}"
        )
    return np.asarray(rows / lengths[:, None], np.float32)
