"""Family `hf_detector`: open-vocabulary detectors that give scored boxes for a phrase.

GroundingDINO, OWLv2. The phrase is one query; labels that a detector makes of
its parts are ignored, scores decide the order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import torch
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from baselines.answers import Parsed, Unreadable, on_film
from baselines.card_schema import Card, DetectorRules
from baselines.cards import model_card
from baselines.offline import go_offline
from baselines.pixels import PixelRules
from baselines.sight import brightness
from baselines.weights import Weights
from harness.boxes import Boxes
from harness.errors import BenchError
from harness.geometry import Frame, read_geometry
from harness.images import Image
from harness.models import Grounding, ModelCard, Query

_WHOLE = PixelRules(read_geometry(""), (), ())  # mean and std are the processor's


@dataclass(frozen=True)
class Detector:
    """A `GroundingModel` whose boxes have scores."""

    card: ModelCard
    rules: DetectorRules
    model: Any
    processor: Any
    device: str

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        """One answer per query; boxes by falling score."""
        # One film at a time: a batch pads films to the largest, and the padding is seen.
        return [self._answer(query) for query in queries]

    def sees(self, image: Image) -> tuple[Any, Frame]:
        """The film in the model's input and the frame of its boxes, for `bench check`."""
        film = _WHOLE.prepare(image)
        inputs = (self._inputs(pixels, "mark") for pixels in (film, np.zeros_like(film)))
        return brightness(*inputs), self._frame(image)

    def round_trip(self, image: Image, boxes: Boxes) -> Boxes:
        """Boxes as the network would give them about this image and read back, for the check."""
        frame = self._frame(image)
        return on_film(corners(centered(frame.to_model(boxes))), frame).boxes

    def _frame(self, image: Image) -> Frame:
        return read_geometry(self.rules.coordinates).frame(*image.size())

    def _inputs(self, pixels: Any, phrase: str) -> Any:
        return self.processor(
            images=PIL.Image.fromarray(pixels).convert("RGB"),
            text=[[self._prompt(phrase)]] if self._lists() else self._prompt(phrase),
            return_tensors="pt",
            truncation=True,
        )

    @torch.inference_mode()
    def _answer(self, query: Query) -> Grounding:
        inputs = self._inputs(_WHOLE.prepare(query.image), query.phrase).to(self.device)
        found = self.model(**inputs.to(next(self.model.parameters()).dtype))
        scores = found.logits[0].float().sigmoid().max(dim=-1).values.cpu().numpy()
        centers = found.pred_boxes[0].float().cpu().numpy().astype(np.float64)
        return self._grounding(query, corners(centers), scores)

    def _lists(self) -> bool:
        """Whether texts are given as a list per image (OWLv2) or as one sentence."""
        return str(self.model.config.model_type).startswith("owl")

    def _prompt(self, phrase: str) -> str:
        text = self.rules.prompt.replace("{phrase}", phrase.strip())
        text = text.lower() if self.rules.lower else text
        return text.rstrip(".") + "." if self.rules.full_stop else text

    def _grounding(self, query: Query, rows: Any, scores: Any) -> Grounding:
        order = np.argsort(-scores, kind="stable")
        kept = [i for i in order if scores[i] >= self.rules.threshold][: self.rules.most]
        frame = self._frame(query.image)
        boxes, values = [], []
        for index in kept:
            parsed = _one(rows[index], frame)
            if parsed is not None:
                boxes.append(parsed.boxes[0])
                values.append(scores[index])
        if not boxes:
            return Grounding(scores=np.zeros(0, np.float32), status="empty")
        return Grounding(boxes=np.stack(boxes), scores=np.asarray(values, np.float32))


def _one(row: Any, frame: Any) -> Parsed | None:
    try:
        return on_film(np.asarray(row)[None], frame)
    except Unreadable:  # drawn wholly in the padding
        return None


def corners(boxes: Any) -> Any:
    """Centre x, centre y, width, height to x1, y1, x2, y2, in fractions of the frame.

    >>> corners(np.array([[0.23, 0.75, 0.26, 0.26]])).round(3).tolist()
    [[0.1, 0.62, 0.36, 0.88]]
    """
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def centered(boxes: Any) -> Any:
    """The inverse of `corners`.

    >>> centered(corners(np.array([[0.23, 0.75, 0.26, 0.26]]))).round(3).tolist()
    [[0.23, 0.75, 0.26, 0.26]]
    """
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def load(card: Card, weights: Weights, device: str = "cpu") -> Detector:
    """The detector of a card.

    Raises:
        BenchError: the folder does not hold what the card says.
    """
    go_offline()
    rules = card.detector
    if rules is None:
        raise ValueError(f"{card.name}: hf_detector without detector rules")
    dtype = getattr(torch, card.runtime.dtype) if device.startswith("cuda") else torch.float32
    try:
        model = AutoModelForZeroShotObjectDetection.from_pretrained(
            weights.folder, dtype=dtype, local_files_only=True
        )
        processor = AutoProcessor.from_pretrained(weights.folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(
            f"{card.name}: {weights.folder.name} is no detector of transformers: {error}"
        ) from error
    return Detector(model_card(card, weights), rules, model.eval().to(device), processor, device)
