"""Images and words in the layout each generative model expects, through its own processor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import PIL.Image

from baselines.card_schema import VlmRules
from harness.models import NotScorable


@dataclass(frozen=True)
class Turn:
    """One image, what is asked of it, and the answer if it is a solved example."""

    image: PIL.Image.Image
    prompt: str
    answer: str | None = None


def batch_inputs(processor: Any, rules: VlmRules, turns: Sequence[Sequence[Turn]]) -> Any:
    """The model's inputs for one batch, padded on the left; each item is examples, then a question.

    Raises:
        NotScorable: examples were given to a layout that has room for one image.
    """
    if rules.layout == "chat":
        return processor.apply_chat_template(
            [conversation(rules, item) for item in turns],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
            processor_kwargs={"padding": True, **rules.processor},
        )
    if any(len(item) > 1 for item in turns):
        raise NotScorable(f"the layout {rules.layout!r} has room for one image, not for examples")
    return processor(
        images=[[item[0].image] for item in turns],
        text=[item[0].prompt for item in turns],
        return_tensors="pt",
        padding=True,
        **rules.processor,
    )


def conversation(rules: VlmRules, turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """The messages of one item: user with image and prompt, assistant with the solved answer."""
    messages = []
    if rules.system:
        messages.append(_message("system", _text(rules.system)))
    for turn in turns:
        picture = {"type": "image", "image": turn.image}
        messages.append(_message("user", picture, _text(turn.prompt)))
        if turn.answer is not None:
            messages.append(_message("assistant", _text(turn.answer)))
    return messages


def _message(role: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": list(content)}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
