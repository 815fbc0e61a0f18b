"""Tiny random dual encoders, written by their own library."""

import json
from pathlib import Path
from typing import Any

import open_clip
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    Tipsv2Config,
    Tipsv2ImageProcessor,
    Tipsv2Model,
)

from baselines.tiny_tokenizers import (
    bert_tokenizer,
    clip_tokenizer,
    siglip_tokenizer,
    tips_tokenizer,
)

Card = dict[str, Any]

_TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_VISION: dict[str, Any] = {**_TOWER, "image_size": 64, "patch_size": 16}


def write_siglip(folder: Path) -> Card:
    """A SigLIP 2 of fixed resolution: 64 px, 16 patches."""
    tokenizer = siglip_tokenizer()
    text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return {
        "family": "hf_dual",
        "text": {"max_tokens": 64, "lower": True},
        "patches": {"projection": "map_value"},
        "variants": {"full-field": {"image": {"geometry": "longest 64, pad 64"}}},
    }


def write_clip(folder: Path) -> Card:
    """A CLIP of transformers: shortest side and centre crop, 77 tokens."""
    tokenizer = clip_tokenizer()
    text = {**_TOWER, "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    config = CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=24)
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=64)
    processor.save_pretrained(folder)
    return {
        "family": "hf_dual",
        "text": {"max_tokens": 77},
        "patches": {"projection": "proj", "sigma": 1.0},
        "variants": {"full-field": {"image": {"geometry": "longest 64, pad 64"}}},
    }


def write_dino(folder: Path) -> Card:
    """A DINOv2 without a text tower, as RAD-DINO."""
    Dinov2Model(Dinov2Config(**_VISION)).save_pretrained(folder)
    processor = BitImageProcessorPil(
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
    )
    processor.save_pretrained(folder)
    return {"family": "hf_dual"}


def write_tips(folder: Path) -> Card:
    """A TIPSv2: pixels of 0-1 that are not normalized, patches in the space of its text."""
    tokenizer = tips_tokenizer()
    vision = {name: size for name, size in _VISION.items() if name != "intermediate_size"}
    text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
    Tipsv2Model(Tipsv2Config(text_config=text, vision_config=vision)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Tipsv2ImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return {
        "family": "hf_dual",
        "text": {"max_tokens": 64},
        "patches": {"projection": "trained"},
    }


def write_openclip(folder: Path) -> Card:
    """An open_clip ViT with open_clip's own tokenizer."""
    config = {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    }
    model = open_clip.CLIP(**config)
    _save_openclip(folder, model, config)
    return {
        "family": "openclip",
        "text": {"max_tokens": 77},
        "patches": {"projection": "proj"},
        "variants": {"full-field": {"image": {"geometry": "longest 64, pad 64"}}},
    }


def write_openclip_bert(folder: Path) -> Card:
    """The shape of BiomedCLIP: a timm image tower, a BERT text tower, a second repository."""
    tokenizer = bert_tokenizer(256)
    bert = folder / "tiny-bert"
    BertConfig(**_TOWER, vocab_size=len(tokenizer), max_position_embeddings=256).save_pretrained(
        bert
    )
    tokenizer.save_pretrained(folder)
    config = {
        "embed_dim": 24,
        "vision_cfg": {
            "timm_model_name": "test_vit",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": 160,
        },
        "text_cfg": {
            "hf_model_name": "tiny-bert",
            "hf_tokenizer_name": "tiny-bert",
            "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "context_length": 256,
        },
    }
    local = {**config["text_cfg"], "hf_model_name": str(bert), "hf_model_pretrained": False}
    model = open_clip.CustomTextCLIP(**{**config, "text_cfg": local})
    _save_openclip(folder, model, config)
    return {
        "family": "openclip",
        "source": {"also": ["tiny-bert"]},
        "text": {"max_tokens": 256},
        "patches": {"projection": "proj"},
    }


def _save_openclip(folder: Path, model: Any, config: dict[str, Any]) -> None:
    state = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    side = config["vision_cfg"]["image_size"]
    preprocess = {"size": [side, side], "resize_mode": "shortest", "interpolation": "bicubic"}
    content = {"model_cfg": config, "preprocess_cfg": {**open_clip_defaults(), **preprocess}}
    (folder / "open_clip_config.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def open_clip_defaults() -> dict[str, Any]:
    """Mean and std of OpenAI's CLIP, as open_clip writes them."""
    return {
        "mean": list(open_clip.OPENAI_DATASET_MEAN),
        "std": list(open_clip.OPENAI_DATASET_STD),
        "mode": "RGB",
        "fill_color": 0,
    }
