"""Films and heat maps as the viewer sends them, read when asked and kept nowhere."""

import io

import numpy as np
from PIL import Image as PilImage

from harness.images import Image
from harness.record import RunRecord
from harness.samples import ImageRef
from harness.tasks.grounding import read_answers
from reports.drawing import PREDICTED_COLOR
from reports.viewer_data import Gallery


def image_bytes(gallery: Gallery, table: int, sample_id: str, side: int) -> bytes:
    """The sample's film as JPEG, longest side at most `side`, read now and kept nowhere.

    Raises:
        KeyError: no such sample.
        BenchError: the file cannot be read.
    """
    at: ImageRef = gallery.sample(table, sample_id).image
    pixels = Image(at.image_id, at.file).read(side)
    film = PilImage.fromarray(pixels)
    film.thumbnail((side, side), PilImage.Resampling.LANCZOS)
    buffer = io.BytesIO()
    film.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def heatmap_bytes(gallery: Gallery, record: RunRecord, sample_id: str) -> bytes:
    """The heat map as a PNG in orange, clear where it is low or was not looked at.

    Raises:
        KeyError: the model gave none.
    """
    answer = read_answers(gallery.frame(record).loc[[sample_id]])[sample_id]
    if answer.heatmap is None:
        raise KeyError(f"heat map of {sample_id}")
    values = answer.heatmap
    seen = np.isfinite(values)
    low = float(values[seen].min()) if seen.any() else 0.0
    high = float(values[seen].max()) if seen.any() else 1.0
    unit = np.where(seen, (values - low) / (high - low or 1.0), 0.0)
    pixels = np.zeros((*values.shape, 4), np.uint8)
    pixels[..., :3] = PREDICTED_COLOR
    pixels[..., 3] = np.clip(unit * 190, 0, 255)
    buffer = io.BytesIO()
    PilImage.fromarray(pixels, "RGBA").save(buffer, "PNG")
    return buffer.getvalue()
