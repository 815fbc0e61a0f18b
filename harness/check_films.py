"""What `bench check` shows a model: phantom films in several shapes and depths, and phrases."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from harness.boxes import Boxes, boxes_from_pixels
from harness.images import Image
from harness.intensity import window_by_percentile

# How much of each phantom is kept: wide, tall, square and odd films. Every adapter that confuses
# width and height, or forgets a crop, is wrong on some of them.
_SHAPES = ((224, 160), (150, 224), (224, 224), (201, 133))
# Lengths differ on purpose: batches have to pad.
TEXTS = (
    "Small left pleural effusion.",
    "No acute cardiopulmonary process.",
    "Nodule",
    "There is a large consolidation in the right lower lobe with an adjacent effusion; heart size "
    "is mildly enlarged and the mediastinal contours are unchanged. No pneumothorax.",
)
PHRASES = ("left pleural effusion", "nodule in the right upper zone", "cardiomegaly")


@dataclass(frozen=True)
class Marked:
    """A black film with one bright rectangle, and where it is."""

    image: Image
    boxes: Boxes


def write_films(folder: Path) -> list[Image]:
    """Four phantom films on disk: JPEG, 8-bit PNG and two of 16 bits."""
    from harness.phantom.worlds import WORLDS, iterate_studies

    images = []
    studies = iterate_studies(WORLDS["padchest"], "test", 0, len(_SHAPES), frontal=True)
    for number, (_, films, _) in enumerate(studies):
        width, height = _SHAPES[number]
        pixels = films[0].pixels[:height, :width].astype(np.uint16)
        file = folder / f"film-{number}.{'jpg' if number == 0 else 'png'}"
        values = pixels if number >= 2 else window_by_percentile(pixels)
        PIL.Image.fromarray(np.ascontiguousarray(values)).save(file)
        images.append(Image(f"film-{number}", file))
    return images


def write_marked(folder: Path) -> list[Marked]:
    """Bright rectangles off every axis of symmetry, on a wide and on a tall film."""
    marked = []
    for number, (width, height) in enumerate([(240, 160), (160, 240)]):
        pixels = np.zeros((height, width), np.uint8)
        corners = (
            int(width * 0.62),
            int(height * 0.66),
            int(width * 0.74),
            int(height * 0.78),
        )
        pixels[corners[1] : corners[3], corners[0] : corners[2]] = 255
        file = folder / f"marked-{number}.png"
        PIL.Image.fromarray(pixels).save(file)
        boxes = boxes_from_pixels([corners], width=width, height=height)
        marked.append(Marked(Image(f"marked-{number}", file), boxes))
    return marked
