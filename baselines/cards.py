"""Cards to models: read a card, find its weights, and let its family load it.

Nothing here imports torch: a card is described without loading what it describes.
"""

import importlib
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from baselines.card_schema import Card
from baselines.codecs import VERSION, find_codec
from baselines.weights import Weights, locate
from harness.errors import BenchError, unknown
from harness.models import ModelCard, TrainedOn
from harness.suite_yaml import plain_yaml

FOLDER = Path(__file__).parent / "cards"


def card_names() -> list[str]:
    """Names of the published models that have a card."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def read_card(card: str, variant: str = "") -> Card:
    """The card of that name, or in that file or folder; with `variant`, its changes applied.

    Raises:
        BenchError: no such card or variant, or a card that says something it may not.
    """
    file = _find(card)
    return _read(file, file.stat().st_mtime_ns, variant)


def _find(card: str) -> Path:
    path = Path(card)
    if (path.is_dir() and "/" in card) or card in (".", ".."):
        found = sorted(path.glob("card.y*ml"))
        if not found:
            raise BenchError(f"{card}: no card.yaml in this folder.")
        return found[0]
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise BenchError(f"{card}: no such card file.")
        return path
    if card not in card_names():
        raise unknown("card", card, card_names())
    return FOLDER / f"{card}.yaml"


@cache
def _read(file: Path, _stamp: int, variant: str) -> Card:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{file.name}: cannot be read: {error}") from error
    content = plain_yaml(text, file.name)
    if not isinstance(content, dict):
        raise BenchError(f"{file.name}: a card is a mapping of keys to values.")
    default = file.parent.name if file.stem == "card" else file.stem
    content.setdefault("name", default)
    if variant:
        content = _merged(content, _changes(file, content, variant))
    try:
        card = Card.model_validate(content)
    except ValidationError as error:
        raise BenchError(_mistakes(file, error)) from error
    if card.runtime.remote_code and file.parent != FOLDER:
        raise BenchError(
            f"{file.name}: runtime.remote_code: only cards that come with the package may run code "
            "of a model repository. Run such a model through family 'external'."
        )
    return card


def _changes(file: Path, content: dict[str, Any], variant: str) -> dict[str, Any]:
    """What the variant changes of the card."""
    variants = content.get("variants") or {}
    changes = variants.get(variant) if isinstance(variants, dict) else None
    if isinstance(variants, dict) and variant not in variants:
        raise unknown(f"variant of {content['name']}", variant, map(str, variants))
    if not isinstance(changes, dict):
        found = variants if changes is None else changes
        raise BenchError(
            f"{file.name}: variants: found {found!r}. Expected a mapping of each variant's name to "
            "a mapping of what it changes."
        )
    return changes


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        both = isinstance(value, dict) and isinstance(inner, dict)
        merged[key] = _merged(inner, value) if both else value
    return merged


def _mistakes(file: Path, error: ValidationError) -> str:
    lines = []
    for mistake in error.errors():
        where = ".".join(str(part) for part in mistake["loc"]) or "card"
        found = mistake.get("input")
        shown = f" (found {found!r})" if isinstance(found, str | int | float) else ""
        lines.append(f"{file.name}: {where}: {mistake['msg']}{shown}")
    return "\n".join(lines)


def describe(*, card: str, variant: str = "", path: str = "") -> ModelCard:
    """What a leaderboard says of the model, without loading it.

    Raises:
        WeightsAbsent: the weights are not on this machine.
    """
    read = read_card(card, variant)
    return model_card(read, locate(read, _beside(card, path)))


def load(device: str = "cpu", *, card: str, variant: str = "", path: str = "") -> Any:
    """The model of a card on a device.

    Args:
        device: "cpu", "cuda:0", ...
        card: a name, a YAML file, or a folder with `card.yaml` beside the weights.
        variant: one of the card's variants, e.g. "full-field".
        path: the folder of the weights, if they are neither beside the card nor in a cache.

    Raises:
        WeightsAbsent: the weights are not on this machine.
        BenchError: the weights do not fit the card.
    """
    read = read_card(card, variant)
    weights = locate(read, _beside(card, path))
    family = importlib.import_module(f"baselines.{read.family}")
    return family.load(read, weights, device)


def why_no_examples(card: str, variant: str = "", path: str = "") -> str:
    """Why the model cannot be shown solved examples; '' if it can. No weights are needed."""
    del path
    read = read_card(card, variant)
    if read.vlm is None:
        return f"models of the family {read.family} take no examples"
    if not read.vlm.multi_image or read.vlm.layout != "chat":
        return "it takes one image only"
    if find_codec(read.vlm.codec).write is None:
        return f"boxes cannot be written in its notation, {read.vlm.codec}"
    return ""


def trained_examples(card: str, variant: str = "", path: str = "") -> int:
    """The most examples that a conversation of the model's training held; 0 if that is not told."""
    del path
    rules = read_card(card, variant).vlm
    return rules.trained_examples if rules else 0


def in_context_names() -> list[str]:
    """Names of the published models that can be shown solved examples."""
    return [name for name in card_names() if not why_no_examples(name)]


def load_card_model(name_or_path: str, device: str = "cpu", variant: str = "") -> Any:
    """As `load`, for use from code."""
    return load(device, card=name_or_path, variant=variant)


def _beside(card: str, path: str) -> str:
    """Weights beside a card in a folder of its own, unless told otherwise."""
    if path or card in card_names():
        return path
    return str(_find(card).parent)


def model_card(card: Card, weights: Weights) -> ModelCard:
    """The card as the harness knows it."""
    seen = card.trained_on
    return ModelCard(
        name=card.name,
        family=card.family,
        weights=weights.identity,
        preprocessing=_preprocessing(card),
        licence=card.licence,
        trained_on=None if seen is None else tuple(TrainedOn(**s.model_dump()) for s in seen),
        source=card.source.hub or card.source.url,
        max_tokens=card.text.max_tokens if card.text else None,
        version=card.version,
    )


def _preprocessing(card: Card) -> str:
    """Every rule of the card that decides what the model sees or how it is read, as one text."""
    sections = ("image", "text", "patches", "vlm", "detector", "external")
    parts = {name: getattr(card, name) for name in sections}
    said = "; ".join(
        f"{name}: {section.model_dump_json(exclude_defaults=True)}"
        for name, section in parts.items()
        if section is not None and section.model_dump(exclude_defaults=True)
    )
    if card.vlm or (card.external and card.external.codec):
        said += f"; codecs: version {VERSION}"
    return said or "as the checkpoint's own processor"


def card_summary(name: str) -> tuple[str, str, str, str]:
    """Family, licence, what it was trained on, and how far it is verified, for a table."""
    card = read_card(name)
    seen = "undisclosed"
    if card.trained_on is not None:
        names = (
            s.dataset if s.dataset == "undisclosed" else f"{s.dataset} {s.split}"
            for s in card.trained_on
        )
        seen = ", ".join(dict.fromkeys(names))
    return card.family, card.licence, seen, card.verified
