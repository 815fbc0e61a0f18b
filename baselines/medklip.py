"""MedKLIP: each text queries the image's patches through a decoder, which says absent or present.

Paper: Wu et al., ICCV 2023. Weights: github.com/MediaBrain-SJTU/MedKLIP. Parameters are named as
there (prefix "module."). The released model asks its 75 observations together, and they see each
other; here each asked text joins them alone: it sees the 75 and itself, they do not see it. So a
text's score does not depend on what else is asked.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck
from transformers import BertModel, BertTokenizer

from baselines.card_schema import Card
from baselines.checkpoint_files import load_strictly, read_tensors, without_prefix
from baselines.pair_towers import PairTowers
from baselines.weights import Weights

Tensor = torch.Tensor
HEADS = 4
UNUSED = "cl_fc."  # compares with anatomy in training


@dataclass(frozen=True)
class Sizes:
    """The sizes of a `MedKlip`: `text` of the BERT, `blocks` of the ResNet's first three stages."""

    width: int
    features: int
    text: int
    hidden: int
    layers: int
    blocks: tuple[int, ...]
    bottleneck: bool = False


class _Layer(nn.Module):
    """Attention among the queries, attention to the patches and feed-forward, each after a norm."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, queries: Tensor, patches: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (n, q, d) and where they look (n, q, patches); `hidden` (q, q) is not seen."""
        normed = self.norm1(queries)
        queries = queries + self.self_attn(normed, normed, normed, attn_mask=hidden)[0]
        found, attention = self.multihead_attn(self.norm2(queries), patches, patches)
        queries = queries + found
        inner = torch.relu(self.linear1(self.norm3(queries)))
        return queries + self.linear2(inner), attention


class _Decoder(nn.Module):
    def __init__(self, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: Tensor, patches: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Queries after the last norm, and the mean over layers of where they look."""
        seen = []
        for layer in self.layers:
            queries, attention = layer(queries, patches, hidden)
            seen.append(attention)
        return self.norm(queries), torch.stack(seen).mean(dim=0)


class MedKlip(nn.Module):
    """The trained part; texts come in as [CLS] vectors of a frozen clinical BERT."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        block = Bottleneck if sizes.bottleneck else BasicBlock
        net = ResNet(block, [*sizes.blocks, 1])
        # Up to the third stage: patches of 16 x 16 pixels.
        self.res_features = nn.Sequential(*list(net.children())[:-3])
        self.res_l1 = nn.Linear(sizes.features, sizes.features)
        self.res_l2 = nn.Linear(sizes.features, sizes.width)
        self.disease_embedding_layer = nn.Linear(sizes.text, sizes.width)
        self.decoder = _Decoder(sizes.width, sizes.hidden, sizes.layers)
        self.classifier = nn.Linear(sizes.width, 2)

    def patches(self, pixels: Tensor) -> Tensor:
        """(n, patches, d), row by row."""
        grid = self.res_features(pixels).flatten(2).transpose(1, 2)
        return self.res_l2(torch.relu(self.res_l1(grid)))

    def forward(self, patches: Tensor, texts: Tensor, book: Tensor) -> tuple[Tensor, Tensor]:
        """Log odds of presence (n, m) and attention (n, m, patches) of texts beside the book."""
        queries = self.disease_embedding_layer(torch.cat([book, texts]))
        asked = len(queries) - len(book)
        hidden = torch.ones(len(queries), len(queries), dtype=torch.bool, device=queries.device)
        hidden[:, : len(book)] = False
        hidden.fill_diagonal_(False)
        rows, attention = self.decoder(queries.expand(len(patches), -1, -1), patches, hidden)
        absent, present = self.classifier(rows[:, -asked:]).unbind(dim=-1)
        return present - absent, attention[:, -asked:]


def _sizes(state: Mapping[str, Tensor]) -> Sizes:
    width, features = state["res_l2.weight"].shape
    return Sizes(
        width=width,
        features=features,
        text=state["disease_embedding_layer.weight"].shape[1],
        hidden=len(state["decoder.layers.0.linear1.bias"]),
        layers=_count(state, "decoder.layers.", 2),
        # The three stages are entries 4, 5 and 6 of the Sequential.
        blocks=tuple(_count(state, f"res_features.{stage}.", 2) for stage in (4, 5, 6)),
        bottleneck="res_features.4.0.conv3.weight" in state,
    )


def _count(state: Mapping[str, Tensor], prefix: str, place: int) -> int:
    return len({key.split(".")[place] for key in state if key.startswith(prefix)})


def _state(weights: Weights, file: str) -> dict[str, Tensor]:
    """The released checkpoint's tensors under the names of `MedKlip`."""
    state = without_prefix(read_tensors(weights.file(file), inside="model"), "module.")
    return {key: value for key, value in state.items() if not key.startswith(UNUSED)}


class _TextTower:
    """Texts to [CLS] vectors of the frozen BERT, and the vectors of the book."""

    def __init__(self, card: Card, weights: Weights, device: str) -> None:
        folder = next((found for found in weights.also.values()), weights.folder)
        self.tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
        bert = BertModel.from_pretrained(
            folder, add_pooling_layer=False, dtype=torch.float32, local_files_only=True
        )
        self.bert = bert.eval().to(device)
        self.limit = card.text.max_tokens if card.text else 64
        self.device = device
        book = json.loads(weights.file(card.source.files[1]).read_text(encoding="utf-8"))
        with torch.inference_mode():
            self.book = self.embed(list(book.values()))

    def tokens(self, texts: Sequence[str]) -> Any:
        return self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.limit,
            truncation=True,
            return_tensors="pt",
        ).to(self.device)

    def embed(self, texts: Sequence[str]) -> Tensor:
        return self.bert(**self.tokens(texts)).last_hidden_state[:, 0]

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.tokenizer(list(texts), verbose=False)["input_ids"]]


def towers(card: Card, weights: Weights, device: str) -> PairTowers:
    """MedKLIP of a card: `source.files` are the checkpoint and its explanations (JSON)."""
    state = _state(weights, card.source.files[0])
    model = MedKlip(_sizes(state))
    load_strictly(model, state, card.name)
    model = model.eval().to(device)
    text = _TextTower(card, weights, device)
    return PairTowers(
        images=model.patches,
        texts=text.embed,
        score=lambda patches, vectors: model(patches, vectors, text.book)[0],
        attention=lambda patches, vectors: model(patches, vectors, text.book)[1],
        count=text.count,
    )
