"""A trained LoFi as the harness asks it: embeddings, boxes, reports and phrases."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from harness.boxes import Boxes
from harness.images import Image
from harness.models import Grounding, ModelCard, NotScorable, Query
from lofi.card import describe
from lofi.checkpoint import from_pretrained
from lofi.generate import answer
from lofi.location import REPORT_PROMPT, description_prompt, grounding_prompt, parse_boxes
from lofi.model import LofiModel
from lofi.picture import PaddedFrame, to_square
from lofi.prompt import token_counts
from lofi.validate import embed_texts, pixels_of

BATCH = 64


@dataclass(frozen=True)
class Prepared:
    """A picture on its square, and where it stands there."""

    square: np.ndarray
    frame: PaddedFrame


class LofiAdapter:
    """LoFi as an `EmbeddingModel`, `GroundingModel` and `Captioner`.

    What the training left out (a loss of weight 0) is not answered: `NotScorable`, "not taught".
    """

    def __init__(self, model: LofiModel, card: ModelCard):
        self.model, self.card = model, card
        self.size = model.towers.config.vision_config.image_size

    def prepare_image(self, image: Image) -> Prepared:
        """The picture on the model's square."""
        picture = image.picture(self.size)
        return Prepared(
            to_square(picture.pixels, self.size),
            PaddedFrame(picture.width, picture.height, self.size),
        )

    @torch.no_grad()
    def embed_images(self, prepared: Sequence[Prepared]) -> Float32[np.ndarray, "n d"]:
        """Unit rows."""
        self._taught("sigmoid", "embeddings")
        pixels = pixels_of(self.model, np.stack([one.square for one in prepared]))
        return _array(self.model.embed_images(pixels)[0])

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Unit rows; a text beyond the tower's length is cut."""
        self._taught("sigmoid", "embeddings")
        return _array(embed_texts(self.model, list(texts)))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens per text before truncation, special tokens included."""
        return token_counts(self.model.text_tokenizer, texts)

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """One answer per query; an answer that cannot be read is malformed."""
        self._taught("grounding", "boxes")
        images = [query.image for query in queries]
        questions = [grounding_prompt(query.phrase) for query in queries]
        replies, frames = self._ask(images, questions)
        out = []
        for (text, _), frame in zip(replies, frames, strict=True):
            parsed = parse_boxes(text)
            boxes = frame.to_picture(parsed.boxes)
            # Boxes on the padding alone are an answer about nothing that can be seen.
            lost = parsed.status == "ok" and not len(boxes)
            status = "malformed" if lost else parsed.status
            out.append(Grounding(boxes=boxes, raw=text, status=status))
        return out

    def caption(self, images: Sequence[Image]) -> list[str]:
        """One report per image."""
        self._taught("captioning", "reports")
        replies, _ = self._ask(images, [REPORT_PROMPT] * len(images))
        return [_sentences(text) for text, _ in replies]

    def describe(self, images: Sequence[Image], boxes: Sequence[Boxes]) -> list[str]:
        """One phrase per image for the boxes given."""
        self._taught("dense_captioning", "phrases")
        frames = [PaddedFrame(*image.size(), self.size) for image in images]
        questions = [
            description_prompt(frame.to_square(one))
            for frame, one in zip(frames, boxes, strict=True)
        ]
        replies, _ = self._ask(images, questions)
        return [_sentences(text) for text, _ in replies]

    @torch.no_grad()
    def _ask(
        self, images: Sequence[Image], questions: Sequence[str]
    ) -> tuple[list[tuple[str, bool]], list[PaddedFrame]]:
        """Greedy answers, as long as taught ones; an image asked about twice is encoded once."""
        limit = self.model.config.decoder.max_tokens
        distinct = {image.image_id: image for image in images}
        rows = {name: row for row, name in enumerate(distinct)}
        prepared = [self.prepare_image(image) for image in distinct.values()]
        tokens = self._tokens(prepared)
        places = [rows[image.image_id] for image in images]
        replies: list[tuple[str, bool]] = []
        for start in range(0, len(places), 4 * BATCH):
            part = slice(start, start + 4 * BATCH)
            replies += answer(
                self.model, tokens[places[part]], questions=questions[part], limit=limit
            )
        return replies, [prepared[place].frame for place in places]

    def _tokens(self, prepared: Sequence[Prepared]) -> Tensor:
        parts = []
        for start in range(0, len(prepared), BATCH):
            squares = np.stack([one.square for one in prepared[start : start + BATCH]])
            patches = self.model.patches(pixels_of(self.model, squares))
            parts.append(self.model.image_tokens(patches))
        return torch.cat(parts)

    def _taught(self, loss: str, what: str) -> None:
        if not getattr(self.model.config.losses, loss):
            raise NotScorable(f"not taught: {what} (trained with {loss} weight 0)")


def _array(values: Tensor) -> Float32[np.ndarray, "n d"]:
    return values.float().cpu().numpy()


def _sentences(text: str) -> str:
    """The text with a capital at the start of each sentence: tiny models write lower case."""
    parts = [part[:1].upper() + part[1:] for part in text.split(". ")]
    return ". ".join(parts)


def load(device: str = "cpu", *, checkpoint: str) -> LofiAdapter:
    """The model of a directory on a device."""
    return LofiAdapter(from_pretrained(Path(checkpoint), device), describe(checkpoint))
