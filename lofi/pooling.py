"""Patch tokens to multimodal tokens: a pooled grid, then N attention heads in one operation."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SHARPNESS = 2.0  # of the first attention: about 60 % of it falls on the probe's own place


def pool_grid(patches: Float[Tensor, "n p d"], size: int) -> Float[Tensor, "n q d"]:
    """The patch tokens of a square grid, averaged over squares of `size` x `size`."""
    if size == 1:
        return patches
    n, count, width = patches.shape
    side = math.isqrt(count)
    if side * side != count or side % size:
        raise ValueError(f"a grid of {count} patches cannot be pooled by {size} x {size}")
    grid = patches.transpose(1, 2).reshape(n, width, side, side)
    return F.avg_pool2d(grid, size).flatten(2).transpose(1, 2)


class AttentionPooling(nn.Module):
    """`count` attention-pooling heads of SigLIP's kind, each giving one token.

    With `independent` each token has its own weights, as `count` separate modules would; else all
    probes share one set. A probe does not depend on the image, so its key projection is folded into
    it: scores cost O(patches x heads x width) per token, not O(patches x width^2). With `places`
    the keys also carry a learned code of each place (Carion et al. 2020, arXiv 2005.12872).

    Source: the pooling head of Zhai et al. 2023; one head per token after the released LoFi code.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        mlp: int,
        count: int,
        independent: bool,
        places: int = 0,
        eps: float = 1e-6,
    ):
        super().__init__()
        sets = count if independent else 1
        self.heads, self.eps = heads, eps
        self.probe = nn.Parameter(torch.randn(count, width))
        self.place = nn.Parameter(torch.zeros(places, width)) if places else None
        self.in_weight = nn.Parameter(torch.empty(sets, 3, width, width))
        self.in_bias = nn.Parameter(torch.zeros(sets, 3, width))
        self.out_weight = nn.Parameter(torch.empty(sets, width, width))
        self.out_bias = nn.Parameter(torch.zeros(sets, width))
        self.norm_weight = nn.Parameter(torch.ones(sets, width))
        self.norm_bias = nn.Parameter(torch.zeros(sets, width))
        self.fc1_weight = nn.Parameter(torch.empty(sets, mlp, width))
        self.fc1_bias = nn.Parameter(torch.zeros(sets, mlp))
        self.fc2_weight = nn.Parameter(torch.empty(sets, width, mlp))
        self.fc2_bias = nn.Parameter(torch.zeros(sets, width))
        for weight in (self.in_weight, self.out_weight, self.fc1_weight, self.fc2_weight):
            bound = math.sqrt(6 / (weight.shape[-1] + weight.shape[-2]))
            nn.init.uniform_(weight, -bound, bound)

    def forward(self, patches: Float[Tensor, "n p d"]) -> Float[Tensor, "n k d"]:
        """One token per head and image."""
        attended = self._attend(patches)
        normed = F.layer_norm(attended, attended.shape[-1:], eps=self.eps)
        normed = normed * self.norm_weight + self.norm_bias
        hidden = F.gelu(_each(normed, self.fc1_weight, self.fc1_bias), approximate="tanh")
        return attended + _each(hidden, self.fc2_weight, self.fc2_bias)

    def _attend(self, patches: Tensor) -> Tensor:
        count, width = self.probe.shape
        split = (-1, self.heads, width // self.heads)
        query_weight, key_weight, value_weight = self.in_weight.unbind(1)
        query = _each(self.probe[None], query_weight, self.in_bias[:, 0])[0]
        query = query.unflatten(-1, split[1:]) / math.sqrt(split[2])
        # The key bias adds the same to all scores of a head, so softmax does not see it.
        keys = key_weight.unflatten(1, split[1:]).expand(count, -1, -1, -1)
        folded = torch.einsum("khe,khed->khd", query, keys).flatten(0, 1)
        places = patches if self.place is None else patches + self.place
        scores = torch.einsum("md,npd->nmp", folded, places)
        mixed = (scores.softmax(-1) @ patches).unflatten(1, (count, self.heads))
        values = value_weight.unflatten(1, split[1:]).expand(count, -1, -1, -1)
        value = torch.einsum("nkhd,khed->nkhe", mixed, values).flatten(2)
        return _each(value + self.in_bias[:, 2], self.out_weight, self.out_bias)

    @torch.no_grad()
    def start_at_places(self, codes: Float[Tensor, "q d"]) -> None:
        """Make probe k attend, at first, mostly where `codes` has its k-th evenly spaced place."""
        if self.place is None:
            raise ValueError("a pooling without places cannot start at them")
        apart = F.layer_norm(codes - codes.mean(0), codes.shape[-1:])
        chosen = torch.linspace(0, len(codes) - 1, len(self.probe)).round().long()
        self.place.copy_(apart)
        self.probe.copy_(SHARPNESS * apart[chosen])
        eye = torch.eye(codes.shape[-1])
        self.in_weight[:, 0] = eye
        self.in_weight[:, 1] = eye


@torch.no_grad()
def start_heads_at_places(head: nn.Module, codes: Float[Tensor, "q d"]) -> None:
    """Make each head of SigLIP's pooling head attend, at first, mostly to a part of the picture.

    One probe sums over places: what is left and what is right come out as one unless heads
    differ in where they look. Here half of the heads begin on each side, one below the other, so
    that the embedding holds from the first step what lies where. All of it is then trained.

    Args:
        head: `SiglipMultiheadAttentionPoolingHead`.
        codes: the position codes that the tokens carry, rows of a square grid first.
    """
    attention = head.attention
    heads, width = attention.num_heads, attention.embed_dim
    rows = heads // 2
    if heads % 2:
        raise ValueError(f"{heads} heads cannot be halved between the two sides")
    side = math.isqrt(len(codes))
    centers = (torch.arange(side) + 0.5) / side
    apart = F.layer_norm(codes - codes.mean(0), codes.shape[-1:])
    size = width // heads
    for number in range(heads):
        x, y = 0.25 + 0.5 * (number % 2), (number // 2 + 0.5) / rows
        near = -((centers[:, None] - y) ** 2 * rows**2 + (centers[None] - x) ** 2 * 4) * 2
        direction = near.flatten().softmax(0) @ apart
        first = number * size
        attention.in_proj_bias[first] = math.sqrt(size)
        attention.in_proj_weight[first : first + size] *= 0.1
        attention.in_proj_weight[width + first] = direction / direction.norm()


def _each(
    values: Float[Tensor, "n k i"], weight: Float[Tensor, "s o i"], bias: Float[Tensor, "s o"]
) -> Float[Tensor, "n k o"]:
    """Each token through its own linear map, or all through the one."""
    if len(weight) == 1:
        return F.linear(values, weight[0], bias[0])
    return torch.baddbmm(bias[:, None], values.transpose(0, 1), weight.transpose(1, 2)).transpose(
        0, 1
    )


def position_codes(side: int, width: int) -> Float[Tensor, "p d"]:
    """Two-dimensional sine-cosine codes of a `side` x `side` grid, rows first.

    Source: Vaswani et al. 2017, section 3.5, one half of the width per axis.
    """
    quarter = width // 4
    frequency = 1 / 100 ** (torch.arange(quarter) / quarter)
    angle = torch.arange(side)[:, None] * frequency * (2 * math.pi / side)
    axis = torch.cat([angle.sin(), angle.cos()], dim=1)
    rows = axis[:, None].expand(side, side, -1)
    columns = axis[None].expand(side, side, -1)
    codes = torch.cat([rows, columns], dim=-1).reshape(side * side, -1)
    return F.pad(codes, (0, width - codes.shape[1]))
