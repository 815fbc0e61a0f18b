"""In which numbers a dual encoder or pair scorer computes: float32, or autocast by its card."""

from contextlib import AbstractContextManager, nullcontext

import torch

from baselines.card_schema import Runtime


def compute_dtype(runtime: Runtime, device: str) -> torch.dtype:
    """The card's dtype on a GPU; on a CPU float32, whose results do not depend on the batch."""
    return getattr(torch, runtime.dtype) if _kind(device) == "cuda" else torch.float32


def autocast(device: str, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Autocast to `dtype`; nothing for float32."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(_kind(device), dtype=dtype)


def precision_name(dtype: torch.dtype) -> str:
    """As a cache of embeddings names it: ``float32`` or, e.g., ``bfloat16-autocast``."""
    name = str(dtype).removeprefix("torch.")
    return name if dtype == torch.float32 else f"{name}-autocast"


def _kind(device: str) -> str:
    return device.partition(":")[0]
