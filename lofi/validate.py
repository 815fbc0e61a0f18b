"""Validation metrics during training: losses, recall in both directions, grounding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.boxes import Boxes
from harness.metrics.grounding import ragged
from harness.metrics.overlap import union_iou
from lofi.data import Studies
from lofi.generate import answer
from lofi.location import grounding_prompt, parse_boxes
from lofi.model import LofiModel
from lofi.picture import to_input
from lofi.prompt import token_ids

BATCH = 64


@dataclass(frozen=True)
class Encoded:
    """What the towers made of a split."""

    image: Tensor
    tokens: Tensor | None
    text: Tensor | None


def pixels_of(model: LofiModel, squares: np.ndarray) -> Tensor:
    """Squares as the tower's input, on the model's device."""
    channels = model.towers.config.vision_config.num_channels
    values = torch.from_numpy(to_input(np.asarray(squares)))[:, None]
    return values.expand(-1, channels, -1, -1).to(model.scale.device, model.scale.dtype)


@torch.no_grad()
def embed_texts(model: LofiModel, texts: Sequence[str]) -> Tensor:
    """Unit rows of texts, each cut to the tower's length."""
    length = model.towers.config.text_config.max_position_embeddings
    rows = [
        model.embed_texts(
            token_ids(model.text_tokenizer, texts[start : start + BATCH], length).to(
                model.scale.device
            )
        )
        for start in range(0, len(texts), BATCH)
    ]
    return torch.cat(rows)


def embed_reports(model: LofiModel, reports: Sequence[Sequence[str]]) -> Tensor:
    """Unit rows of long texts: the mean of the unit vectors of their chunks, made unit again."""
    flat = embed_texts(model, [text for report in reports for text in report])
    owner = torch.tensor([row for row, report in enumerate(reports) for _ in report])
    sums = torch.zeros(len(reports), flat.shape[1], device=flat.device)
    sums.index_add_(0, owner.to(flat.device), flat)
    return F.normalize(sums, dim=-1)


@torch.no_grad()
def encode(model: LofiModel, studies: Studies) -> Encoded:
    """Image and text embeddings and multimodal tokens, as far as the model was taught them."""
    active = model.config.losses.active()
    images, tokens = [], []
    for start in range(0, len(studies), BATCH):
        pixels = pixels_of(model, studies.squares[start : start + BATCH])
        image, patches = model.embed_images(pixels)
        images.append(image)
        if active != ("sigmoid",):
            tokens.append(model.image_tokens(patches))
    text = None
    if "sigmoid" in active:
        text = embed_reports(model, [item.chunks for item in studies.items])
    return Encoded(torch.cat(images), torch.cat(tokens) if tokens else None, text)


def validate(model: LofiModel, studies: Studies) -> dict[str, float]:
    """Recall at 10 in both directions (own study only) and grounding over phrases with boxes."""
    was_training = model.training
    model.eval()
    encoded = encode(model, studies)
    out: dict[str, float] = {}
    if encoded.text is not None:
        similarity = encoded.image @ encoded.text.T
        out["image_to_text/recall@10"] = recall(similarity, studies.study_numbers, 10)
        out["text_to_image/recall@10"] = recall(similarity.T, studies.study_numbers, 10)
    if encoded.tokens is not None and model.config.losses.grounding:
        out |= grounding(model, encoded.tokens, studies)
    model.train(was_training)
    return out


def recall(similarity: Tensor, study: np.ndarray, k: int) -> float:
    """Share of rows with a column of the same study in the top `k`; a tie counts against it."""
    numbers = torch.from_numpy(study).to(similarity.device)
    relevant = numbers[:, None] == numbers[None]
    best = similarity.masked_fill(~relevant, -torch.inf).amax(1, keepdim=True)
    ahead = ((similarity >= best) & ~relevant).sum(1)
    return float((ahead < k).float().mean())


def grounding(model: LofiModel, tokens: Tensor, studies: Studies) -> dict[str, float]:
    """mIoU, Acc@0.5 and the share of malformed answers, on the padded square."""
    asked = [
        (row, phrase, boxes)
        for row, item in enumerate(studies.items)
        for phrase, boxes in item.regions
    ]
    if not asked:
        return {}
    predicted: list[Boxes] = []
    malformed = 0
    for start in range(0, len(asked), 4 * BATCH):
        part = asked[start : start + 4 * BATCH]
        replies = answer(
            model,
            tokens[[row for row, _, _ in part]],
            questions=[grounding_prompt(phrase) for _, phrase, _ in part],
            limit=model.config.decoder.max_tokens,
        )
        parsed = [parse_boxes(text) for text, _ in replies]
        predicted += [one.boxes for one in parsed]
        malformed += sum(one.status == "malformed" for one in parsed)
    values = union_iou(ragged(predicted), ragged([boxes for _, _, boxes in asked]))
    return {
        "grounding/miou": float(values.mean()),
        "grounding/acc@0.5": float((values >= 0.5).mean()),
        "grounding/malformed": malformed / len(asked),
        "grounding/phrases": float(len(asked)),
    }
