"""Examples in a model's context: how many fit, and a beginning shared by queries is read once."""

import copy
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from transformers import DynamicCache

from baselines.card_schema import VlmRules
from baselines.vlm_inputs import Turn, batch_inputs

# Kinds whose answers after a kept beginning were found equal to those without (tests hold it).
# Others may number positions by all images of a conversation, and are read whole.
KEEPING = ("gemma3",)

Conversation = Sequence[Turn]


def room_of(model: Any, rules: VlmRules) -> int | None:
    """Tokens a question and its examples may have, the answer's set aside; None: no limit known."""
    own = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limit = rules.context or own
    return None if limit is None else int(limit) - rules.max_new_tokens


def lengths_of(inputs: Any) -> list[int]:
    """Tokens of each item, padding left out."""
    return [int(n) for n in inputs["attention_mask"].sum(1)]


def fitting(
    processor: Any, rules: VlmRules, items: Sequence[Conversation], room: int | None
) -> tuple[list[Conversation], Any]:
    """The conversations with as many of their last examples as there is room for, and the inputs.

    The first examples are left out, which are the least similar. A question that does not fit by
    itself stays as it is.
    """
    kept = list(items)
    inputs = batch_inputs(processor, rules, kept)
    if room is None:
        return kept, inputs
    long = [row for row, length in enumerate(lengths_of(inputs)) if length > room]
    if not any(len(kept[row]) > 1 for row in long):
        return kept, inputs
    for row in long:
        while len(kept[row]) > 1 and _length(processor, rules, kept[row]) > room:
            kept[row] = kept[row][1:]
    return kept, batch_inputs(processor, rules, kept)


def _length(processor: Any, rules: VlmRules, item: Conversation) -> int:
    return lengths_of(batch_inputs(processor, rules, [item]))[0]


@dataclass
class Beginning:
    """What was read of the last shared beginning: its tokens and the states they left."""

    ids: torch.Tensor | None = None
    states: Any = None
    examples: Hashable = None


@dataclass
class Reader:
    """Answers of a model; rows that share their examples share the reading of them.

    `reused` counts the rows whose examples had been read before.
    """

    model: Any
    last: Beginning = field(default_factory=Beginning)
    reused: int = 0

    def keeps(self, shared: Sequence[Hashable]) -> bool:
        """Whether all rows have the same examples and it is worth reading them apart."""
        same = len(set(shared)) == 1 and shared[0] != ()
        known = same and shared[0] == self.last.examples
        return same and (len(shared) > 1 or known) and self.model.config.model_type in KEEPING

    def after_examples(self, inputs: Any, examples: Hashable, **settings: Any) -> list[list[int]]:
        """The new tokens of each row; all rows begin with the same examples.

        Rows of one length are answered together, so no padding stands before a kept beginning.
        """
        whole = self._rows(inputs)
        pixels = inputs["pixel_values"].unflatten(0, (len(whole), -1))
        begins = self._last_image(whole[0])
        if any(not torch.equal(row[:begins], whole[0][:begins]) for row in whole):
            raise ValueError("rows with the same examples begin with different tokens")
        self._read(whole[0][:begins], pixels[0, :-1], examples)
        out: list[list[int]] = [[] for _ in whole]
        for length in sorted({len(row) for row in whole}):
            places = [place for place, row in enumerate(whole) if len(row) == length]
            ids = torch.stack([whole[place] for place in places])
            new = self._generate(ids, pixels[places, -1], settings)
            for place, row in zip(places, new, strict=True):
                out[place] = row
        return out

    def _rows(self, inputs: Any) -> list[torch.Tensor]:
        pairs = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
        return [row[mask.bool()] for row, mask in pairs]

    def _types(self, ids: torch.Tensor) -> torch.Tensor:
        return (ids == self.model.config.image_token_id).long()

    def _last_image(self, row: torch.Tensor) -> int:
        """Where the last image's tokens begin."""
        places = self._types(row).nonzero().flatten()
        gaps = (places.diff() > 1).nonzero().flatten()
        return int(places[gaps[-1] + 1]) if len(gaps) else int(places[0])

    def _read(self, ids: torch.Tensor, pixels: torch.Tensor, examples: Hashable) -> None:
        known = self.last.ids is not None and self.last.examples == examples
        if known and torch.equal(self.last.ids, ids):
            return
        states = DynamicCache(config=self.model.config.get_text_config())
        self.model(
            input_ids=ids[None],
            token_type_ids=self._types(ids)[None],
            pixel_values=pixels,
            use_cache=True,
            logits_to_keep=1,
            **{_cache_name(self.model): states},
        )
        self.last = Beginning(ids, states, examples)

    def _generate(
        self, ids: torch.Tensor, pixels: torch.Tensor, settings: dict[str, Any]
    ) -> list[list[int]]:
        states = copy.deepcopy(self.last.states)  # generation goes on in it
        states.batch_repeat_interleave(len(ids))
        self.reused += len(ids)
        out = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            token_type_ids=self._types(ids),
            pixel_values=pixels,
            **{_cache_name(self.model): states},
            **settings,
        )
        return [row.tolist() for row in out[:, ids.shape[1] :]]


def _cache_name(model: Any) -> str:
    """How `forward` calls the states of earlier tokens: transformers renamed it in 5.24."""
    return "cache" if "cache" in signature(model.forward).parameters else "past_key_values"
