"""How hard each loss pulls on the image encoder: why a loss moves it, or does not."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lofi.data import Batch
from lofi.held_out import own_contrast
from lofi.losses import weighted
from lofi.model import LofiModel
from lofi.step import answers


def pulls(model: LofiModel, batches: Sequence[Batch]) -> dict[str, float]:
    """`pull/NAME` of each loss: the norm of its weighted gradient at the encoder's patch tokens.

    Mean over the batches. All losses reach the image encoder through its patch tokens, and the
    optimizer takes the direction of their sum: a loss with a hundredth of the pull of another
    hardly trains the encoder, whatever it teaches the decoder. Nothing of the model is changed.
    With micro-batches it is the first of each batch, so that the memory of a step suffices. Empty
    where there is nothing to compare: one loss alone, or a frozen encoder.
    """
    config = model.config
    if len(config.losses.active()) < 2 or config.adapters.freeze_encoder:
        return {}
    was_training = model.training
    model.eval()
    sums = {f"pull/{name}": 0.0 for name in config.losses.active()}
    for batch in batches:
        part = batch.part(0, config.training.micro_batch or len(batch.row))
        for name, value in _pulls(model, part).items():
            sums[f"pull/{name}"] += value / len(batches)
    model.train(was_training)
    return sums


@torch.enable_grad()
def _pulls(model: LofiModel, batch: Batch) -> dict[str, float]:
    with torch.no_grad():
        patches = model.patches(batch.pixels)
    patches.requires_grad_()
    weights, mode = model.config.losses.model_dump(), model.config.location_mode
    out = {}
    for name in model.config.losses.active():  # one by one, so that one graph is held at a time
        value = weighted({name: _loss(model, batch, patches, name)}, weights, mode)[name]
        out[name] = float(torch.autograd.grad(value, patches)[0].norm())
    return out


def _loss(model: LofiModel, batch: Batch, patches: Tensor, name: str) -> Tensor:
    if name != "sigmoid":
        return answers(model, patches, rows={name: batch.rows[name]})[name][0]
    with torch.no_grad():
        texts = model.embed_texts(batch.texts)
    return own_contrast(model, batch, model.embed_patches(patches), texts)
