"""Images and texts to unit vectors: prepared ahead in threads, cached, checked row by row."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32

from harness.chunks import chunk_text
from harness.embedding_cache import EmbeddingCache
from harness.file_hash import file_sha256
from harness.images import Image
from harness.models import EmbeddingModel, NotScorable, TokenCounter
from harness.samples import ImageRef
from harness.tasks.misses import OTHERS, one_by_one
from harness.tasks.task import Asking, NonFinite

Vectors: TypeAlias = Float32[np.ndarray, "n d"]
Batch: TypeAlias = Sequence[np.ndarray | None]  # a vector for each input, None where there is none
THREADS = 4
SHARD = 1024  # vectors that are stored at a time,
SECONDS = 20.0  # or as many as this long takes: a slow model loses no more when it is killed
UNIT = 1e-2  # how far from 1 the length of a "unit" vector may be (bf16) before it is a mistake


def embed_images(asking: Asking, model: EmbeddingModel, images: Sequence[ImageRef]) -> Vectors:
    """One unit row per image, in order; what the model raises on one of them is raised."""
    return _embed_images(asking, model, images, strict=True)[0]


def embed_images_found(
    asking: Asking, model: EmbeddingModel, images: Sequence[ImageRef]
) -> tuple[Vectors, Bool[np.ndarray, " n"]]:
    """One unit row per image, and which images the model embeds; the rows of others are zeros.

    The same for one process and for several that share the cell: each asks again, one by one, about
    the batch of its own that failed, and all are told which images nobody has a vector of.

    Raises:
        Exception: what the model raised, if it fails on all of a batch and on others too.
    """
    return _embed_images(asking, model, images, strict=False)


def _embed_images(
    asking: Asking, model: EmbeddingModel, images: Sequence[ImageRef], *, strict: bool
) -> tuple[Vectors, Bool[np.ndarray, " n"]]:
    cache = _cache(asking, model, "image")
    ids = [file_sha256(image.file) for image in images] if cache else []
    names = [image.image_id for image in images]

    def compute(rows: Sequence[int]) -> Iterator[Batch]:
        waiting = _waiting_batches(
            model, [as_image(images[row]) for row in rows], asking.batch_size
        )
        for number, batch in enumerate(waiting):
            part = rows[number * asking.batch_size :][: asking.batch_size]
            asking.progress("embedding images", number * asking.batch_size, len(rows))
            ask = _looking(asking, model, (images, dict(zip(part, batch, strict=True))))
            if strict:
                yield ask(part)
                continue
            # Others are asked of the model itself: a cache outlives a broken one.
            others = (row for row in range(len(images)) if row not in part)
            yield one_by_one(ask, part, list(islice(others, OTHERS)))

    return _through_cache(asking, cache, (ids, names), compute)


def _looking(
    asking: Asking,
    model: EmbeddingModel,
    about: tuple[Sequence[ImageRef], Mapping[int, Future[Any]]],
) -> Callable[[Sequence[int]], Sequence[np.ndarray]]:
    """Rows of images to vectors, checked; `about` are the images and those being prepared."""
    images, waiting = about

    def ask(rows: Sequence[int]) -> Sequence[np.ndarray]:
        prepared = [
            waiting[row].result() if row in waiting else model.prepare_image(as_image(images[row]))
            for row in rows
        ]
        vectors = np.asarray(model.embed_images(prepared), np.float32)
        unit_rows(vectors, asking.card.name, [images[row].image_id for row in rows])
        return list(vectors)

    return ask


def as_image(image: ImageRef) -> Image:
    """The picture behind a reference."""
    return Image(image.image_id, image.file)


def prepared_batches(model: Any, images: Sequence[Image], batch_size: int) -> Iterator[list[Any]]:
    """Batches of prepared images; the next ones are read while the model works on this one."""
    for batch in _waiting_batches(model, images, batch_size):
        yield [future.result() for future in batch]


def _waiting_batches(
    model: Any, images: Sequence[Image], batch_size: int
) -> Iterator[list[Future[Any]]]:
    """Batches of images that are being prepared, or have been."""
    ahead = 2 * batch_size
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(model.prepare_image, image) for image in images[:ahead]]
        for start in range(0, len(images), batch_size):
            stop = min(start + batch_size, len(images))
            later = images[ahead + start : ahead + stop]
            waiting += [pool.submit(model.prepare_image, image) for image in later]
            yield waiting[: stop - start]
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

    def compute(rows: Sequence[int]) -> Iterator[Batch]:
        for start in range(0, len(rows), asking.batch_size):
            batch = rows[start : start + asking.batch_size]
            asking.progress("embedding texts", start, len(rows))
            yield list(np.asarray(model.embed_texts([texts[row] for row in batch])))

    names = [identifier[:12] for identifier in ids]
    return _through_cache(asking, _cache(asking, model, "text"), (ids, names), compute)[0]


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
    compute: Callable[[Sequence[int]], Iterator[Batch]],
) -> tuple[Vectors, Bool[np.ndarray, " n"]]:
    """A unit row for each input, zeros where there is none, and for which there is one."""
    keys, names = ids
    name = asking.card.name
    ranks = asking.ranks
    if cache is None or not cache.usable:
        # With nowhere to meet, every process computes all: no process is done before another.
        every = [row for batch in compute(list(range(len(names)))) for row in batch]
        return _filled(every, name, names)
    found, _ = cache.get(keys)
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    ranks.meet()  # none stores before all have seen what is missing, so that all share one list
    missing = ranks.share(sorted(row for key, row in first.items() if not found[row]))
    lost = set()
    for part, batch in _shards(missing, compute(missing), asking.batch_size):
        kept = [(place, row) for place, row in zip(part, batch, strict=True) if row is not None]
        lost |= {keys[place] for place in part} - {keys[place] for place, _ in kept}
        if kept:
            places, rows = zip(*kept, strict=True)
            vectors = unit_rows(np.stack(rows), name, [names[place] for place in places])
            cache.put([keys[place] for place in places], vectors)
    lost = set().union(*ranks.gather(lost))
    found, vectors = cache.get(keys)
    gone = sum(not here and key not in lost for here, key in zip(found, keys, strict=True))
    if gone:
        raise ValueError(f"{name}: {gone} vectors are not in the cache just filled")
    if lost and not found.any():
        raise ValueError(f"{name}: no process could embed any of {len(keys)} inputs")
    return np.where(found[:, None], vectors, 0).astype(np.float32, copy=False), found


def _filled(rows: Batch, name: str, names: Sequence[str]) -> tuple[Vectors, Bool[np.ndarray, " n"]]:
    found = np.array([row is not None for row in rows], bool)
    kept = [row for row in rows if row is not None]
    there = [names[place] for place in np.flatnonzero(found).tolist()]
    vectors = unit_rows(np.stack(kept), name, there)
    table = np.zeros((len(rows), vectors.shape[1]), np.float32)
    table[found] = vectors
    return table, found


def _shards(
    rows: Sequence[int], batches: Iterator[Batch], size: int
) -> Iterator[tuple[Sequence[int], Batch]]:
    """Batches of `size` joined to what is stored at a time, with the rows they belong to.

    Raises:
        ValueError: a batch has another number of vectors than of inputs.
    """
    waiting: list[np.ndarray | None] = []
    done, stored = 0, time.monotonic()
    for first, batch in zip(range(0, len(rows), size), batches, strict=True):
        end = min(first + size, len(rows))
        if len(batch) != end - first:
            shape = np.stack([row for row in batch if row is not None]).shape
            raise ValueError(f"embeddings of shape {shape} for {end - first} inputs")
        waiting += list(batch)
        if end == len(rows) or end - done >= SHARD or time.monotonic() - stored > SECONDS:
            yield rows[done:end], waiting
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
