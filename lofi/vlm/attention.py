"""Attention in float32 under bf16: on a CPU the fused kernel's backward pass in bf16 is slow."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_float32"


def sdpa_float32(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention computed in float32, given back in the type of the query."""
    del module
    times = query.shape[1] // key.shape[1]
    with torch.autocast(query.device.type, enabled=False):
        if attention_mask is not None and attention_mask.dtype != torch.bool:
            attention_mask = attention_mask.float()
        out = F.scaled_dot_product_attention(
            query.float(),
            key.float().repeat_interleave(times, 1),
            value.float().repeat_interleave(times, 1),
            attn_mask=attention_mask,
            scale=settings.get("scaling"),
        )
    return out.to(query.dtype).transpose(1, 2).contiguous(), None


def use_float32_attention(model: Any) -> None:
    """Train this model with it; the saved model does not name it."""
    AttentionInterface.register(NAME, sdpa_float32)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
