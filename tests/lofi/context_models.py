"""Models for the tests of in-context grounding: an encoder that reads names, and a grounder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.images import Image
from harness.models import Demonstration, Grounding, ModelCard, Query
from harness.samples import Dataset, ImageRef, PhraseBoxes
from lofi.demonstrations import Bank, joined
from lofi.in_context import load

LOADED: list[str] = []


class Encoder:
    """Images and texts as directions that their names decide: "n30" points to 30 degrees."""

    card = ModelCard("angles", "test", weights="w1")

    def prepare_image(self, image) -> str:
        """The image's name."""
        return image.image_id

    def embed_images(self, prepared: Sequence[str]) -> np.ndarray:
        """Unit rows."""
        return _directions(prepared)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows."""
        return _directions(texts)


def _directions(names: Sequence[str]) -> np.ndarray:
    degrees = [float("".join(c for c in name if c.isdigit()) or 0) for name in names]
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


class Teller:
    """Answers with the boxes of its last example; remembers what it was shown.

    `room`: of more examples the first are left out, as where a context is full.
    """

    card = ModelCard("teller", "test", weights="w2")

    def __init__(self, room: int = 99):
        self.room, self.shown = room, []

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """Explicit none."""
        return [Grounding(status="empty") for _ in queries]

    def ground_with(
        self, queries: Sequence[Query], demonstrations: Sequence[Sequence[Demonstration]]
    ) -> list[Grounding]:
        """The last example's boxes."""
        out = []
        for _, examples in zip(queries, demonstrations, strict=True):
            kept = list(examples)[-self.room :]
            self.shown.append(kept)
            names = tuple(one.image.image_id for one in kept)
            boxes = kept[-1].boxes if kept else np.zeros((0, 4), np.float32)
            status = "ok" if kept else "empty"
            out.append(Grounding(boxes, status=status, demonstrations=names))
        return out


def load_encoder(device: str = "cpu") -> Encoder:
    """The encoder; that it was loaded is written down."""
    del device
    LOADED.append("encoder")
    return Encoder()


def load_teller(device: str = "cpu", *, room: int = 99) -> Teller:
    """The grounder."""
    del device
    LOADED.append("teller")
    return Teller(room)


def describe() -> ModelCard:
    """For references that must not load anything."""
    return Encoder.card


ENCODER = "tests.lofi.context_models:load_encoder"
TELLER = "tests.lofi.context_models:load_teller"


def sample(number: int, patient: str = "", finding: str = "mass", **changes) -> PhraseBoxes:
    """An example whose image points to `number` degrees."""
    image = ImageRef(f"n{number}", Path(f"n{number}.png"), patient or f"p{number}", f"s{number}")
    boxes = np.float32([[0.0, 0.0, 0.5, (number % 50 + 1) / 100]])
    values = {"phrase": f"at {number}", "boxes": boxes, "finding": finding, **changes}
    return PhraseBoxes(f"n{number}#1", image, **values)


def query(number: int, patient: str = "q", finding: str = "mass") -> Query:
    return Query(Image(f"n{number}", Path(f"n{number}.png")), f"at {number}", patient, finding)


def bank_of(samples: list[PhraseBoxes]) -> Bank:
    images = _directions([one.image.image_id for one in samples])
    return Bank(samples, joined(images, None))


class Given:
    """A supply of a few samples, without a cache."""

    phantom, device = True, "cpu"

    def __init__(self, samples):
        self.samples, self.asked = samples, []

    def bank(self, evaluation, limit):
        self.asked.append((evaluation, limit))
        return Dataset("cxr-qba", "grounding", "train", "lesion", "1", tuple(self.samples))

    def embed_images(self, model, images, handle):
        del handle
        return model.embed_images([model.prepare_image(image) for image in images])

    def embed_texts(self, model, texts, handle):
        del handle
        return model.embed_texts(texts)


def model_of(samples, queries, **options):
    """A composed model with its examples chosen."""
    LOADED.clear()
    settings = {"k": 2, "similarity": "image", **options.pop("demonstrations", {})}
    wanted = {"retriever": ENCODER, "grounder": TELLER, **options}
    model = load("cpu", **wanted, demonstrations=settings)
    LOADED.clear()
    model.equip(queries, Given(samples))
    return model
