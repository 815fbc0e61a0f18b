"""Family `external`: models that run in an environment of their own, or ran there before.

Stored answers, in the model's folder (`$BENCH_WEIGHTS/NAME`):

- `predictions.jsonl`, one object a line: ``{"image_id", "phrase", "boxes", "scores", "text"}``.
  `boxes` are x1, y1, x2, y2 in fractions of the original film, [] says "none". With `text`, the
  model's raw answer, instead of `boxes`, the card's codec reads it. With `map`, the name of an
  array in `maps.npz` beside it, the answer is a heat map (and may have boxes too). An answer that
  was cut at the limit of tokens says ``"complete": false``: it is malformed, whatever stands in it.
- `embeddings.npz`: `image_ids` and `image_vectors`, `text_sha256` (hex, of the text in UTF-8) and
  `text_vectors`.
- `scores.npz`, for models that score pairs and have no vectors: `image_ids`, `text_sha256` and
  `scores` (images, texts), higher is closer.

A map is (rows, columns) of floats over the frame of the card's `external.coordinates`, the first
row at the top, higher is more relevant, NaN where the model did not look: the grid of patches as
it is. The harness smooths and interpolates it as the card's `patches` say and puts it on the film;
what the frame leaves out (a crop) becomes NaN there.

A worker is a program named in `$BENCH_WORKER_NAME`; `baselines/worker.py` is a reference that can
be copied into any environment. It is started once and asked in batches: the harness writes
``NAME.jsonl`` into a temporary folder, one request a line, and prints its path to the worker's
standard input; the worker writes ``NAME.answers.jsonl`` or ``NAME.answers.npz`` beside it and
prints the path of what it wrote. Requests and what answers them:

- ``{"id", "task": "ground", "image", "phrase"}``: a line ``{"id", "boxes", "scores"}``, ``{"id",
  "text"}``, ``{"id", "map": KEY}`` with the map in ``NAME.maps.npz``, or ``{"id", "error"}``;
  ``"complete": false`` as above.
- ``{"id", "task": "embed_image", "image"}``, ``{"id", "task": "embed_text", "text"}``: an npz of
  `ids` and `vectors`.
- ``{"id", "task": "score", "images", "texts"}``, alone in its batch: an npz of `scores` (images,
  texts). The same texts come with each batch of images.

`image` is a path to an 8-bit file that any library reads as the harness does. A batch (as long as
``bench run --batch-size``) that is not answered within the card's `seconds` ends the worker, and
the cell is `timeout`; what was answered before is kept, and the next run goes on there.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from baselines import stored_answers
from baselines.bridge import Worker
from baselines.card_schema import Card
from baselines.cards import model_card
from baselines.codecs import parse
from baselines.external_maps import on_film
from baselines.stored_answers import EMBEDDINGS, MAPS, PREDICTIONS, SCORES, Answer, read_map
from baselines.weights import Weights, worker_command
from harness.boxes import boxes_from_unit
from harness.errors import BenchError
from harness.geometry import Geometry, read_geometry
from harness.images import Image
from harness.models import Grounding, ModelCard, NotScorable, Query

_NEEDED = {"ground": PREDICTIONS, "embed": EMBEDDINGS, "score": SCORES}


@dataclass(frozen=True)
class External:
    """A model that answers from outside: stored answers, or a `Worker`."""

    card: ModelCard
    rules: Card
    folder: Path
    worker: Worker | None = None

    @property
    def geometry(self) -> Geometry:
        """From a film to the frame that maps and raw answers speak of."""
        return read_geometry(self.rules.external.coordinates if self.rules.external else "")

    def prepare_image(self, image: Image) -> Image:
        """The image itself: what reads it is elsewhere."""
        return image

    def embed_images(self, prepared: Sequence[Image]) -> Float[np.ndarray, "n d"]:
        """Unit rows.

        Raises:
            NotScorable: the model gives no embeddings.
            TimeoutError: the worker did not answer within the card's seconds.
            BenchError: an embedding is missing from the stored ones.
        """
        _check(self, "embed")
        if self.worker is None:
            return self._stored("image_ids", [image.image_id for image in prepared])
        requests = [{"task": "embed_image", "image": image} for image in prepared]
        return _unit(self.worker.vectors(requests))

    def embed_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Unit rows; raises as `embed_images`."""
        _check(self, "embed")
        if self.worker is None:
            return self._stored("text_sha256", [text_hash(text) for text in texts])
        return _unit(self.worker.vectors([{"task": "embed_text", "text": text} for text in texts]))

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """One answer per query; a query without an answer is malformed, so a miss.

        Raises:
            NotScorable: the model locates nothing.
            TimeoutError: the worker did not answer within the card's seconds.
        """
        _check(self, "ground")
        if self.worker is None:
            answers = stored_answers.predictions(self.folder)
            found = [answers.get((q.image.image_id, q.phrase)) for q in queries]
            maps = [self.folder / MAPS] * len(queries)
        else:
            requests = [{"task": "ground", "image": q.image, "phrase": q.phrase} for q in queries]
            found, file = self.worker.answers(requests)
            maps = [file] * len(queries)
        return [self._grounding(q, a, m) for q, a, m in zip(queries, found, maps, strict=True)]

    def _grounding(self, query: Query, answer: Answer | None, maps: Path) -> Grounding:
        if answer is None or "error" in answer:
            reason = "no answer" if answer is None else str(answer["error"])
            return Grounding(status="malformed", raw=reason)
        text = str(answer.get("text") or "")
        if answer.get("complete") is False:
            return Grounding(status="malformed", raw=text)
        where = f"{self.card.name}: {query.image.image_id}"
        if answer.get("map") is not None:
            shown = on_film(read_map(maps, answer["map"]), self.rules, query.image)
            boxed = _given(answer, text, where) if answer.get("boxes") else Grounding(raw=text)
            return Grounding(boxed.boxes, boxed.scores, shown, text)
        if "boxes" in answer:
            return _given(answer, text, where)
        codec = self.rules.external.codec if self.rules.external else ""
        if not codec:
            raise BenchError(f"{self.card.name}: an answer with text, but its card has no codec")
        frame = self.geometry.frame(*query.image.size())
        parsed = parse(codec, text, frame, phrase=query.phrase)
        return Grounding(boxes=parsed.boxes, raw=text, status=parsed.status)

    def _stored(self, column: str, keys: Sequence[str]) -> Float[np.ndarray, "n d"]:
        vectors = stored_answers.vectors(self.folder, column)
        _all_there(keys, vectors, f"{self.card.name}: {EMBEDDINGS} has no {column}")
        return _unit(np.stack([vectors[key] for key in keys]))


@dataclass(frozen=True)
class ExternalScorer:
    """A `PairScorer` that answers from outside, and a `GroundingModel` if it serves that too."""

    card: ModelCard
    outside: External

    @property
    def geometry(self) -> Geometry:
        """As `External.geometry`."""
        return self.outside.geometry

    def prepare_image(self, image: Image) -> Image:
        """The image itself: what reads it is elsewhere."""
        return image

    def score(self, images: Sequence[Image], texts: Sequence[str]) -> Float[np.ndarray, "n m"]:
        """Similarity, higher is closer.

        Raises:
            NotScorable: no worker, and no scores were stored.
            TimeoutError: the worker did not answer within the card's seconds.
            BenchError: a score is missing from the stored ones.
        """
        _check(self.outside, "score")
        if self.outside.worker is not None:
            return self.outside.worker.scores(images, texts)
        rows, columns, table = stored_answers.scores(self.outside.folder)
        names, hashes = [image.image_id for image in images], [text_hash(text) for text in texts]
        _all_there(names, rows, f"{self.card.name}: {SCORES} has no image_ids")
        _all_there(hashes, columns, f"{self.card.name}: {SCORES} has no text_sha256")
        return table[np.ix_([rows[n] for n in names], [columns[h] for h in hashes])]

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """As `External.ground`."""
        return self.outside.ground(queries)


def load(card: Card, weights: Weights, device: str = "cpu") -> External | ExternalScorer:
    """The external model of a card: its worker, started when first asked, or stored answers."""
    del device  # the worker decides where it runs
    command = worker_command(card)
    seconds = card.external.seconds if card.external else 0.0
    worker = Worker(card.name, tuple(command), seconds) if command else None
    model = External(model_card(card, weights), card, weights.folder, worker)
    serves = card.external.serves if card.external else ()
    return ExternalScorer(model.card, model) if "score" in serves else model


def text_hash(text: str) -> str:
    """By what a text is named in stored answers: its SHA-256, so that no report lies in them."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _check(model: External, wanted: str) -> None:
    serves = model.rules.external.serves if model.rules.external else ()
    if wanted not in serves:
        raise NotScorable(f"it serves {' and '.join(serves)} only")
    if model.worker is None and not (model.folder / _NEEDED[wanted]).is_file():
        raise NotScorable(f"no worker and no stored {_NEEDED[wanted]}")


def _all_there(keys: Sequence[str], known: Any, where: str) -> None:
    missing = [key for key in keys if key not in known]
    if missing:
        raise BenchError(
            f"{where} {missing[0]!r} ({len(missing)} of {len(keys)} are missing). Compute them "
            "anew for this data."
        )


def _given(answer: Answer, text: str, where: str) -> Grounding:
    """An answer with boxes in fractions of the film.

    Raises:
        BenchError: pixels, or another order than x1, y1, x2, y2.
    """
    try:
        boxes = boxes_from_unit(answer["boxes"] or [], where)
    except (ValueError, TypeError) as error:
        raise BenchError(f"{error}. Answers give fractions of the original film.") from error
    scores = answer.get("scores")
    if scores is not None and len(scores) != len(boxes):
        raise BenchError(f"{where}: {len(boxes)} boxes, but {len(scores)} scores")
    values = None if scores is None else np.asarray(scores, np.float32)
    return Grounding(boxes=boxes, scores=values, raw=text, status="ok" if len(boxes) else "empty")


def _unit(vectors: Any) -> Float[np.ndarray, "n d"]:
    rows = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
