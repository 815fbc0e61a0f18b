"""Family `pair_scorer`: models that score pairs and have no single vector per image or text.

CARZero, MedKLIP. Every pair costs a pass through the fusion, so pools are scored block by block and
the tokens of the texts are computed once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from baselines import carzero, medklip
from baselines.card_schema import Card, PatchRules
from baselines.cards import model_card
from baselines.dual import word
from baselines.offline import go_offline
from baselines.pair_towers import PairTowers
from baselines.pixels import PixelRules
from baselines.precision import autocast, compute_dtype
from baselines.weights import Weights
from harness.errors import BenchError, unknown
from harness.geometry import Frame, Geometry, read_geometry
from harness.heatmap import PatchMap
from harness.images import Image
from harness.models import Grounding, ModelCard, Query

Tensor = torch.Tensor
BLOCK = 64  # texts in one pass: 64 x 32 images x 197 tokens of attention are 6 MB a head

ARCHITECTURES: Mapping[str, Callable[[Card, Weights, str], PairTowers]] = {
    "carzero": carzero.towers,
    "medklip": medklip.towers,
}


@dataclass
class PairModel:
    """A `PairScorer` and `GroundingModel`: logits per pair, attention as a heat map."""

    card: ModelCard
    rules: Card
    towers: PairTowers
    pixels: PixelRules
    device: str
    dtype: torch.dtype = torch.float32
    _texts: tuple[tuple[str, ...], list[Any]] = field(default=((), []))

    @property
    def geometry(self) -> Geometry:
        """From a film to the model's frame."""
        return self.pixels.geometry

    def prepare_image(self, image: Image) -> Any:
        """The film in the model's frame, 8-bit grey; pure, run ahead in threads."""
        return self.pixels.prepare(image)

    def sees(self, image: Image) -> tuple[Any, Frame]:
        """The film in the model's frame and that frame, for `bench check`."""
        return self.prepare_image(image), self.geometry.frame(*image.size())

    @torch.inference_mode()
    def score(self, images: Sequence[Any], texts: Sequence[str]) -> Float[np.ndarray, "n m"]:
        """Logits, higher is closer."""
        with autocast(self.device, self.dtype):
            tokens = self.towers.images(self.pixels.tensor(images, self.device))
            blocks = self._blocks(self._worded(texts))
            parts = [self.towers.score(tokens, block) for block in blocks]
        return torch.cat([part.float() for part in parts], dim=1).cpu().numpy()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens per text, special tokens included, before any truncation."""
        return self.towers.count(self._worded(texts))

    @torch.inference_mode()
    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """Where each phrase looks, as a heat map on the film."""
        images = list(dict.fromkeys(query.image for query in queries))
        rows = {image: row for row, image in enumerate(images)}
        answers = []
        with autocast(self.device, self.dtype):
            prepared = [self.prepare_image(image) for image in images]
            tokens = self.towers.images(self.pixels.tensor(prepared, self.device))
            for query in queries:
                row = rows[query.image]
                texts = self.towers.texts(self._worded([query.phrase]))
                seen = self.towers.attention(tokens[row : row + 1], texts)[0, 0]
                answers.append(Grounding(heatmap=self._project(seen, query.image)))
        return answers

    def _worded(self, texts: Sequence[str]) -> list[str]:
        return [word(text, self.rules.text) for text in texts]

    def _project(self, attention: Tensor, image: Image) -> Any:
        rules = self.rules.patches or PatchRules()
        side = int(len(attention) ** 0.5)
        grid = attention.float().cpu().numpy().reshape(side, side)
        geometry, (width, height) = str(self.geometry), image.size()
        shown = PatchMap(grid, geometry, width, height, rules.sigma, rules.interpolation)
        return shown.project()

    def _blocks(self, texts: Sequence[str]) -> list[Any]:
        """Tokens of the texts in blocks, kept for the next batch of images."""
        key = tuple(texts)
        if self._texts[0] != key:
            starts = range(0, len(texts), BLOCK)
            blocks = [self.towers.texts(texts[start : start + BLOCK]) for start in starts]
            self._texts = (key, blocks)
        return self._texts[1]


def load(card: Card, weights: Weights, device: str = "cpu") -> PairModel:
    """The pair scorer of a card.

    Raises:
        BenchError: an unknown architecture, or a checkpoint that does not fit it.
    """
    go_offline()
    if card.architecture not in ARCHITECTURES:
        raise unknown("pair scorer", card.architecture, ARCHITECTURES)
    rules = card.image
    if not (rules.geometry and rules.mean and card.text):
        raise BenchError(f"{card.name}: needs image.geometry, mean, std and text")
    geometry = read_geometry(rules.geometry)
    pixels = PixelRules(geometry, rules.mean, rules.std, rules.scale, rules.stretch)
    towers = ARCHITECTURES[card.architecture](card, weights, device)
    dtype = compute_dtype(card.runtime, device)
    return PairModel(model_card(card, weights), card, towers, pixels, device, dtype)
