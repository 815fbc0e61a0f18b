"""Dual encoders: unit vectors for images and texts, and heat maps from patch similarity.

A family supplies the `Towers` of a model; what is the same for all of them is here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from baselines.card_schema import Card, PatchRules, TextRules
from baselines.cards import model_card
from baselines.pixels import PixelRules
from baselines.precision import autocast, compute_dtype, precision_name
from baselines.weights import Weights
from harness.errors import BenchError
from harness.geometry import Frame, Geometry
from harness.heatmap import PatchMap
from harness.images import Image
from harness.models import Grounding, ModelCard, NotScorable, Query

Tensor = torch.Tensor


@dataclass(frozen=True)
class TextTower:
    """Texts to embeddings (n, d), not yet unit vectors; tokens include the special ones."""

    tokenize: Callable[[Sequence[str]], Any]
    embed: Callable[[Any], Tensor]
    count: Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True)
class Towers:
    """The parts of a dual encoder; None where the model has no such part.

    `embed` takes normalized pixels (n, c, h, w) to embeddings (n, d), `patches` to vectors of the
    text's space (n, rows, columns, d); neither normalizes.
    """

    pixels: PixelRules
    embed: Callable[[Tensor], Tensor]
    text: TextTower | None
    patches: Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class DualEncoder:
    """An `EmbeddingModel` that also grounds: a heat map of cosines between patches and phrase."""

    card: ModelCard
    towers: Towers
    rules: Card
    device: str = "cpu"
    dtype: torch.dtype = torch.float32

    @property
    def precision(self) -> str:
        """In which numbers it computes, as the cache of embeddings names it."""
        return precision_name(self.dtype)

    @property
    def geometry(self) -> Geometry:
        """From a film to the model's frame."""
        return self.towers.pixels.geometry

    def prepare_image(self, image: Image) -> Any:
        """The film in the model's frame, 8-bit grey; pure, run ahead in threads."""
        return self.towers.pixels.prepare(image)

    @torch.inference_mode()
    def embed_images(self, prepared: Sequence[Any]) -> Float[np.ndarray, "n d"]:
        """Unit rows."""
        with autocast(self.device, self.dtype):
            found = self.towers.embed(self.towers.pixels.tensor(prepared, self.device))
        return _unit(self._of_size(found)).cpu().numpy()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Unit rows.

        Raises:
            NotScorable: the model has no text tower.
        """
        return self._text_vectors(texts).cpu().numpy()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens per text, special tokens included, before any truncation."""
        return self._text().count(self._worded(texts))

    def sees(self, image: Image) -> tuple[Any, Frame]:
        """The film in the model's frame and that frame, for `bench check`."""
        return self.prepare_image(image), self.geometry.frame(*image.size())

    @torch.inference_mode()
    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """A heat map per query, on the film; boxes are left to a threshold chosen elsewhere.

        Raises:
            NotScorable: the model has no text tower, or no patches in the text's space.
        """
        if self.towers.patches is None or self.rules.patches is None:
            raise NotScorable("its patches are not in the space of its text: no heat map")
        images = list(dict.fromkeys(query.image for query in queries))
        with autocast(self.device, self.dtype):
            pixels = [self.prepare_image(image) for image in images]
            grids = self.towers.patches(self.towers.pixels.tensor(pixels, self.device))
        texts = self._text_vectors([query.phrase for query in queries])
        rows = {image: row for row, image in enumerate(images)}
        grids = _unit(grids)
        answers = []
        for query, vector in zip(queries, texts, strict=True):
            cosines = (grids[rows[query.image]] @ vector).cpu().numpy()
            answers.append(Grounding(heatmap=self._project(cosines, query.image)))
        return answers

    def _project(self, cosines: Any, image: Image) -> Any:
        rules: PatchRules = self.rules.patches or PatchRules()
        width, height = image.size()
        shown = PatchMap(
            cosines, str(self.geometry), width, height, rules.sigma, rules.interpolation
        )
        return shown.project()

    def _text(self) -> TextTower:
        if self.towers.text is None:
            raise NotScorable("it has no text tower: it embeds images only")
        return self.towers.text

    def _text_vectors(self, texts: Sequence[str]) -> Tensor:
        tower = self._text()
        with autocast(self.device, self.dtype):
            found = tower.embed(tower.tokenize(self._worded(texts)))
        return _unit(self._of_size(found))

    def _of_size(self, vectors: Tensor) -> Tensor:
        said = self.rules.embedding_size
        if said is not None and vectors.shape[-1] != said:
            raise BenchError(
                f"{self.card.name}: embeddings of {vectors.shape[-1]} numbers, its card says "
                f"{said}. These are other weights than the card's."
            )
        return vectors

    def _worded(self, texts: Sequence[str]) -> list[str]:
        return [word(text, self.rules.text) for text in texts]


def dual_encoder(card: Card, weights: Weights, towers: Towers, device: str) -> DualEncoder:
    """The dual encoder of a card, in the numbers that the card names for this device."""
    dtype = compute_dtype(card.runtime, device)
    return DualEncoder(model_card(card, weights), towers, card, device, dtype)


def word(text: str, rules: TextRules | None) -> str:
    """The text as the model was taught to read it: template, case, punctuation."""
    if rules is None:
        return text
    text = rules.template.format(text)
    if rules.lower:
        text = text.lower()
    if rules.strip_punctuation:
        kept = (char if char.isalnum() or char.isspace() else " " for char in text)
        text = " ".join("".join(kept).split())
    return text


def _unit(vectors: Tensor) -> Tensor:
    """Unit vectors in float32: in half precision near-duplicate reports would tie."""
    return torch.nn.functional.normalize(vectors.float(), dim=-1)
