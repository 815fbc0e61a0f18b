"""A released LoFi or LoFi-MedG checkpoint (`torch.save`, one file) as a LoFi directory.

Source: the checkpoint layout of the released code line (arXiv 2608.00976), knowledge of its keys;
nothing is executed from the file (`weights_only=True`).
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.errors import BenchError

Tensors = dict[str, Tensor]
PARTS = ("state_dict", "projection", "decoder", "args")
_AGAIN = "Download it again, or ask its author."
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
    """The parts of a released file under the names used here; adapters merged into weights.

    `text_untouched`: the text tower has adapters, and no gradient ever reached them.
    """

    towers: Tensors
    pooling: Tensors
    projection: Tensors
    decoder: Tensors
    arguments: Mapping[str, Any]
    unmatched: tuple[str, ...] = field(default=())
    text_untouched: bool = False


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
    with naming(file):
        return _released(stored)


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Put the checkpoint's name before what is wrong in it."""
    try:
        yield
    except BenchError as error:
        raise BenchError(f"{file}: {error}") from error


def _released(stored: Mapping[str, Any]) -> Released:
    given = _mapping(stored, "args", "options to their values")
    state, projected, tuned = (_tensors(stored, part) for part in PARTS[:3])
    rank = (_whole(given, "lora_alpha", 16), _whole(given, "lora_r", 16))
    towers, odd_towers = merge(state, rank, what="state_dict")
    pooling, projection, odd = split_projection(projected)
    decoder_rank = (_whole(given, "decoder_lora_alpha", 4), _whole(given, "decoder_lora_r", 4))
    merged, odd_merged = merge(tuned, decoder_rank, what="decoder")
    decoder, odd_decoder = rename_decoder(merged)
    unmatched = (*odd_towers, *odd, *odd_merged, *odd_decoder)
    return Released(
        towers,
        pooling,
        projection,
        _with_words(decoder) if tuned else decoder,
        given,
        tuple(sorted(unmatched)),
        text_untouched=_untouched(state),
    )


def _mapping(stored: Mapping[str, Any], part: str, of: str) -> dict[str, Any]:
    value = stored[part]
    if not isinstance(value, Mapping):
        found = "null" if value is None else type(value).__name__
        raise BenchError(f"{part}: found {found}. Expected a mapping of {of}. {_AGAIN}")
    return dict(value)


def _tensors(stored: Mapping[str, Any], part: str) -> Tensors:
    values = _mapping(stored, part, "names to tensors")
    for name, value in values.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise BenchError(
                f"{part}.{name}: found {type(value).__name__}. Expected a tensor under a name. "
                f"{_AGAIN}"
            )
    return values


def _whole(given: Mapping[str, Any], option: str, default: int) -> int:
    value = given.get(option, default)
    if type(value) is not int or value < 0:
        raise BenchError(
            f"args.{option}: found {value!r}. Expected a whole number: adapters are scaled by "
            f"alpha / r. {_AGAIN}"
        )
    return value


def _untouched(state: Tensors) -> bool:
    """Whether the text tower has adapters and none has moved: their second factor starts at 0."""
    found = [v for k, v in state.items() if k.startswith("text_model.") and k.endswith(".lora_b")]
    return bool(found) and not any(bool(value.any()) for value in found)


def _with_words(decoder: Tensors) -> Tensors:
    """The decoder with both names of its words: embeddings and output head are one tensor."""
    names = ("model.embed_tokens.weight", "lm_head.weight")
    words = [decoder[name] for name in names if name in decoder]
    if not words:
        raise BenchError(
            "decoder: no tok_emb.weight. Expected it beside the decoder's other weights, or an "
            f"empty part if the decoder was not tuned. {_AGAIN}"
        )
    return dict.fromkeys(names, words[0]) | decoder


def merge(
    tensors: Mapping[str, Tensor], rank: tuple[int, int], *, what: str
) -> tuple[Tensors, list[str]]:
    """Weights with their low-rank parts added: W + (alpha / r) B A; and parts without a weight.

    Args:
        tensors: `<name>.weight`, beside some `<name>.lora_a` (r, in) and `<name>.lora_b`
            (out, r).
        rank: alpha and r.
        what: the part they are of, for messages.

    Raises:
        BenchError: a low-rank part does not fit its weight or r.
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
        weight, first, second = plain[target], tensors[name], tensors[f"{stem}.lora_b"]
        why = f"for r {r} of its args and a weight of {tuple(weight.shape)}"
        _check_shape(f"{what}.{name}", first, (r, *weight.shape[1:]), why)
        _check_shape(f"{what}.{stem}.lora_b", second, (*weight.shape[:1], r), why)
        plain[target] = weight + (alpha / max(r, 1)) * (second.float() @ first.float())
    stray = [
        name
        for name in tensors
        if name.endswith(".lora_b") and f"{name.removesuffix('lora_b')}lora_a" not in tensors
    ]
    return plain, unmatched + stray


def _check_shape(key: str, value: Tensor, expected: tuple[int, ...], why: str) -> None:
    if tuple(value.shape) != expected:
        raise BenchError(
            f"{key}: found shape {tuple(value.shape)}. Expected {expected} {why}. {_AGAIN}"
        )


def split_projection(tensors: Mapping[str, Tensor]) -> tuple[Tensors, Tensors, list[str]]:
    """The stacked pooling heads, the two linear layers, and the keys that are neither.

    Raises:
        BenchError: there are no heads, one is incomplete, or one has other shapes than the first.
    """
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
    return _stacked(heads), projection, unmatched


def _stacked(heads: Mapping[int, Tensors]) -> Tensors:
    order = range(max(heads, default=0) + 1)
    gaps = [
        f"poolings.{k}.{part}"
        for k in order
        for part in _HEAD_NAMES
        if part not in heads.get(k, {})
    ]
    if gaps:
        raise BenchError(
            f"projection: missing {', '.join(gaps[:5])}. Expected whole heads from poolings.0 on. "
            f"{_AGAIN}"
        )
    width = heads[0]["probe"].numel()
    shapes = {part: tuple(value.shape) for part, value in heads[0].items()}
    shapes["attention.in_proj_weight"] = (3 * width, width)
    shapes["attention.in_proj_bias"] = (3 * width,)
    for k in order:
        for part, value in heads[k].items():
            why = f"beside poolings.0.probe of {width}"
            _check_shape(f"projection.poolings.{k}.{part}", value, shapes[part], why)
    return {
        ours: torch.stack([_shaped(part, heads[k][part]) for k in order])
        for part, ours in _HEAD_NAMES.items()
    }


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
