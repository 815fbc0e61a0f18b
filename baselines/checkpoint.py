"""Family `checkpoint`: dual encoders whose architecture is here and whose weights are a file.

The card's `architecture` names one of `ARCHITECTURES`; geometry and statistics stand on the card,
since such checkpoints carry none.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import BertTokenizer

from baselines import biovil, cxr_clip
from baselines.card_schema import Card
from baselines.dual import DualEncoder, TextTower, Towers, dual_encoder
from baselines.offline import go_offline
from baselines.pixels import PixelRules
from baselines.weights import Weights
from harness.errors import BenchError, unknown
from harness.geometry import read_geometry

Tensor = torch.Tensor


def load(card: Card, weights: Weights, device: str = "cpu") -> DualEncoder:
    """The dual encoder of a card.

    Raises:
        BenchError: an unknown architecture, or a checkpoint that does not fit it.
    """
    go_offline()
    if card.architecture not in ARCHITECTURES:
        raise unknown("architecture", card.architecture, ARCHITECTURES)
    if not (card.image.geometry and card.image.mean and card.text):
        raise BenchError(f"{card.name}: family checkpoint needs image.geometry, mean, std and text")
    return ARCHITECTURES[card.architecture](card, weights, device)


def _pixels(card: Card) -> PixelRules:
    rules = card.image
    geometry = read_geometry(rules.geometry)
    return PixelRules(geometry, rules.mean, rules.std, rules.scale, rules.stretch)


def _biovil(card: Card, weights: Weights, device: str) -> DualEncoder:
    image_file, text_file = card.source.files[:2]
    image = biovil.load_image(weights, image_file, card.name).eval().to(device)
    text = biovil.load_text(weights, text_file, card.name).eval().to(device)
    towers = Towers(
        pixels=_pixels(card),
        embed=lambda pixels: image(pixels).mean(dim=(2, 3)),
        text=bert_tower(card, weights, text, device, strip="!?."),
        patches=lambda pixels: image(pixels).permute(0, 2, 3, 1),
    )
    return dual_encoder(card, weights, towers, device)


def _cxr_clip(card: Card, weights: Weights, device: str) -> DualEncoder:
    model = cxr_clip.load(weights, card.source.files[0], card.name).eval().to(device)
    towers = Towers(
        pixels=_pixels(card),
        embed=model.embed_images,
        text=bert_tower(card, weights, model.embed_texts, device),
        patches=None,
    )
    return dual_encoder(card, weights, towers, device)


ARCHITECTURES: Mapping[str, Callable[[Card, Weights, str], DualEncoder]] = {
    "biovil": _biovil,
    "cxr-clip": _cxr_clip,
}


def bert_tower(
    card: Card,
    weights: Weights,
    embed: Callable[[Any], Tensor],
    device: str,
    *,
    strip: str = "",
) -> TextTower:
    """A text tower over a BERT tokenizer beside the weights, or of the card's second repository.

    `strip` are marks taken off the end of each text, as the authors do.
    """
    folder = next((found for found in weights.also.values()), weights.folder)
    # By its class: the hub file names one of the model's own code.
    tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
    rules = card.text
    limit = rules.max_tokens if rules else 512
    padding = rules.padding if rules else "longest"

    def tokenize(texts: Sequence[str]) -> Any:
        return tokenizer(
            [text.rstrip(strip) if strip else text for text in texts],
            padding=padding,
            max_length=limit,
            truncation=True,
            return_tensors="pt",
        ).to(device)

    def count(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]

    return TextTower(tokenize, embed, count)
