"""CXR-CLIP: Swin-T or ResNet-50, Bio_ClinicalBERT pooled at the last token, linear projections.

Paper: You et al., MICCAI 2023. Weights (CC BY-NC 4.0): github.com/Soombit-ai/cxr-clip. Parameters
are named as there. What the released code takes for Swin's global token is the first *patch*
(`last_hidden_state[:, 0]`): Swin has no class token. It is what the projection was trained on.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import resnet50
from transformers import BertConfig, BertModel, SwinConfig, SwinModel

from baselines.checkpoint_files import load_strictly, read_tensors
from baselines.weights import Weights

Tensor = torch.Tensor


class _Swin(nn.Module):
    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.image_encoder = SwinModel(config)
        self.out_dim = self.image_encoder.num_features

    def forward(self, pixels: Tensor) -> Tensor:
        return self.image_encoder(pixel_values=pixels).last_hidden_state[:, 0]


class _ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.resnet = resnet50()
        self.resnet.fc = nn.Identity()
        self.out_dim = 2048

    def forward(self, pixels: Tensor) -> Tensor:
        return self.resnet(pixels)


class _Text(nn.Module):
    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.text_encoder = BertModel(config)

    def forward(self, tokens: Any) -> Tensor:
        states = self.text_encoder(**tokens).last_hidden_state
        last = tokens["attention_mask"].sum(dim=-1) - 1
        return states[torch.arange(len(states), device=states.device), last]


class _Projection(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, size)

    def forward(self, features: Tensor) -> Tensor:
        return self.projection(features)


class CxrClip(nn.Module):
    """Images and texts to one space of 512 dimensions."""

    def __init__(self, image: nn.Module, text: BertConfig, size: int = 512) -> None:
        super().__init__()
        self.image_encoder = image
        self.text_encoder = _Text(text)
        self.image_projection = _Projection(image.out_dim, size)
        self.text_projection = _Projection(text.hidden_size, size)
        self.logit_scale = nn.Parameter(torch.zeros([]))

    def embed_images(self, pixels: Tensor) -> Tensor:
        """Embeddings (n, 512), not yet unit vectors."""
        return self.image_projection(self.image_encoder(pixels))

    def embed_texts(self, tokens: Any) -> Tensor:
        """Embeddings (n, 512), not yet unit vectors."""
        return self.text_projection(self.text_encoder(tokens))


def swin_tower(config: SwinConfig) -> nn.Module:
    """The image tower of the Swin variants."""
    return _Swin(config)


def load(weights: Weights, file: str, name: str) -> CxrClip:
    """The released checkpoint; image tower and sizes are read from its tensors."""
    state = read_tensors(weights.file(file), inside="model")
    state = {key: value for key, value in state.items() if "position_ids" not in key}
    # Tables that older versions of Swin stored and newer ones compute.
    state = {key: v for key, v in state.items() if not key.endswith("relative_position_index")}
    swin = any(key.startswith("image_encoder.image_encoder.") for key in state)
    image = _Swin(_config(SwinConfig, weights.folder)) if swin else _ResNet()
    bert = next((folder for folder in weights.also.values()), weights.folder)
    model = CxrClip(image, BertConfig.from_json_file(bert / "config.json"), _size(state))
    load_strictly(model, state, name)
    return model


def _size(state: dict[str, Tensor]) -> int:
    return len(state["image_projection.projection.bias"])


def _config(kind: type[SwinConfig], folder: Path) -> SwinConfig:
    """Swin-T at 224 px, unless the folder holds another configuration."""
    file = folder / "swin_config.json"
    if not file.is_file():
        return kind()
    return kind(**json.loads(file.read_text(encoding="utf-8")))
