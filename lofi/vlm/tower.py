"""The image tower: convolutions with attention, first taught which finding lies where.

A language loss alone teaches a small tower little from ten thousand pictures; maps of findings,
drawn from the same boxes, say for each place what is there. The tower is LeViT, whose stem has
convolutions and which the hub's format knows (transformers wraps timm); its tokens go into Gemma's
own projector.

Source: Graham et al. 2021 (arXiv 2104.01136), LeViT; Xiao et al. 2021 (arXiv 2106.14881), early
convolutions.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import TimmWrapperConfig

from harness.atomic import write_bytes
from lofi.config import Training
from lofi.picture import to_input
from lofi.schedule import optimizer_of, rate
from lofi.vlm.config import Changes, Tower
from lofi.vlm.pictures import changed_pixels, draw_moves, finding_maps, rgb
from lofi.vlm.read import Pool

Say = Callable[[str], None]
STRIDE = 32  # pixels along each side that become one token
_RARE = -4.0  # the log odds that a map starts with: most places show nothing


def tower_config(tower: Tower) -> TimmWrapperConfig:
    """The tower as the hub's format describes it, with what Gemma's projector asks of any tower."""
    return TimmWrapperConfig(
        architecture="levit_128s",
        model_args={
            "img_size": tower.side,
            "embed_dim": list(tower.widths),
            "num_heads": list(tower.heads),
            "depth": list(tower.layers),
            "key_dim": 16,
            "attn_ratio": 2,
            "mlp_ratio": 2,
        },
        do_pooling=False,
        num_labels=0,
        hidden_size=tower.widths[-1],
        image_size=tower.side,
        patch_size=STRIDE,
        layer_norm_eps=1e-6,
    )


class MapHead(nn.Module):
    """Which finding lies in each cell of a grid, read from the tokens by a linear map."""

    def __init__(self, width: int, findings: int, tokens: int, cells: int):
        super().__init__()
        self.side = math.isqrt(tokens)
        self.findings, self.cells, self.inner = findings, cells, cells // self.side
        self.linear = nn.Linear(width, findings * self.inner**2)
        nn.init.constant_(self.linear.bias, _RARE)

    def forward(self, tokens: Float[Tensor, "n t d"]) -> Float[Tensor, "n findings cells cells"]:
        """Log odds."""
        split = (self.side, self.side, self.findings, self.inner, self.inner)
        grid = self.linear(tokens.float()).unflatten(2, split[2:]).unflatten(1, split[:2])
        return grid.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)

    def loss(self, tokens: Tensor, maps: Tensor) -> Tensor:
        """Cross-entropy of every cell, where one inside a small lesion counts more.

        A lesion of n cells weighs as its width, not as its area: each of its cells by 1.25 of the
        grid's side over the root of n.
        """
        covered = maps.sum((2, 3), keepdim=True).clamp_min(1)
        weight = 1 + maps * (1.25 * maps.shape[-1] / covered.sqrt() - 1).clamp_min(0)
        return F.binary_cross_entropy_with_logits(self(tokens), maps, weight)


def teach_tower(
    tower: nn.Module,
    head: MapHead,
    pool: Pool,
    *,
    settings: Tower,
    changes: Changes,
    file: Path,
    say: Say = print,
) -> None:
    """Teach it in place, or take what `file` kept of an earlier lesson.

    The result depends on the pool and the settings alone.
    """
    both = nn.ModuleDict({"tower": tower, "head": head})
    if file.is_file():
        both.load_state_dict(load_file(str(file)))
        return
    numbers = {name: number for number, name in enumerate(pool.by_finding)}
    schedule = _schedule(settings)
    optimizer = optimizer_of(both, schedule)
    both.train()
    for step in range(settings.steps):
        optimizer.set_rate(rate(step, schedule))
        draw = np.random.default_rng([settings.seed, 9, step])
        size = min(settings.batch_size, len(pool))
        images = np.sort(draw.choice(len(pool), size, replace=False)).tolist()
        moves = draw_moves(images, changes, settings.side, draw)
        pixels = changed_pixels(pool, moves, changes, draw)
        device = next(tower.parameters()).device
        with torch.autocast(device.type, torch.bfloat16):
            tokens = tower(pixel_values=pixels.to(device)).last_hidden_state
        loss = head.loss(tokens, finding_maps(pool, moves, numbers, settings.cells).to(device))
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 100 == 0:
            say(f"tower {step + 1}/{settings.steps}  maps {float(loss.detach()):.4f}")
    both.eval()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, save(both.state_dict()))


def _schedule(settings: Tower) -> Training:
    """Linear warm-up over a twentieth, then a cosine to a fiftieth."""
    return Training(
        steps=max(settings.steps, 1),
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rate,
        warmup=max(settings.steps // 20, 1),
        final_rate=0.02,
        weight_decay=0.05,
    )


@torch.no_grad()
def map_quality(tower: nn.Module, head: MapHead, taught: Pool, pool: Pool) -> dict[str, float]:
    """Area under the ROC curve of the cells of each finding, over a pool's untouched pictures."""
    numbers = {name: number for number, name in enumerate(taught.by_finding)}
    still = dict.fromkeys(range(len(pool)), (0, 0))
    truth = finding_maps(pool, still, numbers, head.cells).numpy()
    scores = []
    for start in range(0, len(pool), 64):
        squares = pool.squares[pool.rows[start : start + 64]]
        scores.append(head(tower(pixel_values=rgb(to_input(squares))).last_hidden_state))
    found = torch.cat(scores).numpy()
    shown = [name for name in numbers if name in pool.by_finding]
    return {name: _area(found[:, numbers[name]], truth[:, numbers[name]]) for name in shown}


def _area(scores: np.ndarray, truth: np.ndarray) -> float:
    ranks, true = rankdata(scores.ravel()), truth.ravel() > 0
    count = int(true.sum())
    rest = true.size - count
    return float((ranks[true].sum() - count * (count + 1) / 2) / (count * rest))
