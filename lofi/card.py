"""A LoFi directory's card, read without loading weights."""

import json
from pathlib import Path
from typing import Any

from harness.errors import BenchError
from harness.file_hash import file_sha256
from harness.models import ModelCard, TrainedOn

VERSION = 1  # of the adapter: raise it when its numbers change


def describe(checkpoint: str, **options: Any) -> ModelCard:
    """The card of a directory written by `bench train`; options do not change it."""
    del options
    folder = Path(checkpoint)
    stored = read_json(folder / "config.json")
    if stored.get("model_type") != "lofi":
        raise BenchError(
            f"{folder}/config.json: model_type is {stored.get('model_type')!r}. Expected 'lofi'. "
            "Name a LoFi directory, or put a card.yaml beside other weights."
        )
    picture = read_json(folder / "preprocessor_config.json")
    record = read_json(folder / "training.json")
    return ModelCard(
        name=stored["settings"]["name"],
        family="lofi",
        weights=file_sha256(folder / "model.safetensors"),
        preprocessing=", ".join(f"{key} {value}" for key, value in sorted(picture.items())),
        licence="Apache-2.0" if not stored["settings"]["towers"]["pretrained"] else "",
        trained_on=_trained_on(record),
        source="arXiv 2603.19451",
        max_tokens=stored["towers"]["text_config"]["max_position_embeddings"],
        version=VERSION,
    )


def _trained_on(record: dict[str, Any]) -> tuple[TrainedOn, ...] | None:
    """What the training record says; undisclosed where it says nothing."""
    if "trained_on" not in record:
        return None
    return tuple(TrainedOn(**one) for one in record["trained_on"])


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object of a model directory.

    Raises:
        BenchError: the file is missing or no JSON object.
    """
    try:
        value = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{file}: {error}. Expected a JSON file written by `bench train`. Name a LoFi folder."
        ) from error
    if not isinstance(value, dict):
        raise BenchError(f"{file}: found {type(value).__name__}. Expected a JSON object.")
    return value
