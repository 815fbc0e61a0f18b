"""Batched greedy decoding with a key-value cache."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from lofi.model import LofiModel

SMALL = 256  # numbers a token; below, an operation of one step is too small to share


@contextmanager
def _one_thread_if_small(model: LofiModel) -> Iterator[None]:
    """A small decoder on a CPU runs on one thread: shared by two its steps took twice as long.

    The number of threads is set back, also after an error.
    """
    before = torch.get_num_threads()
    small = model.decoder.config.hidden_size < SMALL and model.scale.device.type == "cpu"
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if small:
            torch.set_num_threads(before)


@torch.no_grad()
def answer(
    model: LofiModel,
    tokens: Float[Tensor, "n k e"],
    *,
    questions: Sequence[str],
    limit: int,
) -> list[tuple[str, bool]]:
    """The greedy answer to each question and whether it ended within `limit` tokens.

    `tokens` holds the multimodal tokens of each question's image. Questions of equal length are
    decoded together, so no padding exists that could change an answer.
    """
    ids = [model.prompts.question(question) for question in questions]
    groups = defaultdict(list)
    for place, one in enumerate(ids):
        groups[len(one)].append(place)
    out: list[tuple[str, bool]] = [("", False)] * len(ids)
    head = model.prompts.head.to(tokens.device)
    for places in groups.values():
        asked = torch.tensor([ids[place] for place in places], device=tokens.device)
        prefix = model.prefix(head, tokens[places])
        text = model.decoder.get_input_embeddings()(asked).to(prefix.dtype)
        with _one_thread_if_small(model):
            rows = _greedy(
                model, torch.cat([prefix, text], dim=1), stop=model.prompts.stop, limit=limit
            )
        for place, row in zip(places, rows, strict=True):
            ended = any(token in model.prompts.stop for token in row)
            out[place] = (model.prompts.text(row), ended)
    return out


def _greedy(
    model: LofiModel, embeddings: Tensor, *, stop: tuple[int, ...], limit: int
) -> list[list[int]]:
    """The ids of each row up to and with its first stop token."""
    cache, name = DynamicCache(config=model.decoder.config), cache_name(model.decoder.model)
    stops = torch.tensor(stop, device=embeddings.device)
    embed = model.decoder.get_input_embeddings()
    done = torch.zeros(len(embeddings), dtype=torch.bool, device=embeddings.device)
    written = []
    for _ in range(limit):
        hidden = model.decoder.model(
            inputs_embeds=embeddings, use_cache=True, **{name: cache}
        ).last_hidden_state[:, -1]
        token = model.decoder.lm_head(hidden).argmax(-1)
        written.append(token)
        done |= torch.isin(token, stops)
        if done.all():
            break
        embeddings = embed(token)[:, None].to(embeddings.dtype)
    columns = torch.stack(written, dim=1).tolist() if written else [[]] * len(embeddings)
    return [_upto(row, stop) for row in columns]


def cache_name(model: Any) -> str:
    """How `forward` calls the states of earlier tokens: transformers renamed it in 5.24."""
    return "cache" if "cache" in signature(model.forward).parameters else "past_key_values"


def _upto(row: list[int], stop: tuple[int, ...]) -> list[int]:
    ends = [place for place, token in enumerate(row) if token in stop]
    return row[: ends[0] + 1] if ends else row
