"""BioViL and BioViL-T: a ResNet-50 with projected patches, and CXR-BERT.

Papers: Boecking et al., ECCV 2022; Bannur et al., CVPR 2023. Weights (MIT):
microsoft/BiomedVLP-CXR-BERT-specialized and microsoft/BiomedVLP-BioViL-T. Parameters are named as
in hi-ml-multimodal 0.2.2, whose released state dicts load strictly; the pooler that compares with
a prior film is left out, since one film is given.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torchvision.models import ResNet
from torchvision.models.resnet import Bottleneck
from transformers import BertConfig, BertModel

from baselines.checkpoint_files import load_strictly, read_tensors, without_prefix
from baselines.weights import Weights

Tensor = torch.Tensor
IMAGE_FILES = ("biovil_t_image_model_proj_size_128.pt", "biovil_image_resnet50_proj_size_128.pt")


class _Backbone(nn.Module):
    """ResNet features (n, 2048, h, w); with `reduced`, BioViL-T's reduction and prior slot."""

    def __init__(self, reduced: int, blocks: Sequence[int]) -> None:
        super().__init__()
        self.encoder = ResNet(Bottleneck, list(blocks))
        if reduced:
            self.backbone_to_vit = nn.Conv2d(2048, reduced, 1, bias=False)
            self.missing_previous_emb = nn.Parameter(torch.zeros(1, reduced, 1, 1))
        self.reduced = reduced

    def forward(self, pixels: Tensor) -> Tensor:
        net = self.encoder
        x = net.maxpool(net.relu(net.bn1(net.conv1(pixels))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        if not self.reduced:
            return x
        current = self.backbone_to_vit(x)
        # No prior film: its place is taken by a learned constant.
        missing = self.missing_previous_emb.expand(len(current), -1, *current.shape[-2:])
        return torch.cat([current, missing], dim=1)


class _Projector(nn.Module):
    """Two 1 x 1 convolutions into the space of the text."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(width, size, 1, bias=False),
            nn.BatchNorm2d(size),
            nn.ReLU(inplace=True),
            nn.Conv2d(size, size, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.model(features)


class BioVilImage(nn.Module):
    """Pixels (n, 3, h, w) to projected patches (n, 128, h / 32, w / 32)."""

    def __init__(
        self,
        *,
        temporal: bool,
        size: int = 128,
        reduced: int = 256,
        blocks: Sequence[int] = (3, 4, 6, 3),  # ResNet-50
    ) -> None:
        super().__init__()
        self.encoder = _Backbone(reduced if temporal else 0, blocks)
        self.projector = _Projector(2 * reduced if temporal else 2048, size)

    def forward(self, pixels: Tensor) -> Tensor:
        """The patches; the image's embedding is their mean."""
        return self.projector(self.encoder(pixels))


class _ProjectionHead(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.dense_to_hidden = nn.Linear(width, size)
        self.LayerNorm = nn.LayerNorm(size, eps=1e-12)
        self.dense_to_output = nn.Linear(size, size)

    def forward(self, states: Tensor) -> Tensor:
        hidden = nn.functional.gelu(self.dense_to_hidden(states))
        return self.dense_to_output(self.LayerNorm(hidden))


class CxrBert(nn.Module):
    """Tokens to a projected [CLS] (n, 128)."""

    def __init__(self, config: BertConfig, size: int = 128) -> None:
        super().__init__()
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls_projection_head = _ProjectionHead(config.hidden_size, size)

    def forward(self, tokens: Any) -> Tensor:
        """The embedding of each text."""
        states = self.bert(**tokens).last_hidden_state
        return self.cls_projection_head(states[:, 0])


def load_image(weights: Weights, file: str, name: str) -> BioVilImage:
    """The image model of a released checkpoint; whether it is temporal is read from its tensors."""
    state = read_tensors(weights.file(file))
    state = {key: v for key, v in state.items() if not key.startswith("encoder.vit_pooler.")}
    temporal = "encoder.backbone_to_vit.weight" in state
    size = len(state["projector.model.3.bias"])
    model = BioVilImage(temporal=temporal, size=size, blocks=_blocks(state))
    load_strictly(model, state, name)
    return model


def _blocks(state: Mapping[str, Tensor]) -> list[int]:
    """How many blocks each stage of the ResNet has."""
    stages = [f"encoder.encoder.layer{stage}." for stage in range(1, 5)]
    return [len({k.split(".")[3] for k in state if k.startswith(stage)}) for stage in stages]


def load_text(weights: Weights, file: str, name: str) -> CxrBert:
    """CXR-BERT of the same repository; its masked-language head is not needed."""
    config = BertConfig.from_json_file(weights.folder / "config.json")
    state = read_tensors(weights.file(file))
    used = {
        key: value
        for key, value in state.items()
        if key.startswith(("bert.", "cls_projection_head."))
        and "pooler" not in key
        and "position_ids" not in key
    }
    size = len(without_prefix(used, "cls_projection_head.dense_to_output.")["bias"])
    model = CxrBert(config, size)
    load_strictly(model, used, name)
    return model
