"""A trained multi-image model made deeper: it goes on from what it knows."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from transformers import Gemma3ForConditionalGeneration

from harness.errors import BenchError
from lofi.vlm.build import damp
from lofi.vlm.config import VlmConfig
from lofi.vlm.save import load_vlm

HINTS = "hints.pt"
RECORD = "training.json"
DAMPED = 0.3  # of a new layer's output at the start


def is_earlier_vlm(folder: str) -> bool:
    """Whether a training is to go on from the checkpoint of a multi-image model."""
    return bool(folder) and (Path(folder) / HINTS).is_file()


def grow(folder: Path, config: VlmConfig) -> tuple[Any, Any]:
    """The model of a checkpoint with as many layers as `config` asks for, and its processor.

    New layers go below the last one, as damped copies of those that stand there: what is asked is
    known only after several layers have read the examples, and needs layers above them to look at
    the query's image with.

    Source: Gong et al. 2019 (ICML, "Efficient training of BERT by progressively stacking").

    Raises:
        BenchError: the checkpoint has more layers than asked for.
    """
    model, processor = load_vlm(folder)
    before = json.loads((folder / RECORD).read_text())["settings"]["extra_layers"]
    more = config.extra_layers - before
    if more < 0:
        raise BenchError(
            f"init={folder}: it has {before} extra layers. Expected at most extra_layers "
            f"{config.extra_layers}. Raise extra_layers."
        )
    return (_deeper(model, more) if more else model).eval(), processor


@torch.no_grad()
def _deeper(model: Gemma3ForConditionalGeneration, more: int) -> Gemma3ForConditionalGeneration:
    wide = copy.deepcopy(model.config)
    count = wide.text_config.num_hidden_layers + more
    wide.text_config.num_hidden_layers = count
    wide.text_config.layer_types = ["full_attention"] * count
    deeper = Gemma3ForConditionalGeneration(wide)
    old, new = model.model.language_model.layers, deeper.model.language_model.layers
    order = [*range(len(old) - 1), *range(len(old) - 1 - more, len(old) - 1), len(old) - 1]
    state = {k: v for k, v in model.state_dict().items() if ".language_model.layers." not in k}
    deeper.load_state_dict(state, strict=False)
    for place, taken in enumerate(order):
        new[place].load_state_dict(old[taken].state_dict())
    for layer in new[len(old) - 1 : -1]:
        damp(layer.post_attention_layernorm, DAMPED)
        damp(layer.post_feedforward_layernorm, DAMPED)
    return deeper


def earlier_hints(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of the hints' heads of a checkpoint."""
    return dict(torch.load(folder / HINTS, weights_only=True))


def earlier_record(folder: Path) -> dict[str, Any]:
    """What the first part of a training was: settings, steps, conversations, seconds."""
    record = json.loads((folder / RECORD).read_text())
    kept = ("settings", "step", "conversations", "seconds", "sessions")
    return {name: record[name] for name in kept}
