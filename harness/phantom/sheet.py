"""Contact sheets: films of several plans side by side, with boxes and captions."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from harness.boxes import Boxes
from harness.phantom.film import render_study
from harness.phantom.plan import DrawnFinding, Film, StudyPlan

BoxKind = Literal["exact", "reader_1", "reader_2", "region"]
COLORS: dict[BoxKind, tuple[int, int, int]] = {
    "exact": (255, 214, 10),
    "reader_1": (64, 200, 255),
    "reader_2": (255, 105, 180),
    "region": (120, 230, 120),
}
CAPTION = 14  # height in pixels of one line of caption


def eight_bit(pixels: np.ndarray) -> np.ndarray:
    """The picture as uint8; 16-bit pixels are windowed at percentiles 0.5 and 99.5 first."""
    if pixels.dtype == np.uint8:
        return pixels
    low, high = np.percentile(pixels, [0.5, 99.5])
    scaled = (pixels.astype(np.float32) - low) / max(float(high - low), 1.0)
    return np.asarray((np.clip(scaled, 0, 1) * 255).astype(np.uint8))


def caption_of(film: Film) -> list[str]:
    """View, then a line per finding: side, zone, size, visibility in units of the noise."""
    lines: list[str] = [film.view]
    for one in film.findings:
        plan = one.plan
        words = [
            plan.size,
            plan.side if plan.side != "none" else "",
            plan.zone,
            plan.name.replace("_", " "),
        ]
        state = "" if one.visible else " not visible"
        state = " subtle" if one.subtle else state
        lines.append(" ".join(word for word in words if word) + f" {one.visibility:.1f}{state}")
    return lines


def _outline(
    draw: ImageDraw.ImageDraw, boxes: Boxes, width: int, color: tuple[int, int, int]
) -> None:
    for x1, y1, x2, y2 in np.asarray(boxes, np.float64) * width:
        draw.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline=color)


def _boxes(one: DrawnFinding, kind: BoxKind) -> Boxes:
    found: Boxes = getattr(one, kind)
    return found


def film_cell(film: Film, width: int, boxes: Sequence[BoxKind] = ()) -> Image.Image:
    """One film, `width` pixels wide, with boxes of the given kinds, above its caption."""
    lines = caption_of(film)
    picture = Image.fromarray(eight_bit(film.pixels)).resize(
        (width, width), Image.Resampling.BICUBIC
    )
    cell = Image.new("RGB", (width, width + CAPTION * 4 + 4))
    cell.paste(picture.convert("RGB"), (0, 0))
    draw = ImageDraw.Draw(cell)
    for one in film.findings:
        for kind in boxes:
            _outline(draw, _boxes(one, kind), width, COLORS[kind])
    for row, line in enumerate(lines[:4]):
        draw.text((4, width + 2 + row * CAPTION), line, fill=(225, 225, 225))
    return cell


def contact_sheet(
    plans: Iterable[StudyPlan],
    *,
    columns: int = 4,
    width: int = 320,
    size: int = 224,
    boxes: Sequence[BoxKind] = ("exact", "reader_1", "reader_2"),
) -> Image.Image:
    """All films of the plans in rows of `columns`, drawn `width` pixels wide.

    Args:
        plans: studies, each giving one cell per view.
        columns: cells per row.
        width: pixels of a cell.
        size: pixels at which the films are rendered.
        boxes: which boxes to draw; none for bare films.
    """
    cells = [film_cell(film, width, boxes) for plan in plans for film in render_study(plan, size)]
    if not cells:
        return Image.new("RGB", (width, width))
    height = cells[0].height
    sheet = Image.new("RGB", (columns * width, -(-len(cells) // columns) * height))
    for index, cell in enumerate(cells):
        sheet.paste(cell, (index % columns * width, index // columns * height))
    return sheet
