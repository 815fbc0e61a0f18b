"""Convolutions in the place of the patch embedding, for towers trained from nothing on little."""

import math
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from transformers import SiglipModel

NARROWEST = 48  # channels after the first reduction
FIRST = 4  # pixels along each side that the first convolution steps over


class ConvStem(nn.Module):
    """Pixels to a grid of features: a reduction by four, then halvings, each refined once.

    It gives the grid that a patch embedding of the same patch size gives. Most of its work lies on
    grids small enough for a CPU's caches: what convolutions of 64 x 64 cells cost there is mostly
    reading and writing them. Batch normalization takes out, channel by channel, what all pictures
    have in common: without it the first steps, in which the decoder learns what answers look like,
    drown what differs between pictures. In training, statistics are those of the pictures a process
    sees at once.

    Source: Xiao et al. 2021 (arXiv 2106.14881), early convolutions.
    """

    def __init__(self, channels: int, width: int, patch_size: int):
        super().__init__()
        halvings = int(math.log2(max(patch_size / FIRST, 1)))
        if FIRST * 2**halvings != patch_size:
            raise ValueError(f"a stem has no patch size {patch_size}: four, doubled or not")
        layers: list[nn.Module] = []
        for number in range(halvings + 1):
            wide = width if number == halvings else min(width, NARROWEST * 2**number)
            shrink = (FIRST + 2, FIRST, 1) if number == 0 else (3, 2, 1)
            for size, stride, padding in (shrink, (3, 1, 1)):
                layers += [nn.GELU()] if layers else []
                convolution = nn.Conv2d(channels, wide, size, stride, padding, bias=False)
                layers += [convolution, nn.BatchNorm2d(wide)]
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
