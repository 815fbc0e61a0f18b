"""CARZero: image and text tokens that question each other, a logit for every pair.

Paper: Lai et al., CVPR 2024. Weights: github.com/laihaoran/CARZero (Apache-2.0). Parameters are
named as there (a Lightning checkpoint, prefix "CARZero."). A pair is scored twice, the text's
global token attending to the image's tokens and the other way round, and averaged.
"""

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizer

from baselines.card_schema import Card
from baselines.checkpoint_files import load_strictly, read_tensors, without_prefix
from baselines.pair_towers import PairTowers
from baselines.weights import Weights

Tensor = torch.Tensor
HEADS, LAST_LAYERS = 4, 4


class _Layer(nn.Module):
    """Cross-attention and feed-forward, each after a norm; there is no self-attention."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(width, HEADS)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, queries: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        found, attention = self.multihead_attn(self.norm2(queries), memory, memory)
        queries = queries + found
        hidden = torch.relu(self.linear1(self.norm3(queries)))
        return queries + self.linear2(hidden), attention


class Fusion(nn.Module):
    """Logits of queries (m, d) against memories (n, tokens, d), and their attention."""

    def __init__(self, width: int, hidden: int, layers: int, head: Sequence[int]) -> None:
        super().__init__()
        self.decoder_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(_Layer(width, hidden) for _ in range(layers))
        sizes = [width, *head, 1]
        steps = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        self.mlp_head = nn.ModuleList(steps)

    def forward(self, memory: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, m) and the mean attention over layers (n, m, tokens)."""
        memory = self.decoder_norm(memory).transpose(0, 1)
        asked = self.decoder_norm(queries).unsqueeze(1).expand(-1, memory.shape[1], -1)
        seen = []
        for layer in self.layers:
            asked, attention = layer(asked, memory)
            seen.append(attention)
        features = self.decoder_norm(asked).transpose(0, 1)
        for step in self.mlp_head[:-1]:
            features = torch.relu(step(features))
        return self.mlp_head[-1](features).squeeze(-1), torch.stack(seen).mean(dim=0)


class CarZero(nn.Module):
    """Image tokens, text tokens and the fusion that scores them."""

    def __init__(self, vision: nn.Module, text: BertConfig, fusion: Fusion) -> None:
        super().__init__()
        self.vision = vision
        self.text = BertModel(text)
        self.fusion = fusion

    def image_tokens(self, pixels: Tensor) -> Tensor:
        """(n, 1 + patches, d): the class token, then the patches row by row."""
        return self.vision.forward_features(pixels)

    def text_tokens(self, tokens: Any, pieces: Tensor) -> Tensor:
        """(m, 1 + words, d): the text's mean, then its words, each the sum of its pieces.

        The last four layers are summed. Positions without a word are zero, and counted in the
        mean, as the released code does.

        Args:
            tokens: of the tokenizer.
            pieces: (m, length), the number of the word each piece belongs to; -1 for padding.
        """
        states = self.text(**tokens, output_hidden_states=True).hidden_states
        summed = torch.stack(states[-LAST_LAYERS:]).sum(dim=0)
        belongs = nn.functional.one_hot(pieces + 1, summed.shape[1] + 1)[..., 1:]
        words = belongs.to(summed.dtype).transpose(1, 2) @ summed
        return torch.cat([words.mean(dim=1, keepdim=True), words], dim=1)

    def score(self, images: Tensor, texts: Tensor) -> Tensor:
        """Logits (n, m) of image tokens and text tokens."""
        to_text, _ = self.fusion(images, texts[:, 0])
        to_image, _ = self.fusion(texts, images[:, 0])
        return (to_text + to_image.transpose(0, 1)) / 2

    def attention(self, images: Tensor, texts: Tensor) -> Tensor:
        """(n, m, patches): where each text's global token looks in each image."""
        return self.fusion(images, texts[:, 0])[1][..., 1:]


def word_numbers(marks: Sequence[str]) -> list[int]:
    """For each token the number of the word it is a piece of; after [SEP] -1.

    >>> word_numbers(["[CLS]", "ef", "##fusion", "left", "[SEP]", "[PAD]"])
    [0, 1, 1, 2, 3, -1]
    """
    numbers: list[int] = []
    ended = False
    for mark in marks:
        last = max(numbers, default=-1)
        numbers.append(-1 if ended else last + (not mark.startswith("##") or last < 0))
        ended = ended or mark == "[SEP]"
    return numbers


_NUMBERED = re.compile(r"[0-9]+\.")


def wording(text: str) -> str:
    """A report as CARZero reads it: words in lower case, sentences of one word left out.

    >>> wording("1. Small LEFT effusion. Clear. 2. No pneumothorax!")
    'small left effusion no pneumothorax'
    """
    sentences = [part for point in _NUMBERED.split(text) for part in point.split(".")]
    words = [re.findall(r"\w+", sentence.lower()) for sentence in sentences]
    kept = [
        " ".join(w.encode("ascii", "ignore").decode() for w in ws) for ws in words if len(ws) > 1
    ]
    return " ".join(" ".join(kept).split())


def towers(card: Card, weights: Weights, device: str) -> PairTowers:
    """CARZero of a card: `source.files` names its checkpoint."""
    model = _load(weights, card.source.files[0], card.name).eval().to(device)
    folder = next((found for found in weights.also.values()), weights.folder)
    tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
    limit = card.text.max_tokens if card.text else 97

    def texts(block: Sequence[str]) -> Tensor:
        tokens = tokenize(tokenizer, block, limit)
        marks = [tokenizer.convert_ids_to_tokens(ids) for ids in tokens["input_ids"]]
        pieces = torch.tensor([word_numbers(row) for row in marks])
        return model.text_tokens(tokens.to(device), pieces.to(device))

    def count(asked: Sequence[str]) -> list[int]:
        words = [wording(text) for text in asked]
        return [len(ids) for ids in tokenizer(words, verbose=False)["input_ids"]]

    return PairTowers(model.image_tokens, texts, model.score, model.attention, count)


def tokenize(tokenizer: Any, texts: Sequence[str], limit: int) -> Any:
    """Reports as CARZero reads them, to tokens padded to `limit`."""
    return tokenizer(
        [wording(text) for text in texts],
        padding="max_length",
        max_length=limit,
        truncation=True,
        return_tensors="pt",
    )


def _load(weights: Weights, file: str, name: str) -> CarZero:
    """The released checkpoint; sizes are read from its tensors."""
    state = without_prefix(read_tensors(weights.file(file), inside="state_dict"), "CARZero.")
    vision = without_prefix(state, "img_encoder.model.")
    text = without_prefix(state, "text_encoder.model.")
    fusion = _fusion_state(without_prefix(state, "fusion_module."))
    bert = next((folder for folder in weights.also.values()), weights.folder)
    model = CarZero(
        _vision(vision, weights.folder),
        BertConfig.from_json_file(bert / "config.json"),
        _fusion(fusion),
    )
    load_strictly(model.vision, vision, name)
    text = {key: value for key, value in text.items() if "position_ids" not in key}
    load_strictly(model.text, text, name)
    load_strictly(model.fusion, fusion, name)
    return model


def _vision(state: dict[str, Tensor], folder: Path) -> nn.Module:
    file = folder / "vit_config.json"
    if file.is_file():
        sizes = json.loads(file.read_text(encoding="utf-8"))
    else:
        width = state["cls_token"].shape[-1]
        depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
        sizes = {"embed_dim": width, "depth": depth, "num_heads": width // 64, "img_size": 224}
    return timm.models.VisionTransformer(num_classes=0, **sizes)


def _fusion(state: dict[str, Tensor]) -> Fusion:
    hidden, width = state["layers.0.linear1.weight"].shape
    layers = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("layers."))
    count = sum(key.startswith("mlp_head.") and key.endswith(".bias") for key in state)
    head = [len(state[f"mlp_head.{step}.bias"]) for step in range(count - 1)]
    return Fusion(width, hidden, layers, head)


def _fusion_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of the released decoder to ours; its unused self-attention and first norm dropped."""
    kept: dict[str, Tensor] = {}
    steps = sorted({int(key.split(".")[1]) for key in state if key.startswith("mlp_head.")})
    for key, value in state.items():
        if key == "logit_scale" or ".self_attn." in key or ".norm1." in key:
            continue
        if key.startswith("decoder.norm."):
            continue  # the same norm as decoder_norm, stored twice
        new = key.removeprefix("decoder.")
        if new.startswith("mlp_head."):
            step, _, rest = new.removeprefix("mlp_head.").partition(".")
            new = f"mlp_head.{steps.index(int(step))}.{rest}"
        kept[new] = value
    return kept
