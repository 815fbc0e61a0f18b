"""Vectors are stored by number or by time, so that a killed run of a slow model loses seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.embedding_cache import open_cache
from harness.images import Image
from harness.models import ModelCard
from harness.samples import Dataset
from harness.tasks import embedding
from harness.tasks.embedding import embed_texts
from harness.tasks.task import Asking

CARD = ModelCard("slow", "test", weights="w" * 64)


class Slow:
    """A model for which each batch takes `seconds` of a clock of its own."""

    card = CARD

    def __init__(self, seconds: float = 0.0, short: int = 0, dies_at: int = 10**9):
        self.now = 0.0
        self.seconds = seconds
        self.short = short
        self.left = dies_at

    def prepare_image(self, image: Image) -> Any:
        """Not asked here."""
        raise NotImplementedError(image.image_id)

    def embed_images(self, prepared: Sequence[Any]) -> np.ndarray:
        """Not asked here."""
        raise NotImplementedError(len(prepared))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """A unit vector by the number in the text."""
        self.now += self.seconds
        self.left -= len(texts)
        if self.left < 0:
            raise KeyboardInterrupt
        angles = np.array([int(text) for text in texts[: len(texts) - self.short]]) * 0.01
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def asking(model: Slow, folder: Path, batch: int) -> Asking:
    data = Dataset("manifest", "retrieval", "all", "as-given", "1", ())
    return Asking(
        model=model,
        card=CARD,
        dataset=data,
        sink=None,  # type: ignore[arg-type]
        batch_size=batch,
        embeddings=lambda card, modality: open_cache(card, modality, root=folder),
    )


def shards(folder: Path) -> int:
    return len(list(folder.glob("embeddings/*/*.safetensors")))


TEXTS = [str(number) for number in range(100)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that lets a model's clock be that of the storing."""

    def use(model: Slow) -> Slow:
        monkeypatch.setattr(embedding.time, "monotonic", lambda: model.now)
        return model

    return use


def test_a_fast_model_is_stored_by_number(
    tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "SHARD", 40)
    model = clock(Slow(0.001))
    vectors = embed_texts(asking(model, tmp_path, 16), model, TEXTS)
    assert shards(tmp_path) == 3  # 48, 48 and the last 4
    assert np.allclose(vectors[:, 1], np.sin(np.arange(100) * 0.01), atol=1e-6)


def test_a_slow_model_is_stored_as_soon_as_the_seconds_are_over(tmp_path: Path, clock: Any) -> None:
    model = clock(Slow(8.0))  # 8 seconds for 10 texts: after three batches 20 seconds are over
    embed_texts(asking(model, tmp_path, 10), model, TEXTS)
    assert shards(tmp_path) == 4  # 30, 30, 30 and the last 10


def test_a_killed_run_loses_no_more_than_that(tmp_path: Path, clock: Any) -> None:
    dying = clock(Slow(8.0, dies_at=75))
    with pytest.raises(KeyboardInterrupt):
        embed_texts(asking(dying, tmp_path, 10), dying, TEXTS)
    model = clock(Slow(8.0))
    embed_texts(asking(model, tmp_path, 10), model, TEXTS)
    assert model.now == 8.0 * 4  # sixty were stored before it was killed at the eighth batch


def test_a_batch_with_a_vector_too_few_stores_nothing_under_a_wrong_name(tmp_path: Path) -> None:
    model = Slow(short=1)
    with pytest.raises(ValueError, match=r"embeddings of shape \(9, 2\) for 10 inputs"):
        embed_texts(asking(model, tmp_path, 10), model, TEXTS)
    assert shards(tmp_path) == 0
