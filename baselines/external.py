"""Family `external`: models that run in an environment of their own, or ran there before.

Stored answers, in the model's folder (`$BENCH_WEIGHTS/NAME`):

- `predictions.jsonl`, one object a line: ``{"image_id", "phrase", "boxes", "scores", "text"}``.
  `boxes` are x1, y1, x2, y2 in fractions of the original film, [] says "none". With `text`, the
  model's raw answer, instead of `boxes`, the card's codec reads it.
- `embeddings.npz`: `image_ids` and `image_vectors`, `text_sha256` (hex, of the text in UTF-8) and
  `text_vectors`.

A worker is a program named in `$BENCH_WORKER_NAME`; `baselines/worker.py` is a reference that can
be copied into any environment. It is started once and asked in batches: the harness writes
``NAME.jsonl`` into a temporary folder, one request a line, and prints its path to the worker's
standard input; the worker writes ``NAME.answers.jsonl`` or, for embeddings, ``NAME.answers.npz``
(`ids`, `vectors`) and prints the path of what it wrote. Requests: ``{"id", "task": "ground",
"image", "phrase"}``, ``{"id", "task": "embed_image", "image"}``, ``{"id", "task": "embed_text",
"text"}``; answers to "ground" as above with `id`, or ``{"id", "error"}``. `image` is a path to
an 8-bit file that any library reads as the harness does.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from baselines.bridge import Worker
from baselines.card_schema import Card
from baselines.cards import model_card
from baselines.codecs import parse
from baselines.weights import Weights, worker_command
from harness.boxes import boxes_from_unit
from harness.errors import BenchError
from harness.geometry import read_geometry
from harness.images import Image
from harness.models import Grounding, ModelCard, NotScorable, Query

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class External:
    """A model that answers from outside: stored answers, or a `Worker`."""

    card: ModelCard
    rules: Card
    folder: Path
    worker: Worker | None = None

    def prepare_image(self, image: Image) -> Image:
        """The image itself: what reads it is elsewhere."""
        return image

    def embed_images(self, prepared: Sequence[Image]) -> Float[np.ndarray, "n d"]:
        """Unit rows.

        Raises:
            NotScorable: the model gives no embeddings.
            BenchError: an embedding is missing from the stored ones.
        """
        self._check("embed")
        if self.worker is None:
            return self._stored("image_ids", [image.image_id for image in prepared])
        requests = [{"task": "embed_image", "image": image} for image in prepared]
        return _unit(self.worker.vectors(requests))

    def embed_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Unit rows; raises as `embed_images`."""
        self._check("embed")
        if self.worker is None:
            keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
            return self._stored("text_sha256", keys)
        return _unit(self.worker.vectors([{"task": "embed_text", "text": text} for text in texts]))

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """One answer per query; a query without an answer is malformed, so a miss.

        Raises:
            NotScorable: the model locates nothing.
            TimeoutError: the worker did not answer within the card's seconds.
        """
        self._check("ground")
        if self.worker is None:
            answers = _predictions(self.folder / "predictions.jsonl")
            found = [answers.get((q.image.image_id, q.phrase)) for q in queries]
        else:
            found = self.worker.answers(
                [{"task": "ground", "image": q.image, "phrase": q.phrase} for q in queries]
            )
        return [self._grounding(q, a) for q, a in zip(queries, found, strict=True)]

    def _check(self, wanted: str) -> None:
        serves = self.rules.external.serves if self.rules.external else ()
        if wanted not in serves:
            raise NotScorable(f"it serves {' and '.join(serves)} only")
        needed = {"ground": "predictions.jsonl", "embed": "embeddings.npz"}[wanted]
        if self.worker is None and not (self.folder / needed).is_file():
            raise NotScorable(f"no worker and no stored {needed}")

    def _grounding(self, query: Query, answer: Answer | None) -> Grounding:
        if answer is None or "error" in answer:
            reason = "no answer" if answer is None else str(answer["error"])
            return Grounding(status="malformed", raw=reason)
        text = str(answer.get("text") or "")
        if "boxes" in answer:
            return _given(answer, text, f"{self.card.name}: {query.image.image_id}")
        codec = self.rules.external.codec if self.rules.external else ""
        if not codec:
            raise BenchError(f"{self.card.name}: an answer with text, but its card has no codec")
        geometry = read_geometry(self.rules.external.coordinates if self.rules.external else "")
        frame = geometry.frame(*query.image.size())
        parsed = parse(codec, text, frame, phrase=query.phrase)
        return Grounding(boxes=parsed.boxes, raw=text, status=parsed.status)

    def _stored(self, column: str, keys: Sequence[str]) -> Float[np.ndarray, "n d"]:
        vectors = _vectors(self.folder / "embeddings.npz", column)
        missing = [key for key in keys if key not in vectors]
        if missing:
            raise BenchError(
                f"{self.card.name}: embeddings.npz has no {column} {missing[0]!r} "
                f"({len(missing)} of {len(keys)} are missing). Compute them anew for this data."
            )
        return _unit(np.stack([vectors[key] for key in keys]))


def load(card: Card, weights: Weights, device: str = "cpu") -> External:
    """The external model of a card: its worker, started when first asked, or stored answers."""
    del device  # the worker decides where it runs
    command = worker_command(card)
    seconds = card.external.seconds if card.external else 0.0
    worker = Worker(card.name, tuple(command), seconds) if command else None
    return External(model_card(card, weights), card, weights.folder, worker)


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


def _predictions(file: Path) -> dict[tuple[str, str], Answer]:
    found: dict[tuple[str, str], Answer] = {}
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                answer = json.loads(line)
                key = (answer["image_id"], answer["phrase"])
            except (ValueError, KeyError, TypeError) as error:
                raise BenchError(
                    f"{file.name} line {number}: not an answer: expected a JSON object with "
                    f"image_id, phrase and boxes or text ({type(error).__name__}: {error})"
                ) from error
            if key in found and found[key] != answer:
                raise BenchError(f"{file.name} line {number}: a second, different answer to {key}")
            found[key] = answer
    return found


def _vectors(file: Path, column: str) -> dict[str, np.ndarray]:
    names = {"image_ids": "image_vectors", "text_sha256": "text_vectors"}
    try:
        with np.load(file, allow_pickle=False) as stored:
            keys, rows = stored[column], stored[names[column]]
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(
            f"{file.name}: not readable: {error}. Expected arrays {column} and {names[column]}."
        ) from error
    if rows.ndim != 2 or len(rows) != len(keys):
        raise BenchError(f"{file.name}: {names[column]} {rows.shape} for {len(keys)} {column}")
    return dict(zip(keys.tolist(), rows, strict=True))


def _unit(vectors: Any) -> Float[np.ndarray, "n d"]:
    rows = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
