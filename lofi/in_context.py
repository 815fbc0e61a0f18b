"""Retrieval-based in-context grounding: an encoder chooses solved examples, a VLM grounds.

Composed in a suite and through protocols only::

    {name: lofi-then-vlm, use: in-context, options: {retriever: lofi-tiny, grounder: vlm-tiny,
     demonstrations: {k: 4, similarity: mean}}}

`retriever` is any embedding model, or `random` (new examples for each query) or `fixed` (the same
for all), both by `seed`. `grounder` is any model that can be shown examples, or `copy-nearest`.

Source: LoFi, arXiv 2603.19451, section on retrieval-based in-context learning; the number of
examples, their order and the similarity are not published, so they are options.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from harness.errors import BenchError
from harness.exposure import PHANTOM
from harness.models import (
    EmbeddingModel,
    Grounding,
    InContextGrounder,
    ModelCard,
    Query,
    TrainedOn,
)
from harness.registry import Handle, find_model, resolve, shipped_checkpoints
from harness.suite_schema import ModelReference
from harness.tasks.grounding_context import EXTRAPOLATED
from harness.tasks.supply import Supply, bank_evaluation, boxed
from lofi.copying import COPY, CopyNearest
from lofi.demonstrations import (
    Bank,
    Chosen,
    Demonstrations,
    drawn,
    joined,
    nearest,
    refuse_without_finding,
    shown,
    usable,
)

VERSION = 1
DRAWN = ("random", "fixed")
_LOADERS_WITH_CARDS = "baselines.cards:load"


@dataclass(frozen=True)
class Parts:
    """What a composed model is made of; a `retriever` without a handle draws by chance."""

    retriever: str
    encoder: Handle | None
    grounder: Handle | None
    settings: Demonstrations
    seed: int = 0


class InContext:
    """A `BankedGrounder`: examples are chosen for all queries first, then each is grounded.

    No model is loaded before the bank is known not to be empty.
    """

    def __init__(self, card: ModelCard, parts: Parts, device: str):
        self.card, self.parts, self.device = card, parts, device
        self.grounder: Any = None
        self.bank: Bank | None = None
        self.chosen: dict[tuple[str, str], Chosen] = {}

    def equip(self, queries: Sequence[Query], supply: Supply) -> None:
        """Choose the examples of all queries; see `BankedGrounder`."""
        settings = self.parts.settings
        self.bank = self._bank(supply)
        refuse_without_finding(self.bank, queries, settings)
        distinct = list({_asked(query): query for query in queries}.values())
        for query, chosen in zip(distinct, self._choose(distinct, supply), strict=True):
            self.chosen[_asked(query)] = chosen
        self.grounder = self._load_grounder()

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """One answer per query after its examples; their sample ids stay with the answer."""
        if self.bank is None or self.grounder is None:
            raise BenchError(
                f"{self.card.name}: asked before it had its examples. Run it in a suite: they come "
                "from the training split that its options name."
            )
        chosen = [self.chosen[_asked(query)] for query in queries]
        examples = [
            shown(self.bank, query, one, settings=self.parts.settings, seed=self.parts.seed)
            for query, one in zip(queries, chosen, strict=True)
        ]
        answers = self.grounder.ground_with(queries, examples)
        return [self._told(answer, one) for answer, one in zip(answers, chosen, strict=True)]

    def _told(self, answer: Grounding, chosen: Chosen) -> Grounding:
        """The answer with the ids of what was really shown: the context may have had less room."""
        assert self.bank is not None
        given = chosen if self.parts.settings.order == "nearest first" else chosen[::-1]
        kept = given[len(given) - len(answer.demonstrations) :]  # what stood first is left out
        return replace(
            answer,
            demonstrations=tuple(self.bank.samples[place].sample_id for place, _ in kept),
            similarities=tuple(score for _, score in kept) if self.parts.encoder else (),
            left_out=len(chosen) - len(kept),
        )

    def _bank(self, supply: Supply) -> Bank:
        settings = self.parts.settings
        evaluation = bank_evaluation(settings.model_dump(), phantom=supply.phantom)
        found = supply.bank(evaluation, settings.limit)
        return usable(boxed(found), settings)

    def _choose(self, queries: Sequence[Query], supply: Supply) -> list[Chosen]:
        assert self.bank is not None
        settings = self.parts.settings
        if self.parts.encoder is None:
            fixed = self.parts.retriever == "fixed"
            return drawn(self.bank, queries, settings, seed=self.parts.seed, fixed=fixed)
        model = self.parts.encoder.load(self.device)
        if not isinstance(model, EmbeddingModel):
            raise BenchError(
                f"retriever {self.parts.retriever!r} has no embeddings. Expected an embedding "
                "model, random or fixed."
            )
        encode = _Encoder(model, self.parts.encoder, supply, settings)
        images = [sample.image for sample in self.bank.samples]
        phrases = [sample.phrase for sample in self.bank.samples]
        self.bank = replace(self.bank, vectors=encode(images, phrases))
        vectors = encode([query.image for query in queries], [query.phrase for query in queries])
        return nearest(self.bank, queries, vectors, settings)

    def _load_grounder(self) -> InContextGrounder:
        if self.parts.grounder is None:
            return CopyNearest(self.card)
        model = self.parts.grounder.load(self.device)
        if not isinstance(model, InContextGrounder):
            raise BenchError(_refusal(self.parts.grounder.reference.name, "takes no examples"))
        return model


def _asked(query: Query) -> tuple[str, str]:
    return query.image.image_id, query.phrase


@dataclass(frozen=True)
class _Encoder:
    """Images and phrases as rows that compare as the settings say."""

    model: EmbeddingModel
    handle: Handle
    supply: Supply
    settings: Demonstrations

    def __call__(self, images: Sequence[Any], phrases: Sequence[str]) -> np.ndarray:
        """One row per pair."""
        kind = self.settings.similarity
        seen = said = None
        if kind != "phrase":
            seen = self._rows(self.supply.embed_images, {i.image_id: i for i in images}, images)
        if kind != "image":
            said = self._rows(self.supply.embed_texts, {p: p for p in phrases}, phrases)
        return joined(seen, said)

    def _rows(self, embed: Any, distinct: Mapping[str, Any], wanted: Sequence[Any]) -> np.ndarray:
        """Each image or phrase is embedded once."""
        vectors = embed(self.model, list(distinct.values()), self.handle)
        rows = {name: row for row, name in enumerate(distinct)}
        return vectors[[rows[getattr(one, "image_id", one)] for one in wanted]]


def describe(
    retriever: str,
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
        name=f"{_name(grounder)} after {retriever}",
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


def load(
    device: str = "cpu",
    *,
    retriever: str,
    grounder: Any,
    demonstrations: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> InContext:
    """The composed model; its parts are loaded when it is given its bank."""
    parts = compose(retriever, grounder, demonstrations, seed)
    return InContext(describe(retriever, grounder, demonstrations, seed), parts, device)


def compose(
    retriever: str, grounder: Any, demonstrations: Mapping[str, Any] | None, seed: int
) -> Parts:
    """The parts of an in-context model, refused where they cannot work; nothing is loaded."""
    try:
        settings = Demonstrations.model_validate(dict(demonstrations or {}))
    except ValidationError as error:
        raise BenchError(_mistakes(error)) from error
    encoder = None if retriever in DRAWN else find_model(ModelReference(name=retriever))
    handle = None
    if grounder != COPY:
        reference = {"name": grounder} if isinstance(grounder, str) else grounder
        handle = find_model(ModelReference.model_validate(reference))
        if reason := _why_no_examples(handle):
            raise BenchError(_refusal(_name(grounder), reason))
    return Parts(retriever, encoder, handle, settings, seed)


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


def _refusal(name: str, reason: str) -> str:
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
        where = ".".join(str(part) for part in mistake["loc"])
        found = mistake.get("input")
        hint = ". A test split is never shown as an example" if found == "test" else ""
        lines.append(f"demonstrations.{where}: {mistake['msg']} (found {found!r}){hint}.")
    return "\n".join(lines)
