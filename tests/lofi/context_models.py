"""Models for the tests of in-context grounding: an encoder that reads names, and a grounder."""

from collections.abc import Sequence

import numpy as np

from harness.models import Demonstration, Grounding, ModelCard, Query

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
