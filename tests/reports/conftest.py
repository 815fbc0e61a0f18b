"""Records made by hand: every report is tested on numbers a reader can check."""

import hashlib
import json
from collections.abc import Callable

import numpy as np
import pytest

from harness.record import DatasetInfo, ModelInfo, RunRecord, Score


def build_record(model: str = "alpha", **changes) -> RunRecord:
    """A retrieval record of 200 queries; `data` and `card` change the dataset and the model."""
    data = {
        "name": "mimic-cxr",
        "split": "test",
        "cohort": "frontal",
        "n_total": 210,
        "n_used": 200,
        "patients": 150,
        "fingerprint": "f" * 64,
        "excluded": {"unreadable": 10},
    }
    card = {"name": model, "family": "open_clip", "licence": "MIT", "trained_on": []}
    data.update(changes.pop("data", {}))
    card.update(changes.pop("card", {}))
    fields = {
        "task": "retrieval",
        "suite": "retrieval",
        "status": "ok",
        "exposure": "external",
        "created": "2026-11-23T10:00:00Z",
        "command": f"bench run suites/retrieval.yaml --models {model}",
        "seed": 0,
        "scores": recall_scores(0.4),
    }
    fields.update(changes)
    identity = {"model": card, "data": data, "seed": fields["seed"], "task": fields["task"]}
    identity["policy"] = fields.get("text_policy", "official")
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    parts = {"model": ModelInfo(**card), "dataset": DatasetInfo(**data)}
    return RunRecord(**{"key": key, "identity": identity, **parts, **fields})


def recall_scores(value: float, pool: int = 200) -> list[Score]:
    """R@1, R@5 and R@10 in both directions, `value` at R@10 and less above it."""
    return [
        Score(
            metric=f"recall@{k}",
            direction=direction,
            relevance="same_study",
            value=value * share,
            low=value * share - 0.03,
            high=value * share + 0.03,
            n=200,
            patients=150,
            pool=pool,
        )
        for direction in ("image_to_text", "text_to_image")
        for k, share in ((1, 0.3), (5, 0.75), (10, 1.0))
    ]


def miou_scores(value: float, group: str = "all") -> list[Score]:
    """mIoU, Acc@0.5 and F1@0.5 of 120 phrases."""
    return [
        Score(metric=metric, group=group, value=value * share, low=None, high=None, n=120)
        for metric, share in (("miou", 1.0), ("acc@0.5", 0.8), ("f1@0.5", 0.7))
    ]


@pytest.fixture
def record() -> Callable[..., RunRecord]:
    """The function that makes a record."""
    return build_record


@pytest.fixture
def recalls() -> Callable[..., list[Score]]:
    """The function that makes retrieval scores."""
    return recall_scores


@pytest.fixture
def mious() -> Callable[..., list[Score]]:
    """The function that makes grounding scores."""
    return miou_scores


@pytest.fixture
def film() -> np.ndarray:
    """A grey image whose left half is darker than its right, 60 high and 80 wide."""
    pixels = np.full((60, 80), 60, np.uint8)
    pixels[:, 40:] = 120
    return pixels
