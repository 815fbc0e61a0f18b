"""Family `pair_scorer`: models that score pairs and have no single vector per image or text.

CARZero. Every pair costs a pass through the fusion, so pools are scored block by block and the
tokens of the texts are computed once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from transformers import BertTokenizer

from baselines import carzero
from baselines.card_schema import Card, PatchRules
from baselines.cards import model_card
from baselines.offline import go_offline
from baselines.pixels import PixelRules
from baselines.weights import Weights
from harness.errors import BenchError, unknown
from harness.geometry import Frame, read_geometry
from harness.heatmap import PatchMap
from harness.images import Image
from harness.models import Grounding, ModelCard, Query

Tensor = torch.Tensor
BLOCK = 64  # texts in one pass: 64 x 32 images x 197 tokens of attention are 6 MB a head


@dataclass
class CarZeroScorer:
    """A `PairScorer` and `GroundingModel`: logits per pair, attention as a heat map."""

    card: ModelCard
    rules: Card
    model: carzero.CarZero
    tokenizer: Any
    pixels: PixelRules
    device: str
    _texts: tuple[tuple[str, ...], list[Tensor]] = field(default=((), []))

    def prepare_image(self, image: Image) -> Any:
        """The film in the model's frame, 8-bit grey; pure, run ahead in threads."""
        return self.pixels.prepare(image)

    def sees(self, image: Image) -> tuple[Any, Frame]:
        """The film in the model's frame and that frame, for `bench check`."""
        return self.prepare_image(image), self.pixels.geometry.frame(*image.size())

    @torch.inference_mode()
    def score(self, images: Sequence[Any], texts: Sequence[str]) -> Float[np.ndarray, "n m"]:
        """Logits, higher is closer."""
        tokens = self.model.image_tokens(self.pixels.tensor(images, self.device))
        parts = [self.model.score(tokens, block).float().cpu() for block in self._blocks(texts)]
        return torch.cat(parts, dim=1).numpy()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens per text, special tokens included, before any truncation."""
        words = [carzero.wording(text) for text in texts]
        return [len(ids) for ids in self.tokenizer(words, verbose=False)["input_ids"]]

    @torch.inference_mode()
    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """Where the phrase's global token looks, as a heat map on the film."""
        answers = []
        for query in queries:
            pixels = self.pixels.tensor([self.prepare_image(query.image)], self.device)
            tokens = self.model.image_tokens(pixels)
            [texts] = self._encoded([query.phrase])
            seen = self.model.attention(tokens, texts)[0, 0].float().cpu().numpy()
            answers.append(Grounding(heatmap=self._project(seen, query.image)))
        return answers

    def _project(self, attention: Any, image: Image) -> Any:
        rules = self.rules.patches or PatchRules()
        side = int(len(attention) ** 0.5)
        grid = attention.reshape(side, side)
        geometry, (width, height) = str(self.pixels.geometry), image.size()
        shown = PatchMap(grid, geometry, width, height, rules.sigma, rules.interpolation)
        return shown.project()

    def _blocks(self, texts: Sequence[str]) -> list[Tensor]:
        """Tokens of the texts in blocks, kept for the next batch of images."""
        key = tuple(texts)
        if self._texts[0] != key:
            self._texts = (key, list(self._encoded(texts)))
        return self._texts[1]

    def _encoded(self, texts: Sequence[str]) -> Iterator[Tensor]:
        limit = self.rules.text.max_tokens if self.rules.text else 97
        for start in range(0, len(texts), BLOCK):
            words = [carzero.wording(text) for text in texts[start : start + BLOCK]]
            tokens = self.tokenizer(
                words,
                padding="max_length",
                max_length=limit,
                truncation=True,
                return_tensors="pt",
            )
            marks = [self.tokenizer.convert_ids_to_tokens(ids) for ids in tokens["input_ids"]]
            pieces = torch.tensor([carzero.word_numbers(row) for row in marks])
            yield self.model.text_tokens(tokens.to(self.device), pieces.to(self.device))


def load(card: Card, weights: Weights, device: str = "cpu") -> CarZeroScorer:
    """The pair scorer of a card.

    Raises:
        BenchError: an unknown architecture, or a checkpoint that does not fit it.
    """
    go_offline()
    if card.architecture != "carzero":
        raise unknown("pair scorer", card.architecture, ["carzero"])
    rules = card.image
    if not (rules.geometry and rules.mean and card.text):
        raise BenchError(f"{card.name}: needs image.geometry, mean, std and text")
    pixels = PixelRules(read_geometry(rules.geometry), rules.mean, rules.std, rules.scale)
    model = carzero.load(weights, card.source.files[0], card.name).eval().to(device)
    folder = next((found for found in weights.also.values()), weights.folder)
    tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
    return CarZeroScorer(model_card(card, weights), card, model, tokenizer, pixels, device)
