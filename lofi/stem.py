"""Convolutions in the place of the patch embedding, for towers trained from nothing on little."""

import math
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from transformers import SiglipModel

NARROWEST = 24  # channels after the first halving


class ConvStem(nn.Module):
    """Pixels to a grid of features: one halving by a 3 x 3 convolution after the other.

    It gives the grid that a patch embedding of the same patch size gives. Batch normalization takes
    out, channel by channel, what all pictures have in common: without it the first steps, in which
    the decoder learns what answers look like, drown what differs between pictures. In training,
    statistics are those of the pictures a process sees at once.

    Source: Xiao et al. 2021 (arXiv 2106.14881), early convolutions.
    """

    def __init__(self, channels: int, width: int, patch_size: int):
        super().__init__()
        halvings = int(math.log2(patch_size))
        if 2**halvings != patch_size:
            raise ValueError(f"a stem of halvings has no patch size {patch_size}")
        layers: list[nn.Module] = []
        for number in range(halvings):
            last = number == halvings - 1
            wide = width if last else min(width, NARROWEST * 2**number)
            layers += [
                nn.Conv2d(channels, wide, 3, stride=2, padding=1),
                nn.BatchNorm2d(wide),
                nn.GELU(),
                nn.Conv2d(wide, wide, 3, padding=1, groups=1 if last else wide),
                nn.BatchNorm2d(wide),
            ]
            layers += [] if last else [nn.GELU()]
            channels = wide
        self.layers = nn.Sequential(*layers)

    @property
    def weight(self) -> Tensor:
        """The first weights: the embeddings of transformers ask them for their type."""
        return self.layers[0].weight

    def forward(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d gh gw"]:
        """The grid of features."""
        return self.layers(pixels)


def put_stem(towers: SiglipModel) -> None:
    """Give the image tower a stem, and let its blocks start as the identity.

    A block whose output starts at zero hands the stem's features on as they are, so that what
    convolutions find early reaches the losses early.

    Source: Zhang et al. 2019 (arXiv 1901.09321), residual branches that start at zero.
    """
    vision = towers.vision_model
    sizes = vision.config
    stem = ConvStem(sizes.num_channels, sizes.hidden_size, sizes.patch_size)
    vision.embeddings.patch_embedding = stem
    for layer in vision.encoder.layers:
        nn.init.zeros_(layer.self_attn.out_proj.weight)
        nn.init.zeros_(layer.mlp.fc2.weight)


def stem_of(towers: SiglipModel) -> Literal["patch", "convolutions"]:
    """What the image tower begins with."""
    begins = towers.vision_model.embeddings.patch_embedding
    return "convolutions" if isinstance(begins, ConvStem) else "patch"
