"""A Gemma 3 of MedGemma's class made from the parts of a LoFi model, with its own processor."""

import json
import math
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    PreTrainedTokenizerFast,
)

from lofi.build import build as build_lofi
from lofi.build import lofi_folder
from lofi.checkpoint import from_pretrained
from lofi.config import read_preset
from lofi.model import LofiModel
from lofi.picture import to_input
from lofi.prompt import END, HEAD, MIDDLE
from lofi.vlm.config import Tower, VlmConfig
from lofi.vlm.pictures import rgb
from lofi.vlm.tower import STRIDE, tower_config

BEGIN_IMAGE, END_IMAGE, SOFT = "<start_of_image>", "<end_of_image>", "<image_soft_token>"
DAMPED = 0.1  # of an extra layer's output at the start
BLANK = "\n\n"  # what Gemma's processor puts around an image: one token here

# Each message as LoFi writes it, so that a decoder of LoFi reads what it knows.
CHAT = (
    "{{ bos_token }}{% for m in messages %}"
    f"{{% if m.role == 'user' %}}{{{{ {json.dumps(HEAD)} }}}}{{% endif %}}"
    "{% for c in m.content %}{% if c.type == 'image' %}"
    f"{BEGIN_IMAGE}"
    "{% elif m.role == 'user' %}{{ '\\n' + c.text }}{% else %}{{ c.text }}{% endif %}{% endfor %}"
    f"{{% if m.role == 'user' %}}{{{{ {json.dumps(MIDDLE)} }}}}"
    f"{{% else %}}{{{{ {json.dumps(END)} }}}}{{% endif %}}"
    "{% endfor %}"
)


def starting_point(config: VlmConfig, texts: list[str]) -> LofiModel:
    """The LoFi model whose parts are taken: a trained one, or a fresh one of the preset's sizes."""
    if config.init:
        return from_pretrained(lofi_folder(config.init))
    overrides = {"training.seed": config.training.seed}
    return build_lofi(read_preset(config.fresh, overrides), texts)


def build(
    lofi: LofiModel, tower: Tower, *, extra_layers: int, seed: int = 0
) -> tuple[Gemma3ForConditionalGeneration, Gemma3Processor]:
    """The model and its processor, ready for training.

    The words and the decoder's layers are those of `lofi`. `extra_layers` more go below: copies of
    its layers whose outputs start damped, so that they can learn to read examples while the layers
    above still ground phrases as they did.
    """
    torch.manual_seed(seed)
    processor = make_processor(lofi, tower)
    model = Gemma3ForConditionalGeneration(_config(lofi, processor, extra_layers, tower))
    _take_decoder(model, lofi, extra_layers)
    return model.eval(), processor


def make_processor(lofi: LofiModel, tower: Tower) -> Gemma3Processor:
    """LoFi's tokenizer with Gemma's image tokens, its chat template, and square pictures."""
    raw = PreTrainedTokenizerFast(
        tokenizer_object=lofi.tokenizer._tokenizer,
        pad_token=lofi.tokenizer.pad_token,
        bos_token=lofi.tokenizer.bos_token,
        clean_up_tokenization_spaces=False,
        extra_special_tokens={
            "boi_token": BEGIN_IMAGE,
            "eoi_token": END_IMAGE,
            "image_token": SOFT,
        },
    )
    raw.add_tokens([_added(BLANK)])
    return Gemma3Processor(
        Gemma3ImageProcessor(size={"height": tower.side, "width": tower.side}, resample=3),
        raw,
        chat_template=CHAT,
        image_seq_length=(tower.side // STRIDE) ** 2,
    )


def _added(text: str) -> Any:
    from tokenizers import AddedToken

    return AddedToken(text, normalized=False)


def _config(
    lofi: LofiModel, processor: Gemma3Processor, extra_layers: int, tower: Tower
) -> Gemma3Config:
    tokenizer = processor.tokenizer
    number = tokenizer.convert_tokens_to_ids
    text = lofi.decoder.config.to_dict()
    layers = lofi.decoder.config.num_hidden_layers + extra_layers
    text |= {
        "vocab_size": len(tokenizer),
        "num_hidden_layers": layers,
        "layer_types": ["full_attention"] * layers,
        "num_key_value_heads": lofi.decoder.config.num_attention_heads,
        "max_position_embeddings": 4096,
    }
    return Gemma3Config(
        text_config={k: v for k, v in text.items() if k not in ("architectures", "model_type")},
        vision_config=tower_config(tower).to_dict(),
        mm_tokens_per_image=processor.image_seq_length,
        boi_token_index=number(BEGIN_IMAGE),
        eoi_token_index=number(END_IMAGE),
        image_token_id=number(SOFT),
        image_token_index=number(SOFT),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=number(END),
        tie_word_embeddings=True,
    )


@torch.no_grad()
def _take_decoder(model: Gemma3ForConditionalGeneration, lofi: LofiModel, extra: int) -> None:
    language, source = model.model.language_model, lofi.decoder.model
    words = language.embed_tokens.weight
    words[: len(source.embed_tokens.weight)] = source.embed_tokens.weight
    language.norm.load_state_dict(source.norm.state_dict())
    below = [source.layers[index % len(source.layers)] for index in range(extra)]
    for layer, taken in zip(language.layers, [*below, *source.layers], strict=True):
        layer.load_state_dict(_own_heads(taken.state_dict(), lofi.decoder.config))
    for layer in language.layers[:extra]:
        damp(layer.post_attention_layernorm, DAMPED)
        damp(layer.post_feedforward_layernorm, DAMPED)
    projection = model.model.multi_modal_projector.mm_input_projection_weight
    projection.copy_(torch.randn_like(projection) / math.sqrt(len(projection)))


def _own_heads(weights: dict[str, Tensor], text: Any) -> dict[str, Tensor]:
    """The layer with keys and values of its own for each head, which start as the shared ones."""
    times = text.num_attention_heads // text.num_key_value_heads
    out = dict(weights)
    for name in ("self_attn.k_proj.weight", "self_attn.v_proj.weight"):
        heads = weights[name].unflatten(0, (text.num_key_value_heads, -1))
        out[name] = heads.repeat_interleave(times, 0).flatten(0, 1)
    return out


def damp(norm: nn.Module, share: float) -> None:
    """Leave a share of its output: Gemma's norm multiplies by 1 + weight."""
    norm.weight.copy_(share * (1 + norm.weight) - 1)


@torch.no_grad()
def fit_projector(
    model: Gemma3ForConditionalGeneration,
    lofi: LofiModel,
    squares: UInt8[np.ndarray, "n s s"],
) -> float:
    """Start the projector where it gives what LoFi's pooling gives; the share it explains.

    Ridge regression from the tower's normed tokens to LoFi's multimodal tokens, whose probes begin
    at the same places. Where one has other pictures or counts nothing is done, and the share is 0.
    """
    vision = lofi.towers.config.vision_config
    if vision.image_size != squares.shape[-1]:
        return 0.0
    pixels = rgb(to_input(squares))
    wanted = lofi.image_tokens(lofi.patches(pixels[:, : vision.num_channels]))
    projector = model.model.multi_modal_projector
    given = projector.mm_soft_emb_norm(model.model.vision_tower(pixels).last_hidden_state)
    if wanted.shape[1] != given.shape[1]:
        return 0.0
    x, y = given.flatten(0, 1).double(), wanted.flatten(0, 1).double()
    ridge = 1e-3 * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    weight = torch.linalg.solve(x.T @ x + ridge, x.T @ y)
    projector.mm_input_projection_weight.copy_(weight.float())
    rest = (x @ weight - y).pow(2).sum() / y.pow(2).sum()
    return float(1 - rest)
