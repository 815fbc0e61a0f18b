"""LoFi's losses as pure functions: sigmoid over all pairs, and answers of the language model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

Duplicates = Literal["row-weighted", "mask", "full", "diagonal"]
IGNORED = -100  # label of a token that is not part of the answer


@dataclass(frozen=True)
class Images:
    """The image side of the sigmoid loss; `texts` holds the keys of all texts of each study.

    `row` names the pair (image and the text drawn for it), `study` the study; `texts` is padded
    with -1. A text's key stands for its normalized form: equal keys are equal texts.
    """

    features: Float[Tensor, "n d"]
    row: Int[Tensor, " n"]
    study: Int[Tensor, " n"]
    texts: Int[Tensor, "n t"]


@dataclass(frozen=True)
class Texts:
    """The text side: features, the row each was drawn for, its study and its key."""

    features: Float[Tensor, "m d"]
    row: Int[Tensor, " m"]
    study: Int[Tensor, " m"]
    key: Int[Tensor, " m"]


def pair_weights(
    images: Images, texts: Texts, duplicates: Duplicates
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    """The weight of each pair as a positive and as a negative.

    A text is positive for an image if both are of one study, or if its normalized form occurs
    among the texts of the image's study. `row-weighted`: a row's positive weights sum to 1;
    `full`: each weighs 1; `mask`: only the drawn text is positive and the others take no part;
    `diagonal`: only the drawn text is positive and the others are negatives (plain SigLIP).
    """
    own = images.row[:, None] == texts.row[None]
    same = own | (images.study[:, None] == texts.study[None])
    same = same | _occurs(images.texts, texts.key)
    negative = (~same).to(torch.float32)
    if duplicates == "diagonal":
        return own.float(), (~own).float()
    if duplicates == "mask":
        return own.float(), negative
    positive = same.to(torch.float32)
    if duplicates == "full":
        return positive, negative
    return positive / positive.sum(1, keepdim=True).clamp(min=1), negative


def _occurs(known: Int[Tensor, "n t"], key: Int[Tensor, " m"]) -> Tensor:
    # Column by column: an (n, m, t) tensor would be the largest of the whole step.
    found = torch.zeros(known.shape[0], key.shape[0], dtype=torch.bool, device=known.device)
    for column in known.T:
        found |= (column[:, None] == key[None]) & (column[:, None] >= 0)
    return found


def sigmoid_loss(
    images: Images,
    texts: Texts,
    *,
    scale: Tensor,
    bias: Tensor,
    duplicates: Duplicates = "row-weighted",
    chunk: int = 0,
) -> Float[Tensor, ""]:
    """Sum over texts, mean over images, of -log sigmoid(z (scale x.y + bias)).

    Equal to SigLIP's loss where each row has one positive. `scale` is the multiplier itself, not
    its logarithm. With `chunk`, memory is O(chunk x m): each block of images is computed, its
    gradient taken, and forgotten.

    Source: Zhai et al. 2023 (arXiv 2303.15343), Algorithm 1; several positives: protocol section 7.
    """
    features = (images.features, texts.features, scale, bias)
    if not chunk or chunk >= len(images.row):
        return _block(features, images, texts, duplicates) / len(images.row)
    total = _Chunked.apply(*features, images, texts, duplicates, chunk)
    return total / len(images.row)


def _block(
    features: tuple[Tensor, ...], images: Images, texts: Texts, duplicates: Duplicates
) -> Tensor:
    image, text, scale, bias = (value.float() for value in features)
    positive, negative = pair_weights(images, texts, duplicates)
    # Autocast would round the cosines to bf16: at a scale of 112 logits would be off by 0.4.
    with torch.autocast(image.device.type, enabled=False):
        logits = scale * (image @ text.T) + bias
    # softplus(-s) = softplus(s) - s, so one softplus serves both signs.
    return (F.softplus(logits) * (positive + negative) - logits * positive).sum()


class _Chunked(torch.autograd.Function):
    """The sum over all pairs, block of images by block, with the gradient taken on the way.

    The loss is a scalar, so its gradient can be had in the forward pass and only be scaled in the
    backward pass: no block is ever computed twice or kept.
    """

    @staticmethod
    def forward(ctx, image, text, scale, bias, images, texts, duplicates, chunk):
        leaves = [value.detach().float().requires_grad_() for value in (text, scale, bias)]
        total = image.new_zeros((), dtype=torch.float32)
        image_grads = []
        sums = [torch.zeros_like(leaf) for leaf in leaves]
        for start in range(0, len(image), chunk):
            part = slice(start, start + chunk)
            rows = image[part].detach().float().requires_grad_()
            block = Images(rows, images.row[part], images.study[part], images.texts[part])
            with torch.enable_grad():
                value = _block((rows, *leaves), block, texts, duplicates)
                grads = torch.autograd.grad(value, (rows, *leaves))
            total += value.detach()
            image_grads.append(grads[0])
            for running, grad in zip(sums, grads[1:], strict=True):
                running += grad
        ctx.save_for_backward(torch.cat(image_grads), *sums)
        ctx.dtypes = [value.dtype for value in (image, text, scale, bias)]
        return total

    @staticmethod
    def backward(ctx, upstream):
        grads = [
            (upstream * grad).to(kind)
            for grad, kind in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return (*grads, None, None, None, None)


def gather_texts(texts: Texts) -> Texts:
    """The texts of all processes in rank order, gradients travelling back; alone, the same texts.

    Ids travel with the features, so that a positive on another rank is known to be one. Every
    process must hold as many texts.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return texts
    features = _Gather.apply(texts.features)
    ids = torch.stack([texts.row, texts.study, texts.key])
    parts = [torch.empty_like(ids) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, ids)
    row, study, key = torch.cat(parts, dim=1)
    return replace(texts, features=features, row=row, study=study, key=key)


class _Gather(torch.autograd.Function):
    """All processes' rows; the gradient of one's own rows is summed over the processes."""

    @staticmethod
    def forward(ctx, features):
        parts = [torch.empty_like(features) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, features.contiguous())
        ctx.rows = len(features)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, upstream):
        total = upstream.contiguous().clone()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.rows
        return total[start : start + ctx.rows]


def answer_loss(
    logits: Float[Tensor, "tokens vocabulary"],
    labels: Int[Tensor, " tokens"],
    weights: Float[Tensor, " tokens"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy over the answer's tokens; 0 with a gradient of 0 where there are none.

    `labels` are the *next* tokens, `IGNORED` outside the answer. This is the captioning loss for
    reports, the grounding loss for boxes, and the dense-captioning loss for phrases.

    Source: Wan et al. 2024 (arXiv 2403.19596); the answer-only mask after the released LoFi code.
    """
    kept = labels != IGNORED
    each = F.cross_entropy(logits[kept].float(), labels[kept], reduction="none")
    if weights is None:
        return each.sum() / kept.sum().clamp(min=1)
    return (each * weights[kept]).sum() / weights[kept].sum().clamp(min=1e-6)


def weighted(
    values: Mapping[str, Tensor], weights: Mapping[str, float], location_mode: str = "sum"
) -> dict[str, Tensor]:
    """Each loss that was computed times its factor in the total.

    With `location_mode` "mean" grounding and dense captioning count half each; with "sample" the
    batch was already divided between them, which is the same in expectation.
    """
    half = {"grounding", "dense_captioning"} if location_mode != "sum" else set()
    return {
        name: weights[name] * value * (0.5 if name in half else 1.0)
        for name, value in values.items()
    }


def total_loss(
    values: Mapping[str, Tensor], weights: Mapping[str, float], location_mode: str = "sum"
) -> Float[Tensor, ""]:
    """Ls + lambda_c Lc + lambda_g Lg + lambda_d Ld over the losses that were computed."""
    if not values:
        raise ValueError("no loss was computed")
    return torch.stack(list(weighted(values, weights, location_mode).values())).sum()
