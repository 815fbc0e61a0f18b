"""Tiny checkpoints of every family, written once per session; no connection may be opened."""

import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pydicom.data import get_testdata_file

from harness.images import Image
from tests.harness.film_files import write_dicom


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("a model opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Callable[[str], str]:
    """Name -> the folder of that tiny model, as the `card` of a reference."""
    import transformers

    transformers.logging.disable_progress_bar()
    from baselines.tiny import write_tiny_models

    root = tmp_path_factory.mktemp("tiny")
    return lambda name: str(write_tiny_models(root, [name])[0])


@pytest.fixture(scope="session")
def films(tmp_path_factory) -> list[Image]:
    """Four films of different shapes and depths, with structure that a resize must keep."""
    folder = tmp_path_factory.mktemp("films")
    images = []
    for number, (width, height) in enumerate([(90, 120), (150, 100), (64, 64), (201, 133)]):
        y, x = np.mgrid[:height, :width]
        grey = 128 + 90 * np.sin(x / (7 + number)) * np.cos(y / 11)
        grey[height // 4 : height // 3, width // 4 : width // 2] = 250
        deep = number == 3
        pixels = (grey * 200 if deep else grey).clip(0).astype(np.uint16 if deep else np.uint8)
        file = folder / f"film-{number}.png"
        PIL.Image.fromarray(pixels).save(file)
        images.append(Image(f"film-{number}", Path(file)))
    return images


REAL = "RG1_UNCR.dcm"  # comes with the pydicom-data package


@pytest.fixture(scope="session")
def deep_films(tmp_path_factory) -> list[Image]:
    """A 16-bit PNG, a 15-bit MONOCHROME1 film, and a real one of that kind where there is one.

    A test of its own says whether the real one was there (`test_right_inputs`).
    """
    folder = tmp_path_factory.mktemp("deep")
    values = np.random.default_rng(0).integers(500, 9000, (90, 70)).astype(np.uint16)
    PIL.Image.fromarray(values).save(folder / "deep.png")
    tags = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 15, "HighBit": 14}
    write_dicom(folder / "inverted.dcm", values.T * 3, **tags)
    found = [Image(name, folder / name) for name in ("deep.png", "inverted.dcm")]
    film = get_testdata_file(REAL, download=False)
    return [*found, Image(REAL, Path(film))] if film else found
