"""The optimizer and its learning rate."""

import math
from typing import Any

import torch
from torch import nn

from lofi.config import Training

# Scaled as its source says, Muon's step is a fifth of what AdamW's is early in a training.
MUON_TIMES = 5.0


def rate(step: int, training: Training) -> float:
    """The learning rate of a step: linear warm-up, then a cosine to `final_rate` of the peak."""
    if step < training.warmup:
        return training.learning_rate * (step + 1) / training.warmup
    span = max(training.steps - training.warmup, 1)
    along = min((step - training.warmup) / span, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * along))
    return training.learning_rate * (training.final_rate + (1 - training.final_rate) * cosine)


def optimizer_of(model: nn.Module, training: Training) -> "Together":
    """AdamW, or Muon for the matrices inside blocks and AdamW for all else.

    Vectors and single numbers (norms, biases, scale) are not decayed. Muon's steps are scaled to
    the size of AdamW's, so both share one rate. Embeddings, probes and position codes are tables
    of vectors rather than maps between them, and stay with AdamW, as do convolutions and the
    stacked weights of pooling heads, which have more than two dimensions.

    Source: Jordan et al. 2024, Muon; Liu et al. 2025 (arXiv 2502.16982) for the scale.
    """
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    turned = set()
    if training.optimizer == "muon":
        linear = {id(part.weight) for part in model.modules() if isinstance(part, nn.Linear)}
        tied = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
        turned = linear - tied
    rest = [value for _, value in named if id(value) not in turned]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": training.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    rate = training.learning_rate
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
    ]
    matrices = [value for _, value in named if id(value) in turned]
    if matrices:
        optimizers.append(
            torch.optim.Muon(
                [{"params": matrices, "times": MUON_TIMES}],
                lr=rate,
                weight_decay=training.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return Together(optimizers)


class Together:
    """Several optimizers of one model, stepped and stored as one."""

    def __init__(self, optimizers: list[torch.optim.Optimizer]):
        self.optimizers = optimizers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all of them."""
        return [group for one in self.optimizers for group in one.param_groups]

    def set_rate(self, value: float) -> None:
        """Let the next step be taken at this learning rate, each group at its multiple of it."""
        for group in self.param_groups:
            group["lr"] = value * group.get("times", 1.0)

    def step(self) -> None:
        """One step of each."""
        for one in self.optimizers:
            one.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for one in self.optimizers:
            one.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The state of each, by its place."""
        return {str(place): one.state_dict() for place, one in enumerate(self.optimizers)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the states of `state_dict`, or of the one AdamW there was before."""
        state = state if "0" in state else {"0": state}
        for place, one in enumerate(self.optimizers):
            one.load_state_dict(state[str(place)])
