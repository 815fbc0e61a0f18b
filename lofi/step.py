"""The losses and gradients of one step, for a whole batch or in parts with cached features."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from lofi.data import Batch, Rows
from lofi.losses import Images, Texts, answer_loss, gather_texts, sigmoid_loss, total_loss
from lofi.model import LofiModel

Autocast = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Features:
    """Embeddings of one batch and the patch tokens the decoder reads."""

    image: Tensor | None
    text: Tensor | None
    patches: Tensor


def forward(model: LofiModel, batch: Batch, *, weights: dict[str, float]) -> Features:
    """What the losses with a weight above 0 need; nothing else is computed."""
    if not weights.get("sigmoid"):
        return Features(None, None, model.patches(batch.pixels))
    image, patches = model.embed_images(batch.pixels)
    return Features(image, model.embed_texts(batch.texts), patches)


def contrast(model: LofiModel, batch: Batch, image: Tensor, text: Tensor) -> Tensor:
    """The sigmoid loss of this process's images with the texts of all processes."""
    texts = gather_texts(Texts(text, batch.row, batch.study, batch.key))
    images = Images(image, batch.row, batch.study, batch.known)
    return sigmoid_loss(
        images,
        texts,
        scale=model.scale,
        bias=model.bias,
        duplicates=model.config.duplicates,
        chunk=model.config.chunk,
    )


def answers(
    model: LofiModel, patches: Tensor, *, rows: dict[str, Rows]
) -> dict[str, tuple[Tensor, int]]:
    """The loss and the number of answer tokens of each decoder task."""
    if not rows:
        return {}
    tokens = model.image_tokens(patches)
    head = model.prompts.head.to(tokens.device)
    out = {}
    for name, part in rows.items():
        if not len(part.image):
            out[name] = (tokens.sum() * 0.0, 0)
            continue
        prefix = model.prefix(head, tokens[part.image])
        logits, labels = model.answer_logits(prefix, part.sequences.ids, part.sequences.labels)
        out[name] = (answer_loss(logits, labels), len(labels))
    return out


def backward(
    model: LofiModel,
    batch: Batch,
    *,
    weights: dict[str, float],
    autocast: Autocast,
) -> dict[str, float]:
    """Each loss of the batch, its gradient added to the parameters.

    With micro-batches the sigmoid loss still contrasts the whole batch: features are first
    computed without a graph, the loss gives their gradient, and each part is then computed again
    and continues from it. Decoder losses are means over the tokens of the whole batch, of all
    processes, whatever the parts.

    Source: Gao et al. 2021 (arXiv 2101.06983), gradient caching.
    """
    size = model.config.training.micro_batch or len(batch.row)
    starts = range(0, len(batch.row), size)
    parts = [batch.part(start, start + size) for start in starts] if len(starts) > 1 else [batch]
    shares = token_shares(batch)
    cached, values = None, dict.fromkeys(batch.rows, 0.0)
    if len(parts) > 1 and weights.get("sigmoid"):
        loss, cached = _cache(model, batch, parts, weights=weights, autocast=autocast)
        values["sigmoid"] = loss
    for index, part in enumerate(parts):
        with autocast():
            features = forward(model, part, weights=weights)
            found = answers(model, features.patches, rows=dict(part.rows))
            losses = {name: mean * (n * shares[name]) for name, (mean, n) in found.items()}
            if weights.get("sigmoid") and cached is None:
                losses["sigmoid"] = contrast(model, part, features.image, features.text)
            total = total_loss(losses, weights, model.config.location_mode) if losses else 0.0
            if cached is not None:
                rows = slice(index * size, (index + 1) * size)
                total = total + (features.image * cached[0][rows]).sum()
                total = total + (features.text * cached[1][rows]).sum()
        total.backward()
        for name, value in losses.items():
            values[name] = values.get(name, 0.0) + float(value.detach())
    return values


def _cache(
    model: LofiModel,
    batch: Batch,
    parts: list[Batch],
    *,
    weights: dict[str, float],
    autocast: Autocast,
) -> tuple[float, tuple[Tensor, Tensor]]:
    """The sigmoid loss over the whole batch and its weighted gradient for each feature.

    The gradient of scale and bias is complete here and is added to them.
    """
    with torch.no_grad(), autocast():
        features = [forward(model, part, weights=weights) for part in parts]
    image = torch.cat([one.image for one in features]).requires_grad_()
    text = torch.cat([one.text for one in features]).requires_grad_()
    loss = contrast(model, batch, image, text)
    (loss * weights["sigmoid"]).backward()
    return float(loss.detach()), (image.grad, text.grad)


def token_shares(batch: Batch) -> dict[str, float]:
    """What one answer token of each task weighs: 1 / mean number per process.

    Gradients are averaged over processes, so a token counts alike wherever it lies.
    """
    names = sorted(batch.rows)
    counts = torch.tensor(
        [float(batch.rows[name].sequences.count) for name in names], device=batch.pixels.device
    )
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(counts)
        counts = counts / dist.get_world_size()
    return {name: 1 / max(float(n), 1.0) for name, n in zip(names, counts, strict=True)}
