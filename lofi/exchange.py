"""What the processes of one training tell each other after the gradients: their mean."""

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor, nn


def average(
    model: nn.Module, values: Mapping[str, float], accelerator: Accelerator
) -> tuple[list[Tensor], dict[str, float]]:
    """The parameters with a gradient and the losses, both means over all processes.

    Not DistributedDataParallel: a step has several forward passes (feature caching), which its
    hooks do not allow. A part that one process did not run (no boxed phrase in its share) has no
    gradient there, but one in the mean if another process ran it.
    """
    could = [value for value in model.parameters() if value.requires_grad]
    if accelerator.num_processes == 1:
        return [value for value in could if value.grad is not None], dict(values)
    ran = torch.tensor([value.grad is not None for value in could], device=accelerator.device)
    anywhere = accelerator.reduce(ran.float(), reduction="sum").tolist()
    trained = [value for value, count in zip(could, anywhere, strict=True) if count]
    losses = torch.tensor(list(values.values()), device=accelerator.device)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
    flat = torch.cat([losses, *(grad.flatten().float() for grad in grads)])
    flat = accelerator.reduce(flat, reduction="mean")
    mean, *parts = flat.split([len(values), *(grad.numel() for grad in grads)])
    for value, part in zip(trained, parts, strict=True):
        value.grad = part.view_as(value).to(value.dtype)
    return trained, dict(zip(values, mean.tolist(), strict=True))
