"""A tower of SigLIP's own class that sees what a LoFi tower with convolutions sees.

The hub's format has no convolutional stem, and a linear patch embedding learns little from ten
thousand pictures and a language loss. Its patch tokens can be learned, though, from a tower that
already sees: every patch of every picture then says what it should be.

Source: Hinton et al. 2015 (arXiv 1503.02531), distillation; here of features, as in Romero et al.
2015 (arXiv 1412.6550).
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file, save
from torch import Tensor
from transformers import SiglipVisionConfig, SiglipVisionModel

from harness.atomic import write_bytes
from lofi.model import LofiModel
from lofi.picture import shift, to_input
from lofi.vlm.config import Imitation

Say = Callable[[str], None]
_SHIFT, _GAIN = 0.06, 0.1  # the changes of a training picture


def imitating_tower(
    lofi: LofiModel,
    squares: UInt8[np.ndarray, "n s s"],
    *,
    settings: Imitation,
    file: Path,
    say: Say = print,
) -> SiglipVisionModel:
    """The tower, from `file` if it was learned before, else learned from `squares` and kept there.

    Fresh layers stand where the stem was; the blocks above are the teacher's own to begin with. The
    result depends on the teacher, the squares and the settings alone.
    """
    tower = _fresh(lofi, settings)
    if file.is_file():
        tower.load_state_dict(load_file(str(file)))
        return tower.eval()
    _learn(tower, lofi, squares, settings, say)
    write_bytes(file, save(tower.state_dict()))
    return tower.eval()


def patch_tokens(tower: SiglipVisionModel, pixels: Tensor) -> Float[Tensor, "n p d"]:
    """What the language model is given: the patches after the last norm."""
    return tower(pixel_values=pixels).last_hidden_state


def explained(
    tower: SiglipVisionModel, lofi: LofiModel, squares: UInt8[np.ndarray, "n s s"]
) -> float:
    """The share of what differs between pictures that the tower gives as the teacher does."""
    with torch.no_grad():
        pixels = torch.from_numpy(to_input(np.asarray(squares)))[:, None]
        wanted = lofi.patches(_channels(pixels, lofi))
        rest = (patch_tokens(tower, pixels) - wanted).pow(2).sum()
        return float(1 - rest / (wanted - wanted.mean(0)).pow(2).sum())


def _channels(pixels: Tensor, lofi: LofiModel) -> Tensor:
    return pixels.expand(-1, lofi.towers.config.vision_config.num_channels, -1, -1)


def _fresh(lofi: LofiModel, settings: Imitation) -> SiglipVisionModel:
    teacher = lofi.towers.vision_model
    sizes = teacher.config.to_dict() | {
        "num_channels": 1,
        "num_hidden_layers": settings.layers + len(teacher.encoder.layers),
        "vision_use_head": False,
    }
    torch.manual_seed(settings.seed)
    tower = SiglipVisionModel(SiglipVisionConfig(**sizes))
    inner = getattr(tower, "vision_model", tower)
    inner.embeddings.position_embedding.load_state_dict(
        teacher.embeddings.position_embedding.state_dict()
    )
    inner.post_layernorm.load_state_dict(teacher.post_layernorm.state_dict())
    for own, taken in zip(
        inner.encoder.layers[settings.layers :], teacher.encoder.layers, strict=True
    ):
        own.load_state_dict(taken.state_dict())
    return tower


def _learn(
    tower: SiglipVisionModel,
    lofi: LofiModel,
    squares: UInt8[np.ndarray, "n s s"],
    settings: Imitation,
    say: Say,
) -> None:
    tower.train()
    tower.set_attn_implementation("eager")
    optimizer = torch.optim.AdamW(tower.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _factor(step, settings.steps)
        pixels = _pictures(squares, settings, step)
        with torch.no_grad():
            wanted = lofi.patches(_channels(pixels, lofi))
        with torch.autocast("cpu", torch.bfloat16):
            found = patch_tokens(tower, pixels).float()
        # Relative to the spread of each channel: small ones carry findings too.
        loss = ((found - wanted) / (wanted.std((0, 1)) + 1e-3)).pow(2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 99:
            say(f"tower: step {step + 1}/{settings.steps}  distance {float(loss.detach()):.3f}")
    tower.set_attn_implementation("sdpa")


def _factor(step: int, steps: int) -> float:
    """Ten steps of warm-up, then a cosine to a hundredth."""
    return min((step + 1) / 10, 0.505 + 0.495 * math.cos(math.pi * step / steps))


def _pictures(
    squares: UInt8[np.ndarray, "n s s"], settings: Imitation, step: int
) -> Float[Tensor, "b 1 s s"]:
    """Pictures of a step, moved and brightened; a function of (seed, step) alone."""
    draw = np.random.default_rng([settings.seed, 3, step])
    most = int(_SHIFT * squares.shape[-1])
    rows = draw.choice(len(squares), min(settings.batch_size, len(squares)), replace=False)
    moved = [shift(squares[row], *draw.integers(-most, most + 1, 2)) for row in np.sort(rows)]
    gain = draw.uniform(1 - _GAIN, 1 + _GAIN, len(rows))
    offset = draw.uniform(-_GAIN, _GAIN, len(rows))
    pixels = to_input(np.stack(moved)) * gain[:, None, None] + offset[:, None, None]
    return torch.from_numpy(pixels.astype(np.float32))[:, None]
