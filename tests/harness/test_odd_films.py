"""Films that are colour, float, one-valued or windowed to nothing; what no decoder can read."""

from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest

from harness.images import Image, ImageUnreadable
from harness.intensity import window_by_percentile, window_linear
from tests.harness.film_files import read, write_dicom


def test_values_that_are_no_numbers_are_black() -> None:
    rows = np.float32([[np.nan, 0, 1], [np.inf, 2, 3]])
    grey = window_by_percentile(rows)
    assert grey[0, 0] == grey[1, 0] == grey[0, 1] == 0
    assert grey[1, 2] == 255
    assert window_by_percentile(np.full((2, 3), np.nan)).tolist() == [[0, 0, 0]] * 2


def test_a_float_film_of_one_value_is_black_and_one_bright_pixel_is_seen() -> None:
    flat = np.full((40, 40), 7.5)
    assert not window_by_percentile(flat).any()
    flat[3, 4] = 9.0  # a 1,600th: both percentiles are 7.5, so the extremes are taken
    grey = window_by_percentile(flat)
    assert grey[3, 4] == 255
    assert grey.sum() == 255


def test_a_float_tiff_is_windowed(tmp_path: Path) -> None:
    rows = np.linspace(-1, 1, 400, dtype=np.float32).reshape(20, 20)
    PIL.Image.fromarray(rows).save(tmp_path / "a.tif")
    grey = read(tmp_path / "a.tif")
    assert (grey[0, 0], grey[-1, -1]) == (0, 255)
    assert (np.diff(grey.ravel().astype(int)) >= 0).all()


def test_a_window_of_width_one_is_a_threshold() -> None:
    assert window_linear(np.array([[98.9, 99.4, 99.6, 101]]), 100, 1).tolist() == [[0, 0, 1, 1]]


def test_a_colour_capture_becomes_its_luminance(tmp_path: Path) -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    file = write_dicom(
        tmp_path / "a.dcm",
        colours[..., 0],
        PixelData=colours.tobytes(),
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation="RGB",
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
    )
    assert read(file)[0].tolist() == [76, 150, 29, 255]  # ITU-R 601


def test_a_colour_capture_of_sixteen_bits_is_windowed(tmp_path: Path) -> None:
    levels = np.arange(0, 64_000, 1000, dtype=np.uint16).reshape(8, 8)
    file = write_dicom(
        tmp_path / "a.dcm",
        levels,
        PixelData=np.repeat(levels[..., None], 3, axis=2).tobytes(),
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation="RGB",
    )
    grey = read(file)
    assert (grey.min(), grey.max()) == (0, 255)
    assert np.unique(grey).size > 50


def test_a_palette_is_refused(tmp_path: Path) -> None:
    stored = np.zeros((4, 4), np.uint16)
    file = write_dicom(tmp_path / "a.dcm", stored, PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(ImageUnreadable, match="a colour picture with a palette"):
        read(file)


def test_a_header_of_another_size_than_the_pixels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_dicom(tmp_path / "a.dcm", np.zeros((4, 6), np.uint16))
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda _: np.zeros((6, 4), np.uint16))
    with pytest.raises(ImageUnreadable, match=r"shape \(6, 4\), its header says \(4, 6\)"):
        read(file)


def test_a_compression_without_a_decoder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undecoded(_: pydicom.Dataset) -> np.ndarray:
        raise RuntimeError("Unable to decode: all plugins are missing dependencies")

    file = write_dicom(tmp_path / "a.dcm", np.zeros((4, 6), np.uint16))
    monkeypatch.setattr("pydicom.pixels.pixel_array", undecoded)
    with pytest.raises(ImageUnreadable, match=r"no decoder for .*pip install pylibjpeg"):
        read(file)


@pytest.mark.parametrize("center", ["", []])
def test_a_window_without_a_number_is_no_window(tmp_path: Path, center: object) -> None:
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    plain = read(write_dicom(tmp_path / "a.dcm", stored))
    named = write_dicom(tmp_path / "b.dcm", stored, WindowCenter=center, WindowWidth=10)
    assert (read(named) == plain).all()


def test_a_film_stored_in_eight_bits_without_a_window_is_as_it_is(tmp_path: Path) -> None:
    stored = np.arange(50, 114, dtype=np.uint8).reshape(8, 8)
    file = write_dicom(tmp_path / "a.dcm", stored, BitsAllocated=8, BitsStored=8, HighBit=7)
    assert (Image("a", file).read() == stored).all()
