"""Promises of models that embed, and of models that score pairs."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.check_films import TEXTS
from harness.check_frames import look_at_marks
from harness.models import NotScorable, TokenCounter
from harness.promise import Broken, Promise, Subject, largest_difference

CLOSE = 1e-5  # protocol, section 6: across batch size, order and processes, fp32 on a CPU
UNIT = 1e-2  # as far as a bf16 unit vector may be from 1

_TOKEN_GRID = (
    "a grid of tokens, not one vector per input: take the pooled, projected embedding (in "
    "transformers 5, get_image_features(...).pooler_output)"
)
_PADDING = (
    "the other texts of a batch change this one: SigLIP must be padded to max_length, never to the "
    "longest; others need their attention mask"
)
_PADDING_IMAGES = "the other films of a batch change this one: is the network in eval mode?"


@dataclass(frozen=True)
class _Side:
    """One of the two towers: its inputs, what makes vectors of them, and the hint for a batch."""

    name: str
    embed: Callable[[Sequence[Any]], Any]
    inputs: Sequence[Any]
    batch_hint: str


def _sides(subject: Subject) -> list[_Side]:
    """Both towers, or the image tower alone where the model says it has no other."""
    model = subject.model
    prepared = [model.prepare_image(film) for film in subject.films]
    sides = [_Side("embed_images", model.embed_images, prepared, _PADDING_IMAGES)]
    try:
        model.embed_texts(list(TEXTS[:1]))
    except NotScorable:
        return sides
    return [*sides, _Side("embed_texts", model.embed_texts, list(TEXTS), _PADDING)]


def _vectors(subject: Subject) -> Iterator[tuple[str, Any]]:
    for side in _sides(subject):
        yield side.name, side.embed(side.inputs)


def _shapes(subject: Subject) -> str:
    sizes = []
    for side in _sides(subject):
        name, count = side.name, len(side.inputs)
        vectors = side.embed(side.inputs)
        shape = np.shape(vectors)
        if not isinstance(vectors, np.ndarray):
            raise Broken(f"{name} gave {type(vectors).__name__}", "give a numpy array")
        if len(shape) != 2 or shape[0] != count:
            hint = _TOKEN_GRID if len(shape) > 2 else "one row per input, in order"
            raise Broken(f"{name} gave shape {shape} for {count} inputs", hint)
        sizes.append(shape[1])
    if sizes[0] != sizes[-1]:
        raise Broken(
            f"images have {sizes[0]} dimensions, texts {sizes[-1]}",
            "one tower is not projected: last_hidden_state is not the embedding",
        )
    return f"{sizes[0]} dimensions" + (", images only" if len(sizes) == 1 else "")


def _finite(subject: Subject) -> None:
    for name, vectors in _vectors(subject):
        bad = int((~np.isfinite(vectors)).sum())
        if bad:
            raise Broken(f"{name}: {bad} values are NaN or infinite", "float16 overflow? use bf16")


def _unit(subject: Subject) -> None:
    for name, vectors in _vectors(subject):
        lengths = np.linalg.norm(np.asarray(vectors, np.float64), axis=1)
        off = np.abs(lengths - 1).max()
        if off > UNIT:
            hint = "missing normalization: divide each row by its length (the L2 norm)"
            raise Broken(
                f"{name}: a row has length {lengths[np.abs(lengths - 1).argmax()]:.3g}", hint
            )


def _deterministic(subject: Subject) -> None:
    for (name, first), (_, second) in zip(_vectors(subject), _vectors(subject), strict=True):
        if largest_difference(first, second) > CLOSE:
            raise Broken(f"{name}: twice the same input, two answers", "dropout: call model.eval()")


def _batches(subject: Subject) -> str:
    worst = 0.0
    for side in _sides(subject):
        alone = np.concatenate([side.embed([one]) for one in side.inputs])
        apart = largest_difference(alone, side.embed(side.inputs))
        if apart > CLOSE:
            raise Broken(f"{side.name}: alone and together differ by {apart:.2g}", side.batch_hint)
        worst = max(worst, apart)
    return f"at most {worst:.1g} apart"


def _order(subject: Subject) -> None:
    for side in _sides(subject):
        turned = side.embed(side.inputs[::-1])[::-1]
        if largest_difference(turned, side.embed(side.inputs)) > CLOSE:
            raise Broken(f"{side.name}: another order, other vectors", "answers must be in order")


def _distinct(subject: Subject) -> None:
    for name, vectors in _vectors(subject):
        for row in range(1, len(vectors)):
            if largest_difference(vectors[0], vectors[row]) < 1e-7:
                hint = "is the input used at all, or a constant position of the sequence pooled?"
                raise Broken(f"{name}: inputs 0 and {row} get the same vector", hint)


def _pure(subject: Subject) -> None:
    model, film = subject.model, subject.films[0]
    content = film.file.read_bytes()
    with ThreadPoolExecutor(4) as pool:
        prepared = list(pool.map(lambda _: model.prepare_image(film), range(8)))
    vectors = np.concatenate([model.embed_images([one]) for one in prepared])
    if film.file.read_bytes() != content:
        raise Broken("prepare_image changed the file", "it must only read")
    if largest_difference(vectors, np.repeat(vectors[:1], len(vectors), axis=0)) > CLOSE:
        raise Broken("prepared in threads, one film is not always the same", "no shared state")


def _tokens(subject: Subject) -> str:
    model = subject.model
    if not isinstance(model, TokenCounter):
        return "count_tokens is missing: no chunk-mean policy, cut tokens are not counted"
    counts = list(model.count_tokens(list(TEXTS)))
    if len(counts) != len(TEXTS) or not all(isinstance(int(count), int) for count in counts):
        raise Broken(f"count_tokens gave {counts}", "one whole number per text")
    if counts[3] <= counts[2]:
        raise Broken(
            f"a long text has {counts[3]} tokens, one word {counts[2]}", "count before cut"
        )
    limit = subject.model.card.max_tokens
    if not limit:
        raise Broken("card.max_tokens is not set", "without it cut tokens are not counted")
    long = model.count_tokens(["effusion " * limit])[0]
    if long <= limit:
        raise Broken(f"a text of {limit} words has {long} tokens", "count before truncation")
    return f"at most {limit}"


EMBEDDING = [
    Promise("shapes", _shapes),
    Promise("finite", _finite),
    Promise("unit vectors", _unit),
    Promise("same answer twice", _deterministic),
    Promise("same in any batch", _batches),
    Promise("same in any order", _order),
    Promise("different inputs differ", _distinct),
    Promise("preparation is pure", _pure),
    Promise("tokens are counted", _tokens),
    Promise("pixels in the declared frame", look_at_marks),
]


def _pair_shape(subject: Subject) -> None:
    model = subject.model
    films = subject.films[1:]  # fewer than texts, or an exchange of the two would not be seen
    scores = np.asarray(model.score([model.prepare_image(film) for film in films], list(TEXTS)))
    wanted = (len(films), len(TEXTS))
    if scores.shape != wanted:
        hint = "rows are images, columns texts" if scores.shape == wanted[::-1] else ""
        raise Broken(f"score gave shape {scores.shape}, expected {wanted}", hint)
    if not np.isfinite(scores).all():
        raise Broken("a score is NaN or infinite")


def _pair_blocks(subject: Subject) -> None:
    model = subject.model
    prepared = [model.prepare_image(film) for film in subject.films]
    whole = model.score(prepared, list(TEXTS))
    single = [[model.score([p], [text])[0, 0] for text in TEXTS] for p in prepared]
    if largest_difference(whole, single) > CLOSE:
        raise Broken("a pair alone scores otherwise than in a block", _PADDING)
    turned = model.score(prepared[::-1], list(TEXTS[::-1]))[::-1, ::-1]
    if largest_difference(whole, turned) > CLOSE:
        raise Broken("pairs in another order score otherwise", "answers must be in order")


PAIRS = [
    Promise("pair scores", _pair_shape),
    Promise("pairs same in any block and order", _pair_blocks),
    Promise("pixels in the declared frame", look_at_marks),
]
