"""True boxes (green), predicted boxes (orange) and heat maps on a grey radiograph."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from harness.boxes import to_pixels

TRUE_COLOR = (52, 199, 123)
PREDICTED_COLOR = (255, 149, 41)
INK = (238, 240, 243)
QUIET = (150, 156, 164)
BAR = (22, 24, 28)

SMALLEST = 9  # pixels of the side of a drawn box: two rims and something between
HEAT_STRENGTH = 0.55  # opacity of the hottest pixel: the film must stay readable beneath it


@dataclass(frozen=True)
class Picture:
    """One drawn sample and the sentence beneath it; the caption is escaped where it is shown."""

    image: PilImage.Image
    caption: str


def draw_sample(
    pixels: np.ndarray,
    *,
    true: np.ndarray | None = None,
    predicted: np.ndarray | None = None,
    heatmap: np.ndarray | None = None,
    phrase: str = "",
    note: str = "",
    side: int = 320,
) -> PilImage.Image:
    """An RGB picture, longest side of the film `side` pixels, with a legend beneath.

    True boxes are green, predicted ones orange and dashed, so that the two are told apart without
    color. A phrase is drawn only if given: whoever calls decides whether it may be shown.

    Args:
        pixels: (h, w) grey, uint8, in the original frame.
        true: (n, 4) xyxy in [0, 1]; None where there is no truth to show.
        predicted: (n, 4) xyxy in [0, 1]; None where the model gave none.
        heatmap: (h', w') over the whole film, NaN where the model did not look.
        phrase: the phrase asked about, or "".
        note: a short remark, e.g. ``IoU 0.41``.
        side: length of the film's longest side in the picture.
    """
    film = _film(pixels, side)
    if heatmap is not None:
        film = _heated(film, heatmap)
    draw = ImageDraw.Draw(film)
    width, height = film.size
    for box in to_pixels(_rows(true), width=width, height=height):
        _solid(draw, box)
    for box in to_pixels(_rows(predicted), width=width, height=height):
        _dashed(draw, box)
    return _with_legend(film, true, predicted, _lines(phrase, note, width))


def _rows(boxes: np.ndarray | None) -> np.ndarray:
    return np.zeros((0, 4), np.float32) if boxes is None else np.reshape(boxes, (-1, 4))


def _film(pixels: np.ndarray, side: int) -> PilImage.Image:
    if pixels.ndim != 2:
        raise ValueError(f"pixels: expected a grey image (h, w), got shape {pixels.shape}")
    height, width = pixels.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = PilImage.fromarray(np.ascontiguousarray(pixels, np.uint8))
    return grey.resize(size, PilImage.Resampling.LANCZOS).convert("RGB")


def _heated(film: PilImage.Image, heatmap: np.ndarray) -> PilImage.Image:
    """The film with the map over it, from transparent at its minimum to orange at its maximum."""
    seen = np.isfinite(heatmap)
    if not seen.any():
        return film
    low, high = float(heatmap[seen].min()), float(heatmap[seen].max())
    unit = np.where(seen, (heatmap - low) / (high - low or 1.0), 0.0)
    alpha = PilImage.fromarray(np.uint8(np.clip(unit, 0, 1) * 255 * HEAT_STRENGTH))
    alpha = alpha.resize(film.size, PilImage.Resampling.BILINEAR)
    return PilImage.composite(PilImage.new("RGB", film.size, PREDICTED_COLOR), film, alpha)


def _solid(draw: ImageDraw.ImageDraw, box: np.ndarray) -> None:
    # A box of a few pixels is drawn as a frame around it: its color must be seen.
    rim = np.maximum((SMALLEST - (box[2:] - box[:2])) / 2, 0)
    shown = np.concatenate([box[:2] - rim, box[2:] + rim])
    draw.rectangle(shown.tolist(), outline=(0, 0, 0), width=4)
    draw.rectangle((shown + np.array([1, 1, -1, -1])).tolist(), outline=TRUE_COLOR, width=2)


def _dashed(draw: ImageDraw.ImageDraw, box: np.ndarray, dash: float = 6.0) -> None:
    x1, y1, x2, y2 = (float(v) for v in box)
    corners = ((x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1))
    for start, stop in pairwise(corners):
        length = max(abs(stop[0] - start[0]), abs(stop[1] - start[1]))
        for mark in np.arange(0.0, length, 2 * dash):
            ends = (mark, min(mark + dash, length))
            a, b = ((_along(start, stop, end / (length or 1.0))) for end in ends)
            draw.line([a, b], fill=(0, 0, 0), width=4)
            draw.line([a, b], fill=PREDICTED_COLOR, width=2)


def _along(
    start: tuple[float, float], stop: tuple[float, float], share: float
) -> tuple[float, float]:
    return (
        start[0] + share * (stop[0] - start[0]),
        start[1] + share * (stop[1] - start[1]),
    )


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _lines(phrase: str, note: str, width: int) -> list[str]:
    """The phrase wrapped to the picture, at most three lines, then the note."""
    font, lines, line = _font(13), [], ""
    for word in phrase.split():
        longer = f"{line} {word}".strip()
        if line and font.getlength(longer) > width - 16:
            lines.append(line)
            line = word
        else:
            line = longer
    lines += [line] if line else []
    if len(lines) > 3:
        lines = [*lines[:2], f"{lines[2]} …"]
    return lines + ([note] if note else [])


def _with_legend(
    film: PilImage.Image,
    true: np.ndarray | None,
    predicted: np.ndarray | None,
    lines: Sequence[str],
) -> PilImage.Image:
    width, height = film.size
    picture = PilImage.new("RGB", (width, height + 26 + 18 * len(lines)), BAR)
    picture.paste(film, (0, 0))
    draw = ImageDraw.Draw(picture)
    for index, line in enumerate(lines):
        draw.text((8, height + 6 + 18 * index), line, font=_font(13), fill=INK)
    top, left = height + 6 + 18 * len(lines), 8.0
    keys = (("true", true, TRUE_COLOR), ("predicted", predicted, PREDICTED_COLOR))
    for name, boxes, color in keys:
        if boxes is None:
            continue
        text = name if len(boxes) else f"{name}: none"
        draw.rectangle([left, top + 3, left + 9, top + 12], outline=color, width=2)
        draw.text((left + 15, top), text, font=_font(11), fill=QUIET)
        left += 15 + _font(11).getlength(text) + 16
    return picture
