"""Retrieval-based in-context grounding: an encoder chooses solved examples, a VLM grounds.

Composed in a suite and through protocols only::

    {name: lofi-then-vlm, use: in-context, options: {retriever: lofi-tiny, grounder: vlm-tiny,
     demonstrations: {k: 4, similarity: mean}}}

`retriever` is any embedding model, by name or as a suite's models are written, or `random` (new
examples for each query) or `fixed` (the same for all), both by `seed`. `grounder` is any model that
can be shown examples, or `copy-nearest`.

Source: LoFi, arXiv 2603.19451, section on retrieval-based in-context learning; the number of
examples, their order and the similarity are not published, so they are options.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.errors import BenchError
from harness.models import (
    Demonstration,
    EmbeddingModel,
    Grounding,
    InContextGrounder,
    ModelCard,
    Query,
)
from harness.registry import Handle
from harness.tasks.supply import Supply, bank_evaluation, boxed
from lofi.composing import Parts, compose, describe, refusal
from lofi.copying import CopyNearest
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
        answers = list(self.grounder.ground_with(queries, examples))
        if self.parts.settings.order == "nearest first":
            self._keep_nearest(queries, examples, answers)
        return [self._told(answer, one) for answer, one in zip(answers, chosen, strict=True)]

    def _keep_nearest(
        self,
        queries: Sequence[Query],
        examples: Sequence[Sequence[Demonstration]],
        answers: list[Grounding],
    ) -> None:
        """Ask again, in place, where the context had less room, without the furthest examples.

        A grounder leaves out what stands first, which here would be the nearest ones.
        """
        shown = [list(one) for one in examples]
        while True:
            cut = [
                place
                for place, answer in enumerate(answers)
                if len(answer.demonstrations) < len(shown[place])
            ]
            if not cut:
                return
            for place in cut:
                shown[place] = shown[place][: len(answers[place].demonstrations)]
            again = self.grounder.ground_with([queries[p] for p in cut], [shown[p] for p in cut])
            for place, answer in zip(cut, again, strict=True):
                answers[place] = answer

    def _told(self, answer: Grounding, chosen: Chosen) -> Grounding:
        """The answer with the ids of what was really shown: the context may have had less room."""
        assert self.bank is not None
        kept = chosen[: len(answer.demonstrations)]  # the furthest are left out
        if self.parts.settings.order == "nearest last":
            kept = kept[::-1]
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
            return CopyNearest(self.card, self.parts.settings.order == "nearest first")
        model = self.parts.grounder.load(self.device)
        if not isinstance(model, InContextGrounder):
            raise BenchError(refusal(self.parts.grounder.reference.name, "takes no examples"))
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


def load(
    device: str = "cpu",
    *,
    retriever: Any,
    grounder: Any,
    demonstrations: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> InContext:
    """The composed model; its parts are loaded when it is given its bank."""
    parts = compose(retriever, grounder, demonstrations, seed)
    return InContext(describe(retriever, grounder, demonstrations, seed), parts, device)
