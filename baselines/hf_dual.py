"""Family `hf_dual`: dual encoders of transformers, and vision-only models for image retrieval.

CLIP, PubMedCLIP, XrayCLIP, XraySigLIP, MedSigLIP, SigLIP 2, TIPSv2; RAD-DINO. Pixels follow the
checkpoint's own processor as Pillow computes it (`backend="pil"`): that is what these models were
published with, where the default of transformers 5 resizes by torchvision.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from baselines.card_schema import Card, TextRules
from baselines.dual import DualEncoder, TextTower, Towers, dual_encoder
from baselines.offline import go_offline
from baselines.pixels import PixelRules
from baselines.processor_geometry import official_geometry, official_scale
from baselines.weights import Weights
from harness.errors import BenchError
from harness.geometry import read_geometry

Tensor = torch.Tensor


def load(card: Card, weights: Weights, device: str = "cpu") -> DualEncoder:
    """The dual encoder of a card; without `text` on the card, images only.

    Raises:
        BenchError: the folder does not hold what the card says.
    """
    go_offline()
    model = _model(card, weights).eval().to(device)
    processor = AutoImageProcessor.from_pretrained(
        weights.folder, backend="pil", local_files_only=True
    )
    towers = Towers(
        pixels=_pixel_rules(card, processor),
        embed=_image_tower(model),
        text=_text_tower(model, card, weights, device) if card.text else None,
        patches=_patches(model, card),
    )
    return dual_encoder(card, weights, towers, device)


def _model(card: Card, weights: Weights) -> Any:
    try:
        return AutoModel.from_pretrained(
            weights.folder,
            dtype=torch.float32,  # the default would take the checkpoint's own, maybe bfloat16
            attn_implementation=card.runtime.attention,
            local_files_only=True,
            trust_remote_code=card.runtime.remote_code,
        )
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(
            f"{card.name}: {weights.folder.name} is no model that transformers can load: {error}"
        ) from error


def _pixel_rules(card: Card, processor: Any) -> PixelRules:
    rules = card.image
    mean, std = _statistics(card, processor)
    return PixelRules(
        geometry=read_geometry(rules.geometry or official_geometry(processor)),
        mean=rules.mean or mean,
        std=rules.std or std,
        scale=rules.scale if "scale" in rules.model_fields_set else official_scale(processor),
        stretch=rules.stretch,
    )


def _statistics(card: Card, processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of the processor; those that change nothing if it does not normalize."""
    if not processor.do_normalize:
        return (0.0,) * 3, (1.0,) * 3
    found = (processor.image_mean, processor.image_std)
    if None in found and not (card.image.mean and card.image.std):
        raise BenchError(
            f"{card.name}: its processor normalizes pixels but has no image_mean and image_std. "
            "Expected both. Set image.mean and image.std on the card."
        )
    mean, std = (tuple(values or ()) for values in found)
    return mean, std


def _image_tower(model: Any) -> Callable[[Tensor], Tensor]:
    """Pixels to the image embedding; of a vision-only model, its pooled output."""
    side = getattr(getattr(model.config, "vision_config", model.config), "image_size", None)

    def embed(pixels: Tensor) -> Tensor:
        other = {} if pixels.shape[-1] == side else {"interpolate_pos_encoding": True}
        if hasattr(model, "get_image_features"):
            return model.get_image_features(pixel_values=pixels, **other).pooler_output
        # DINO models interpolate by themselves and know no such argument.
        return model(pixel_values=pixels).pooler_output

    return embed


def _text_tower(model: Any, card: Card, weights: Weights, device: str) -> TextTower:
    tokenizer = AutoTokenizer.from_pretrained(weights.folder, local_files_only=True)
    rules = card.text
    if rules is None:
        raise ValueError(f"{card.name}: a text tower without text rules")
    pools_last = model.config.model_type.startswith("siglip")
    if pools_last:
        _check_siglip(card, rules)
        # It was trained on padding to the right, seen by attention: no mask, whatever the
        # checkpoint's tokenizer file says.
        tokenizer.padding_side = "right"

    def tokenize(texts: Sequence[str]) -> Any:
        tokens = tokenizer(
            list(texts),
            padding=rules.padding,
            max_length=rules.max_tokens,
            truncation=True,
            return_tensors="pt",
        ).to(device)
        return {"input_ids": tokens["input_ids"]} if pools_last else tokens

    def count(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]

    def embed(tokens: Any) -> Tensor:
        return model.get_text_features(**tokens).pooler_output

    return TextTower(tokenize, embed, count)


def _check_siglip(card: Card, rules: TextRules) -> None:
    if rules.padding != "max_length":
        raise BenchError(
            f"{card.name}: text.padding is {rules.padding!r}: SigLIP pools its last position and "
            "must be padded to max_length"
        )


def _patches(model: Any, card: Card) -> Callable[[Tensor], Tensor] | None:
    """How patches come into the text's space, or None where they do not."""
    if card.patches is None or card.patches.projection == "none":
        return None
    kind = model.config.model_type
    if kind not in _PATCHES:
        raise BenchError(
            f"{card.name}: patches.projection: no way is known for model type {kind}; known: "
            f"{', '.join(_PATCHES)}"
        )
    return lambda pixels: _PATCHES[kind](model, pixels)


def _as_grid(tokens: Tensor, pixels: Tensor, patch: int) -> Tensor:
    rows, columns = (side // patch for side in pixels.shape[-2:])
    return tokens.reshape(len(tokens), rows, columns, -1)


def _clip_patches(model: Any, pixels: Tensor) -> Tensor:
    """Patch tokens through the final norm and the projection, neither trained for them."""
    tokens = model.vision_model(pixel_values=pixels).last_hidden_state[:, 1:]
    vectors = model.visual_projection(model.vision_model.post_layernorm(tokens))
    return _as_grid(vectors, pixels, model.config.vision_config.patch_size)


def _siglip_patches(model: Any, pixels: Tensor) -> Tensor:
    """Each patch as if it were the whole image: alone through the attention-pooling head.

    Attention over one token is that token's value, so the head's query plays no part.
    """
    vision = model.vision_model
    side = model.config.vision_config.image_size
    other = {} if pixels.shape[-1] == side else {"interpolate_pos_encoding": True}
    tokens = vision(pixel_values=pixels, **other).last_hidden_state
    attention = vision.head.attention
    weight, bias = (part.chunk(3)[2] for part in (attention.in_proj_weight, attention.in_proj_bias))
    pooled = attention.out_proj(torch.nn.functional.linear(tokens, weight, bias))
    vectors = pooled + vision.head.mlp(vision.head.layernorm(pooled))
    return _as_grid(vectors, pixels, model.config.vision_config.patch_size)


def _tips_patches(model: Any, pixels: Tensor) -> Tensor:
    """Patch tokens as they are: TIPS trains them against text."""
    config = model.config.vision_config
    tokens = model.vision_model(pixel_values=pixels).last_hidden_state
    return _as_grid(tokens[:, 1 + config.num_register_tokens :], pixels, config.patch_size)


_PATCHES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "clip": _clip_patches,
    "metaclip_2": _clip_patches,
    "siglip": _siglip_patches,
    "tipsv2": _tips_patches,
}
