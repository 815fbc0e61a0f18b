"""Tiny random checkpoints of architectures that live here, in the form their authors release."""

import json
from pathlib import Path
from typing import Any

import timm
import torch
from transformers import BertConfig, BertModel, SwinConfig

from baselines.biovil import BioVilImage, CxrBert
from baselines.carzero import Fusion
from baselines.cxr_clip import CxrClip, swin_tower
from baselines.medklip import MedKlip, Sizes
from baselines.tiny_tokenizers import bert_tokenizer

Card = dict[str, Any]


def _bert(folder: Path, layers: int = 1, width: int = 32) -> BertConfig:
    """A BERT's configuration and tokenizer, saved into the folder."""
    tokenizer = bert_tokenizer(512)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=48,
    )
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return config


def write_biovil(folder: Path) -> Card:
    """BioViL-T: a small ResNet and CXR-BERT, two files."""
    image = BioVilImage(temporal=True, size=16, blocks=(1, 1, 1, 1))
    torch.save(image.state_dict(), folder / "image.pt")
    torch.save(CxrBert(_bert(folder), 16).state_dict(), folder / "pytorch_model.bin")
    return {
        "family": "checkpoint",
        "architecture": "biovil",
        "source": {"files": ["image.pt", "pytorch_model.bin"]},
        "image": {
            "geometry": "shortest 146 bilinear, crop 128",
            "mean": [0.0, 0.0, 0.0],
            "std": [1.0, 1.0, 1.0],
            "stretch": True,
        },
        "text": {"max_tokens": 512, "padding": "longest"},
        "patches": {"projection": "trained", "sigma": 1.5, "interpolation": "nearest"},
    }


def write_cxr_clip(folder: Path) -> Card:
    """CXR-CLIP with a small Swin, pickled together with a configuration as released."""
    swin = {
        "image_size": 64,
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 2,
    }
    (folder / "swin_config.json").write_text(json.dumps(swin), encoding="utf-8")
    model = CxrClip(swin_tower(SwinConfig(**swin)), _bert(folder), 16)
    # A path stands for the foreign objects that such files hold.
    torch.save({"model": model.state_dict(), "config": Path("swin")}, folder / "model.tar")
    return {
        "family": "checkpoint",
        "architecture": "cxr-clip",
        "source": {"files": ["model.tar"]},
        "image": {
            "geometry": "shortest 64, crop 64",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
        },
        "text": {"max_tokens": 256, "padding": "longest"},
    }


def write_carzero(folder: Path) -> Card:
    """CARZero: a small ViT, a BERT of five layers, a fusion of two."""
    sizes = {"img_size": 64, "embed_dim": 32, "depth": 1, "num_heads": 4}
    (folder / "vit_config.json").write_text(json.dumps(sizes), encoding="utf-8")
    vision = timm.models.VisionTransformer(num_classes=0, **sizes)
    text = BertModel(_bert(folder, layers=5))
    fusion = Fusion(32, 48, 2, (24, 16))
    state = {f"CARZero.img_encoder.model.{k}": v for k, v in vision.state_dict().items()}
    state |= {f"CARZero.text_encoder.model.{k}": v for k, v in text.state_dict().items()}
    for key, value in fusion.state_dict().items():
        name = f"decoder.{key}" if key.startswith("layers.") else _spread(key)
        state[f"CARZero.fusion_module.{name}"] = value
    content = {"state_dict": state, "hyper_parameters": Path("configuration")}
    torch.save(content, folder / "model.ckpt")
    return {
        "family": "pair_scorer",
        "architecture": "carzero",
        "source": {"files": ["model.ckpt"]},
        "image": {
            "geometry": "longest 72 floor area, pad 72, crop 64",
            "mean": [0.4978, 0.4978, 0.4978],
            "std": [0.2449, 0.2449, 0.2449],
        },
        "text": {"max_tokens": 97},
        "patches": {"projection": "trained"},
    }


def write_medklip(folder: Path) -> Card:
    """MedKLIP: a ResNet of three small stages, a decoder of two layers, a book of three entries."""
    bert = folder / "bert"
    BertModel(_bert(bert), add_pooling_layer=False).save_pretrained(bert)
    book = {"effusion": "Fluid around a lung.", "clear": "Nothing is seen.", "line": "A tube."}
    (folder / "explanation.json").write_text(json.dumps(book), encoding="utf-8")
    model = MedKlip(Sizes(width=32, features=256, text=32, hidden=48, layers=2, blocks=(1, 1, 1)))
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    state["module.cl_fc.weight"] = torch.zeros(32, 32)
    torch.save({"model": state, "config": Path("yaml")}, folder / "model.pth")
    return {
        "family": "pair_scorer",
        "architecture": "medklip",
        "source": {"files": ["model.pth", "explanation.json"], "also": ["tiny/bert"]},
        "image": {
            "geometry": "squash 64 bilinear",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
        },
        "text": {"max_tokens": 64},
        "patches": {"projection": "trained", "interpolation": "nearest"},
    }


def _spread(key: str) -> str:
    """The released head has an activation and a dropout between its layers: 0, 3, 6, ..."""
    if not key.startswith("mlp_head."):
        return key
    _, step, rest = key.split(".")
    return f"mlp_head.{3 * int(step)}.{rest}"
