"""The optimizer and its learning rate."""

import math

import torch
from torch import nn

from lofi.config import Training


def rate(step: int, training: Training) -> float:
    """The learning rate of a step: linear warm-up, then a cosine to `final_rate` of the peak."""
    if step < training.warmup:
        return training.learning_rate * (step + 1) / training.warmup
    span = max(training.steps - training.warmup, 1)
    along = min((step - training.warmup) / span, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * along))
    return training.learning_rate * (training.final_rate + (1 - training.final_rate) * cosine)


def optimizer_of(model: nn.Module, training: Training) -> torch.optim.AdamW:
    """AdamW; vectors and single numbers (norms, biases, scale) are not decayed."""
    trained = [value for value in model.parameters() if value.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": training.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=(0.9, 0.98))
