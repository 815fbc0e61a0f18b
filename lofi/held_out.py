"""The losses on validation studies, and the one number by which `best` is chosen."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lofi.data import Batch, Batches, Studies
from lofi.losses import Images, Texts, sigmoid_loss
from lofi.model import LofiModel
from lofi.step import answers, forward

BATCHES = 4  # of the training's size, the same ones at every validation


def held_out_batches(model: LofiModel, training: Batches, studies: Studies) -> list[Batch]:
    """The first validation batches of the training's size and seed, on the model's device.

    Nothing is moved, brightened or redrawn in them.
    """
    plain = {"shift": 0.0, "brightness": 0.0, "replace_normals": 0.0}
    config = model.config.model_copy(update={"data": model.config.data.model_copy(update=plain)})
    tokenizers = (training.prompts, training.text_tokenizer)
    batches = Batches(studies, config, tokenizers=tokenizers)
    count = min(BATCHES, -(-len(studies) // config.training.batch_size))
    return [batches(step).to(model.scale.device) for step in range(count)]


@torch.no_grad()
def held_out_losses(model: LofiModel, batches: Sequence[Batch]) -> dict[str, float]:
    """`loss/NAME` of each loss that is trained, mean over the batches.

    One process computes them alone: its sigmoid loss contrasts its own batch.
    """
    was_training = model.training
    model.eval()
    sums: dict[str, float] = {}
    for batch in batches:
        for name, value in _losses(model, batch).items():
            sums[f"loss/{name}"] = sums.get(f"loss/{name}", 0.0) + value / len(batches)
    model.train(was_training)
    return sums


def _losses(model: LofiModel, batch: Batch) -> dict[str, float]:
    features = forward(model, batch, weights=model.config.losses.model_dump())
    found = answers(model, features.patches, rows=dict(batch.rows))
    out = {name: float(mean) for name, (mean, _) in found.items()}
    if features.image is not None and features.text is not None:
        out["sigmoid"] = float(own_contrast(model, batch, features.image, features.text))
    return out


def own_contrast(model: LofiModel, batch: Batch, image: Tensor, text: Tensor) -> Tensor:
    """The sigmoid loss of a batch by itself, whatever other processes do."""
    return sigmoid_loss(
        Images(image, batch.row, batch.study, batch.known),
        Texts(text, batch.row, batch.study, batch.key),
        scale=model.scale,
        bias=model.bias,
        duplicates=model.config.duplicates,
        chunk=model.config.chunk,
    )


def score_of(found: Mapping[str, float]) -> float:
    """What `best` is chosen by, on validation: mean recall at 10 plus grounding mIoU.

    Where neither is taught (captioning alone), minus the mean of the losses.
    """
    recalls = [value for name, value in found.items() if name.endswith("recall@10")]
    if not recalls and "grounding/miou" not in found:
        losses = [value for name, value in found.items() if name.startswith("loss/")]
        return -sum(losses) / len(losses) if losses else 0.0
    mean = sum(recalls) / len(recalls) if recalls else 0.0
    return mean + found.get("grounding/miou", 0.0)
