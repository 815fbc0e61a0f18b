"""A released LoFi or LoFi-MedG checkpoint (`torch.save`, one file) as a LoFi directory.

Source: the checkpoint layout of the released code line (arXiv 2608.00976), knowledge of its keys;
nothing is executed from the file (`weights_only=True`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.errors import BenchError

Tensors = dict[str, Tensor]
PARTS = ("state_dict", "projection", "decoder", "args")
_DECODER_NAMES = {
    "tok_emb.weight": "model.embed_tokens.weight",
    "final_norm.scale": "model.norm.weight",
    "out_head.weight": "lm_head.weight",
}
_BLOCK_NAMES = {
    "att.W_query": "self_attn.q_proj",
    "att.W_key": "self_attn.k_proj",
    "att.W_value": "self_attn.v_proj",
    "att.out_proj": "self_attn.o_proj",
    "ff.fc1": "mlp.gate_proj",
    "ff.fc2": "mlp.up_proj",
    "ff.fc3": "mlp.down_proj",
    "att.q_norm": "self_attn.q_norm",
    "att.k_norm": "self_attn.k_norm",
}
_HEAD_NAMES = {
    "probe": "probe",
    "attention.in_proj_weight": "in_weight",
    "attention.in_proj_bias": "in_bias",
    "attention.out_proj.weight": "out_weight",
    "attention.out_proj.bias": "out_bias",
    "layernorm.weight": "norm_weight",
    "layernorm.bias": "norm_bias",
    "mlp.fc1.weight": "fc1_weight",
    "mlp.fc1.bias": "fc1_bias",
    "mlp.fc2.weight": "fc2_weight",
    "mlp.fc2.bias": "fc2_bias",
}


@dataclass(frozen=True)
class Released:
    """The parts of a released file under the names used here; adapters merged into weights."""

    towers: Tensors
    pooling: Tensors
    projection: Tensors
    decoder: Tensors
    arguments: Mapping[str, Any]
    unmatched: tuple[str, ...] = field(default=())


def read_released(file: Path) -> Released:
    """The weights of a released checkpoint, as float32.

    Raises:
        BenchError: not a file of that layout, or one that holds more than tensors and plain values.
    """
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BenchError(
            f"{file}: cannot be read safely ({type(error).__name__}: {error}). Expected a "
            "torch.save file of tensors and plain values. Download it again, or ask its author."
        ) from error
    missing = [part for part in PARTS if not isinstance(stored, dict) or part not in stored]
    if missing:
        raise BenchError(
            f"{file}: no {', '.join(missing)}. Expected the parts {', '.join(PARTS)} of a "
            "released LoFi checkpoint. Name its last.pt or ep<k>.pt."
        )
    given = dict(stored["args"])
    rank = (int(given.get("lora_alpha", 16)), int(given.get("lora_r", 16)))
    towers, odd_towers = merge(stored["state_dict"], rank)
    pooling, projection, odd = split_projection(stored["projection"])
    decoder_rank = (int(given.get("decoder_lora_alpha", 4)), int(given.get("decoder_lora_r", 4)))
    merged, odd_merged = merge(stored["decoder"], decoder_rank)
    decoder, odd_decoder = rename_decoder(merged)
    unmatched = (*odd_towers, *odd, *odd_merged, *odd_decoder)
    return Released(towers, pooling, projection, decoder, given, tuple(sorted(unmatched)))


def merge(tensors: Mapping[str, Tensor], rank: tuple[int, int]) -> tuple[Tensors, list[str]]:
    """Weights with their low-rank parts added: W + (alpha / r) B A; and parts without a weight.

    Args:
        tensors: `<name>.weight`, beside some `<name>.lora_a` (r, in) and `<name>.lora_b`
            (out, r).
        rank: alpha and r.
    """
    alpha, r = rank
    plain = {k: v.float() for k, v in tensors.items() if not k.endswith(("lora_a", "lora_b"))}
    unmatched = []
    for name in sorted(tensors):
        if not name.endswith(".lora_a"):
            continue
        stem = name.removesuffix(".lora_a")
        target = f"{stem}.weight"
        if target not in plain or f"{stem}.lora_b" not in tensors:
            unmatched.append(name)
            continue
        low = tensors[f"{stem}.lora_b"].float() @ tensors[name].float()
        plain[target] = plain[target] + (alpha / max(r, 1)) * low
    stray = [
        name
        for name in tensors
        if name.endswith(".lora_b") and f"{name.removesuffix('lora_b')}lora_a" not in tensors
    ]
    return plain, unmatched + stray


def split_projection(tensors: Mapping[str, Tensor]) -> tuple[Tensors, Tensors, list[str]]:
    """The stacked pooling heads, the two linear layers, and the keys that are neither."""
    heads: dict[int, Tensors] = {}
    projection, unmatched = {}, []
    for name, value in tensors.items():
        found = re.fullmatch(r"poolings\.(\d+)\.(.+)", name)
        if found and found[2] in _HEAD_NAMES:
            heads.setdefault(int(found[1]), {})[found[2]] = value.float()
        elif re.fullmatch(r"projection\.[02]\.(weight|bias)", name):
            projection[name.removeprefix("projection.")] = value.float()
        else:
            unmatched.append(name)
    if not heads:
        return {}, projection, unmatched
    order = range(max(heads) + 1)
    gaps = [
        f"poolings.{k}.{part}"
        for k in order
        for part in _HEAD_NAMES
        if part not in heads.get(k, {})
    ]
    if gaps:
        raise BenchError(f"projection: missing {', '.join(gaps[:5])}. Expected whole heads.")
    stacked = {
        ours: torch.stack([_shaped(part, heads[k][part]) for k in order])
        for part, ours in _HEAD_NAMES.items()
    }
    return stacked, projection, unmatched


def _shaped(part: str, value: Tensor) -> Tensor:
    if part == "probe":
        return value.reshape(-1)
    if part.startswith("attention.in_proj"):
        return value.unflatten(0, (3, -1))
    return value


def rename_decoder(tensors: Mapping[str, Tensor]) -> tuple[Tensors, list[str]]:
    """The decoder under transformers' names, and the keys that have none."""
    out, unmatched = {}, []
    for name, value in tensors.items():
        ours = _decoder_name(name)
        if ours is None:
            unmatched.append(name)
        else:
            out[ours] = value
    return out, unmatched


def _decoder_name(name: str) -> str | None:
    if name in _DECODER_NAMES:
        return _DECODER_NAMES[name]
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|scale)", name)
    if not found:
        return None
    layer, part, _ = found.groups()
    if part.endswith("layernorm"):
        return f"model.layers.{layer}.{part}.weight"
    ours = _BLOCK_NAMES.get(part)
    return f"model.layers.{layer}.{ours}.weight" if ours else None


def fill(module: torch.nn.Module, tensors: Mapping[str, Tensor], *, what: str) -> list[str]:
    """Copy matching tensors into a module; the keys on either side that found no partner.

    Raises:
        BenchError: a key fits but its shape does not.
    """
    known = module.state_dict()
    wrong = [
        f"{name} is {tuple(value.shape)}, expected {tuple(known[name].shape)}"
        for name, value in tensors.items()
        if name in known and known[name].shape != value.shape
    ]
    if wrong:
        raise BenchError(
            f"{what}: {'; '.join(wrong[:5])}. The checkpoint belongs to another base model. "
            "Name the one in its args."
        )
    module.load_state_dict({k: v for k, v in tensors.items() if k in known}, strict=False)
    return _listed(what, "unknown", tensors.keys() - known.keys()) + _listed(
        what, "missing", known.keys() - tensors.keys()
    )


def _listed(what: str, side: str, names: Iterable[str]) -> list[str]:
    return [f"{side} {what}.{name}" for name in sorted(names)]
