"""DICOM films: the window, the table and the direction of grey that the standard says."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from harness.images import Image
from tests.harness.film_files import read, write_dicom


def film(name: str) -> Path:
    """A real film of the pydicom-data package."""
    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"{name} comes with the pydicom-data package, which is not installed")
    return Path(found)


def test_a_real_monochrome1_film_is_turned_so_that_bone_is_bright():
    grey = read(film("RG1_UNCR.dcm"))
    assert grey.shape == (1955, 1841)
    lung = grey[600:900, 450:750]  # the patient's right lung
    spine = grey[600:900, 880:960]
    assert spine.mean() > lung.mean() + 30


def test_the_window_of_a_real_film_is_the_one_of_the_standard():
    file = film("RG1_UNCR.dcm")
    stored = pydicom.dcmread(file).pixel_array.astype(np.float64)
    # WindowCenter 15000, WindowWidth 30000, LINEAR (PS3.3 C.11.2.1.2.1), then MONOCHROME1.
    shown = np.clip((stored - 14999.5) / 29999 + 0.5, 0, 1) * 255
    assert np.abs(read(file) - (255 - shown)).max() <= 0.5001


def test_jpeg_2000_gives_the_same_film_as_uncompressed():
    assert (read(film("RG1_J2KR.dcm")) == read(film("RG1_UNCR.dcm"))).all()


@pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG3_J2KR.dcm", "CT_small.dcm"])
def test_the_size_is_read_from_the_header(name):
    image = Image("img-1", film(name))
    assert image.size() == image.read().shape[::-1]


def test_monochrome1_is_the_negative_of_monochrome2(tmp_path):
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    tags = {"WindowCenter": 2048, "WindowWidth": 4096}
    two = read(write_dicom(tmp_path / "2.dcm", stored, **tags))
    one = read(
        write_dicom(tmp_path / "1.dcm", stored, PhotometricInterpretation="MONOCHROME1", **tags)
    )
    assert (one == 255 - two).all()
    assert (two.ravel()[0], two.ravel()[-1]) == (0, 255)


def test_inverse_presentation_turns_the_film_once(tmp_path):
    stored = np.arange(64, dtype=np.uint16).reshape(8, 8)
    plain = read(write_dicom(tmp_path / "a.dcm", stored))
    turned = read(write_dicom(tmp_path / "b.dcm", stored, PresentationLUTShape="INVERSE"))
    both = read(
        write_dicom(
            tmp_path / "c.dcm",
            stored,
            PresentationLUTShape="INVERSE",
            PhotometricInterpretation="MONOCHROME1",
        )
    )
    assert (turned == 255 - plain).all()
    assert (both == turned).all()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # PS3.3 C.11.2.1, center 100 and width 50, at the values 75, 100 and 120.
        (
            "LINEAR",
            [255 * (0.5 / 49 - 25 / 49 + 0.5), 255 * (0.5 / 49 + 0.5), 255 * (20.5 / 49 + 0.5)],
        ),
        ("LINEAR_EXACT", [0, 127.5, 255 * 0.9]),
        ("SIGMOID", [255 / (1 + np.exp(2)), 127.5, 255 / (1 + np.exp(-1.6))]),
    ],
)
def test_window_functions_of_the_standard(tmp_path, function, expected):
    stored = np.array([[75, 100, 120, 0, 4000]], np.uint16)
    tags = {"WindowCenter": 100, "WindowWidth": 50, "VOILUTFunction": function}
    grey = read(write_dicom(tmp_path / "a.dcm", stored, **tags))
    assert np.abs(grey[0, :3] - np.clip(expected, 0, 255)).max() <= 0.51
    assert grey[0, 3:].tolist() == [0, 255]


def test_the_first_of_several_windows_is_used(tmp_path):
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    one = {"WindowCenter": 1000, "WindowWidth": 500}
    two = {"WindowCenter": [1000, 2000], "WindowWidth": [500, 4000]}
    a = read(write_dicom(tmp_path / "a.dcm", stored, **one))
    assert (a == read(write_dicom(tmp_path / "b.dcm", stored, **two))).all()


def test_rescale_comes_before_the_window(tmp_path):
    stored = np.arange(0, 200, dtype=np.int16).reshape(10, 20)
    tags = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 100, "WindowWidth": 400}
    grey = read(write_dicom(tmp_path / "a.dcm", stored, **tags))
    assert np.abs(grey.ravel() - 255 * ((stored.ravel() * 2.0 - 199.5) / 399 + 0.5)).max() <= 0.5001


def test_a_voi_table_wins_over_a_window(tmp_path):
    table = pydicom.Dataset()
    table.LUTDescriptor = [4, 0, 16]
    table.LUTData = np.array([0, 65535, 0, 32768], np.uint16).tobytes()
    stored = np.array([[0, 1, 2, 3]], np.uint16)
    file = write_dicom(
        tmp_path / "a.dcm", stored, VOILUTSequence=[table], WindowCenter=2, WindowWidth=4
    )
    assert read(file)[0].tolist() == [0, 255, 0, 128]


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 90_000, "WindowWidth": 10}])
def test_without_a_window_that_shows_anything_percentiles_are_used(tmp_path, window):
    stored = np.random.default_rng(0).integers(1000, 3000, (40, 40)).astype(np.uint16)
    grey = read(write_dicom(tmp_path / "a.dcm", stored, **window))
    low, high = np.percentile(stored, [0.5, 99.5])
    assert np.abs(grey - np.clip((stored - low) / (high - low), 0, 1) * 255).max() <= 0.5001
