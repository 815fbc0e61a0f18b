"""A LoFi model from its settings: fresh or pretrained parts, and what of them is trained."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    SiglipConfig,
    SiglipModel,
)

from harness.errors import BenchError
from harness.registry import shipped_checkpoints
from lofi.config import PARTS, LofiConfig
from lofi.model import LofiModel
from lofi.pooling import pool_grid, position_codes, start_heads_at_places
from lofi.prompt import END, train_tokenizer
from lofi.stem import put_stem, stem_of


def build(config: LofiConfig, texts: Iterable[str] = ()) -> LofiModel:
    """A model ready for training: pretrained parts loaded, fresh parts initialized, adapters added.

    `towers.pretrained` is a SigLIP folder or hub name, or a LoFi directory, whose towers are taken.
    `texts` teach the small tokenizer of fresh parts; the start is decided by the training seed.
    With `init` the whole model is that directory's, words included.
    """
    if config.init:
        model = LofiModel.from_pretrained(lofi_folder(config.init))
        model.config = settings_for(config, model)
        return model
    fresh = not (config.towers.pretrained and config.decoder.pretrained)
    small = train_tokenizer(texts, config.data.vocabulary) if fresh else None
    torch.manual_seed(config.training.seed)
    towers, text_tokenizer = _towers(config, small)
    if config.towers.pretrained:
        # Loading drew random numbers too: the decoder on it must not depend on how many.
        torch.manual_seed(config.training.seed)
    model = LofiModel(
        as_built(config, towers),
        towers,
        _decoder(config, small),
        tokenizer=_tokenizer(config.decoder.pretrained, small, config.decoder.gguf_file),
        text_tokenizer=text_tokenizer,
    )
    if config.tokens.spatial_start:
        _start_at_places(model)
    return adapt(model)


def settings_for(config: LofiConfig, model: LofiModel) -> LofiConfig:
    """The settings to train a stored model on by: with `init` its parts are as they are."""
    if not config.init:
        return as_built(config, model.towers)
    return config.model_copy(update={name: getattr(model.config, name) for name in PARTS})


def lofi_folder(named: str) -> Path:
    """The folder of a LoFi: a shipped checkpoint's if `named` is its name, else `named` itself."""
    return shipped_checkpoints().get(named, Path(named))


def as_built(config: LofiConfig, towers: SiglipModel) -> LofiConfig:
    """The settings with the sizes that pretrained towers really have; fresh ones have their own."""
    if not config.towers.pretrained:
        return config
    vision, text = towers.config.vision_config, towers.config.text_config
    sizes = {
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "channels": vision.num_channels,
        "max_tokens": text.max_position_embeddings,
        "stem": stem_of(towers),
    }
    return config.model_copy(update={"towers": config.towers.model_copy(update=sizes)})


def _towers(config: LofiConfig, small: Any) -> tuple[SiglipModel, Any]:
    """The towers and the tokenizer of the text tower."""
    pretrained = config.towers.pretrained
    if not pretrained:
        return _fresh_towers(config, small), small
    folder = lofi_folder(pretrained)
    if (folder / "training.json").is_file():
        source = LofiModel.from_pretrained(folder)
        return source.towers, source.text_tokenizer
    with _naming("towers.pretrained", "--encoder", pretrained):
        return SiglipModel.from_pretrained(pretrained), _tokenizer(pretrained, small)


@contextmanager
def _naming(setting: str, flag: str, named: str) -> Iterator[None]:
    """What transformers says of a base model that it cannot find, with what to do about it."""
    try:
        yield
    except OSError as error:
        said = str(error).strip().splitlines()[0]
        raise BenchError(
            f"{setting}={named}: {said} Expected a folder, a hub name whose files are here or may "
            "be fetched, or the name of a shipped checkpoint. "
            f"Name a folder: -o {setting}=FOLDER, or {flag} FOLDER of bench convert."
        ) from error


def _tokenizer(pretrained: str, small: Any, gguf_file: str = "") -> Any:
    extra = {"gguf_file": gguf_file} if gguf_file else {}
    return AutoTokenizer.from_pretrained(pretrained, **extra) if pretrained else small


def _fresh_towers(config: LofiConfig, tokenizer: Any) -> SiglipModel:
    sizes = config.towers
    shared = {
        "hidden_size": sizes.hidden_size,
        "intermediate_size": 4 * sizes.hidden_size,
        "num_attention_heads": sizes.heads,
    }
    vision = {
        "num_hidden_layers": sizes.layers,
        "image_size": sizes.image_size,
        "patch_size": sizes.patch_size,
        "num_channels": sizes.channels,
    }
    text = {
        "num_hidden_layers": sizes.text_layers,
        "vocab_size": len(tokenizer),
        **_special_ids(tokenizer),
        "max_position_embeddings": sizes.max_tokens,
        "projection_size": sizes.hidden_size,
    }
    settings = SiglipConfig(vision_config={**shared, **vision}, text_config={**shared, **text})
    model = SiglipModel(settings)
    if sizes.stem == "convolutions":
        put_stem(model)
    with torch.no_grad():  # transformers starts both at 0
        model.logit_scale.fill_(math.log(sizes.start_scale))
        model.logit_bias.fill_(sizes.start_bias)
    return model


def _decoder(config: LofiConfig, tokenizer: Any) -> Gemma3ForCausalLM:
    sizes = config.decoder
    if sizes.pretrained:
        extra = {"gguf_file": sizes.gguf_file} if sizes.gguf_file else {}
        with _naming("decoder.pretrained", "--decoder", sizes.pretrained):
            return AutoModelForCausalLM.from_pretrained(sizes.pretrained, **extra)
    settings = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        **_special_ids(tokenizer),
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.mlp_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=1,
        head_dim=sizes.head_dim,
        query_pre_attn_scalar=sizes.head_dim,
        layer_types=["full_attention"] * sizes.layers,
        max_position_embeddings=2048,
        sliding_window=512,
        initializer_range=1 / math.sqrt(sizes.hidden_size),
    )
    return Gemma3ForCausalLM(settings)


def _special_ids(tokenizer: Any) -> dict[str, int]:
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.convert_tokens_to_ids(END),
    }


@torch.no_grad()
def _start_at_places(model: LofiModel) -> None:
    embeddings = model.towers.vision_model.embeddings
    side = math.isqrt(embeddings.num_positions)
    codes = position_codes(side, embeddings.embed_dim)
    if not model.config.towers.pretrained:
        embeddings.position_embedding.weight.copy_(codes * 0.5)
        start_heads_at_places(model.towers.vision_model.head, codes)
    pooled = pool_grid(codes[None], model.config.tokens.pool)[0]
    model.pooling.start_at_places(pooled)


def adapt(model: LofiModel) -> LofiModel:
    """The model with its low-rank adapters and with everything frozen that is not trained.

    With an encoder rank, each linear layer of both towers whose name matches (and has no "head")
    gets an adapter, and parameters with "head" in their name are trained whole, as in the released
    code. Scale and bias are always trained.
    """
    from peft import LoraConfig, inject_adapter_in_model

    settings = model.config.adapters
    if settings.encoder_rank:
        names = _linear_names(model.towers, settings.encoder_targets)
        lora = LoraConfig(
            r=settings.encoder_rank, lora_alpha=settings.encoder_rank, target_modules=names
        )
        inject_adapter_in_model(lora, model.towers)
        for name, parameter in model.towers.named_parameters():
            parameter.requires_grad_("lora_" in name or "head" in name)
    if settings.freeze_encoder:
        model.towers.requires_grad_(False)
    if settings.decoder_rank:
        names = _linear_names(model.decoder, settings.decoder_targets)
        lora = LoraConfig(
            r=settings.decoder_rank, lora_alpha=settings.decoder_rank, target_modules=names
        )
        inject_adapter_in_model(lora, model.decoder)
    if not settings.freeze_encoder:
        model.towers.logit_scale.requires_grad_(True)
        model.towers.logit_bias.requires_grad_(True)
    return model


def _linear_names(module: nn.Module, targets: tuple[str, ...]) -> list[str]:
    return [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear) and name.split(".")[-1] in targets and "head" not in name
    ]
