"""What the architectures of family `pair_scorer` supply, and what they share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Tensor = torch.Tensor


@dataclass(frozen=True)
class PairTowers:
    """The parts of a model that scores pairs.

    Args:
        images: normalized pixels (n, c, h, w) to tokens (n, tokens, d).
        texts: one block of m texts to what `score` and `attention` take.
        score: tokens of images and texts to logits (n, m), higher is closer; a text's column does
            not depend on the other texts of its block.
        attention: as `score`, to (n, m, patches): where each text looks, row by row.
        count: tokens per text, special ones included, before any truncation.
    """

    images: Callable[[Tensor], Tensor]
    texts: Callable[[Sequence[str]], Any]
    score: Callable[[Tensor, Any], Tensor]
    attention: Callable[[Tensor, Any], Tensor]
    count: Callable[[Sequence[str]], list[int]]
