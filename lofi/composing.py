"""What an in-context model is composed of: its parts, its card, and what is refused beforehand.

Nothing is loaded here: a suite is told of a grounder that cannot be shown examples, or of a bank
that is a test split, before any model of it runs.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from harness.errors import BenchError
from harness.exposure import PHANTOM
from harness.models import ModelCard, TrainedOn
from harness.registry import Handle, find_model, resolve, shipped_checkpoints
from harness.suite_schema import ModelReference
from harness.tasks.grounding_context import EXTRAPOLATED
from lofi.copying import COPY
from lofi.demonstrations import Demonstrations

VERSION = 1
DRAWN = ("random", "fixed")
_LOADERS_WITH_CARDS = "baselines.cards:load"


@dataclass(frozen=True)
class Parts:
    """What a composed model is made of; a `retriever` without a handle draws by chance."""

    retriever: str  # its name
    encoder: Handle | None
    grounder: Handle | None
    settings: Demonstrations
    seed: int = 0


def describe(
    retriever: Any,
    grounder: Any,
    demonstrations: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> ModelCard:
    """The card: trained on whatever encoder, grounder and bank have seen.

    Raises:
        BenchError: a grounder that cannot be shown examples, or settings that do not fit.
        WeightsAbsent: the weights of a part are not on this machine.
    """
    parts = compose(retriever, grounder, demonstrations, seed)
    inner = [handle.card() for handle in (parts.encoder, parts.grounder) if handle]
    settings = parts.settings
    bank = tuple(
        TrainedOn(settings.dataset + twin, settings.split, modality)
        for twin in ("", PHANTOM)
        for modality in ("images", "boxes")
    )
    unknown = any(card.trained_on is None for card in inner)
    seen = tuple(one for card in inner for one in card.trained_on or ())
    whole = hashlib.sha256("|".join(f"{c.family} {c.weights}" for c in inner).encode())
    return ModelCard(
        name=f"{_name(grounder)} after {parts.retriever}",
        family="in-context" if parts.grounder else "control",
        weights=whole.hexdigest() if all(card.weights for card in inner) else "",
        preprocessing="; ".join([*(card.preprocessing for card in inner), *_beyond(parts)]),
        licence=", ".join(sorted({card.licence for card in inner if card.licence})),
        trained_on=None if unknown else tuple(dict.fromkeys((*seen, *bank))),
        source="arXiv 2603.19451",
        version=VERSION,
    )


def _beyond(parts: Parts) -> list[str]:
    """A sentence where more examples are asked for than any conversation of training held."""
    if parts.grounder is None or parts.grounder.entry.load != _LOADERS_WITH_CARDS:
        return []
    trained = int(resolve("baselines.cards:trained_examples")(**_card_options(parts.grounder)))
    if not trained or parts.settings.k <= trained:
        return []
    return [f"{EXTRAPOLATED}: {parts.settings.k} examples, trained with {trained} at most"]


def compose(
    retriever: Any, grounder: Any, demonstrations: Mapping[str, Any] | None, seed: int
) -> Parts:
    """The parts of an in-context model, refused where they cannot work; nothing is loaded.

    `retriever` and `grounder` are model references: a name, or {name, use, options}.
    """
    try:
        settings = Demonstrations.model_validate({} if demonstrations is None else demonstrations)
    except ValidationError as error:
        raise BenchError(_mistakes(error)) from error
    encoder = None if retriever in DRAWN else _part("retriever", retriever)
    handle = None
    if grounder != COPY:
        handle = _part("grounder", grounder)
        if reason := _why_no_examples(handle):
            raise BenchError(refusal(_name(grounder), reason))
    return Parts(_name(retriever), encoder, handle, settings, seed)


def _part(role: str, reference: Any) -> Handle:
    named = {"name": reference} if isinstance(reference, str) else reference
    try:
        return find_model(ModelReference.model_validate(named))
    except ValidationError as error:
        raise BenchError(
            f"in-context {role}: found {reference!r}. Expected a model's name, or name, use and "
            "options as in a suite's models."
        ) from error


def _why_no_examples(handle: Handle) -> str:
    """Why a grounder cannot be shown examples, as far as its card tells; else ''."""
    entry = handle.entry
    if entry.load == _LOADERS_WITH_CARDS:
        return str(resolve("baselines.cards:why_no_examples")(**_card_options(handle)))
    if entry.kind == "control":
        return "a control takes no examples"
    return "LoFi's decoder reads one image" if entry.load == "lofi.adapter:load" else ""


def _card_options(handle: Handle) -> dict[str, Any]:
    return {**handle.entry.options, **handle.reference.options}


def refusal(name: str, reason: str) -> str:
    """Why a model cannot be the grounder, and which can."""
    shipped = (find_model(ModelReference(name=one)) for one in shipped_checkpoints())
    own = [handle.reference.name for handle in shipped if not _why_no_examples(handle)]
    known = ", ".join([*own, *resolve("baselines.cards:in_context_names")()])
    return (
        f"in-context grounder {name!r}: {reason}. Expected a model that takes several images in "
        f"one conversation: {known}, or {COPY}."
    )


def _name(grounder: Any) -> str:
    return grounder if isinstance(grounder, str) else str(grounder.get("name", grounder))


def _mistakes(error: ValidationError) -> str:
    lines = []
    for mistake in error.errors():
        where = ".".join(str(part) for part in ("demonstrations", *mistake["loc"]))
        found = mistake.get("input")
        hint = ". A test split is never shown as an example" if found == "test" else ""
        lines.append(f"{where}: {mistake['msg']} (found {found!r}){hint}.")
    return "\n".join(lines)
