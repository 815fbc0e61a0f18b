"""Files of the trees: bytes that fill a size, pictures that come back, boxes that stay."""

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from harness.phantom.trees import files, ms_cxr


def test_a_filled_jpeg_shows_the_same_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (61, 83), np.uint8)
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, "JPEG", quality=files.JPEG_QUALITY)
    shown = np.asarray(Pillow.open(io.BytesIO(files.jpeg_bytes(pixels))))
    assert (shown == np.asarray(Pillow.open(stream))).all()


@pytest.mark.parametrize("missing", [0, 3, 4, 5, 65_535, 65_537, 65_538, 65_539, 70_000])
def test_any_gap_can_be_filled(missing: int) -> None:
    filled = files.comments(missing)
    assert len(filled) == missing or (missing in (1, 2, 3) and not filled)


def test_sixteen_bits_come_back_whole() -> None:
    pixels = np.random.default_rng(0).integers(0, 65_535, (17, 31)).astype(np.uint16)
    shown = np.asarray(Pillow.open(io.BytesIO(files.png16_bytes(pixels))))
    assert (shown.astype(np.uint16) == pixels).all()


def test_a_box_smaller_than_a_pixel_keeps_one() -> None:
    assert ms_cxr.to_xywh((0.999, 0.5, 1.0, 0.501), 100, 200) == (99, 100, 1, 1)
