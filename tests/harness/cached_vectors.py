"""A cache of an invented model, and vectors to put in it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.embedding_cache import EmbeddingCache, open_cache
from harness.models import ModelCard

CARD = ModelCard("clip-a", family="clip", weights="w" * 64, preprocessing="squash-224", version=2)


def cache_of(root: Path, modality: str = "image", **changes: Any) -> EmbeddingCache:
    return open_cache(replace(CARD, **changes), modality, root=root)


def matrix(rows: int, seed: int = 0, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
