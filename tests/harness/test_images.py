"""Images: what a PNG or JPEG becomes, and every way in which a film cannot be read."""

import io
import pickle
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import BenchError
from harness.images import MAX_PIXELS, Image, ImageUnreadable
from tests.harness.film_files import read, write_dicom

# --- PNG and JPEG


def test_an_8_bit_png_comes_back_unchanged(tmp_path):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (read(tmp_path / "a.png") == pixels).all()


def test_a_16_bit_png_is_windowed_by_percentile_and_not_cut(tmp_path):
    # 1,000 values 0..999 in a 16-bit file. Cut to its upper byte it would have 4 grey levels.
    # The 0.5th percentile is 4.995, the 99.5th 994.005: value v -> 255 (v - 4.995) / 989.01.
    pixels = np.arange(1000, dtype=np.uint16).reshape(25, 40)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    grey = read(tmp_path / "a.png")
    assert len(np.unique(grey)) == 256
    assert grey.ravel()[[0, 4, 500, 995, 999]].tolist() == [0, 0, 128, 255, 255]
    assert grey.ravel()[250] == round(255 * (250 - 4.995) / 989.01)


def test_the_histogram_window_equals_the_plain_percentile_window(tmp_path):
    values = np.random.default_rng(0).integers(0, 3000, (61, 47)).astype(np.uint16)
    PIL.Image.fromarray(values).save(tmp_path / "a.png")
    low, high = np.percentile(values, [0.5, 99.5])
    plain = np.floor(np.clip((values - low) / (high - low), 0, 1) * 255 + 0.5)
    assert (read(tmp_path / "a.png") == plain).all()


def test_a_16_bit_image_of_one_value_is_black_and_no_division_by_zero(tmp_path):
    PIL.Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(tmp_path / "a.png")
    assert (read(tmp_path / "a.png") == 0).all()


def test_a_nearly_constant_16_bit_image_falls_back_to_its_extremes(tmp_path):
    pixels = np.full((100, 100), 7, np.uint16)
    pixels[0, 0] = 9  # one pixel of 10,000: beyond both percentiles
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    grey = read(tmp_path / "a.png")
    assert (grey[0, 0], grey[1, 1]) == (255, 0)


def test_colour_becomes_luminance(tmp_path):
    PIL.Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png")[0, 0] == 76  # ITU-R 601: 0.299 x 255


def test_an_rgb_jpeg_is_read_as_its_luminance(tmp_path):
    grey = np.tile(np.arange(0, 256, 2, dtype=np.uint8), (64, 1))
    PIL.Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read(tmp_path / "a.jpg").astype(int) - grey).max() <= 3


def test_16_bit_colour_is_refused_and_not_cut(tmp_path):
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)  # 2 x 2, 16 bits, truecolour
    rows = (b"\0" + b"\x12\x34" * 6) * 2
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(ImageUnreadable, match="16-bit colour"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("target", [None, 8])
def test_exif_orientation_is_applied(tmp_path, orientation, target):
    pixels = np.random.default_rng(1).integers(0, 256, (48, 32), dtype=np.uint8)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "a.jpg"
    PIL.Image.fromarray(pixels).save(file, quality=100, exif=exif)
    picture = Image("img-1", file).picture(target)
    upright = PIL.ImageOps.exif_transpose(PIL.Image.open(file))
    assert (picture.width, picture.height) == upright.size == Image("img-1", file).size()
    if picture.reduced == 1:
        assert (picture.pixels == np.asarray(upright)).all()


# --- the decoder's own reduction


def test_a_jpeg_is_reduced_only_if_the_target_is_at_most_half(tmp_path):
    PIL.Image.new("L", (1000, 801), 90).save(tmp_path / "a.jpg")
    image = Image("img-1", tmp_path / "a.jpg")
    sides = {target: image.read(target).shape for target in (None, 401, 400, 200, 100, 50)}
    assert sides[None] == sides[401] == (801, 1000)
    assert sides[400] == (401, 500)
    assert sides[200] == (201, 250)
    assert sides[100] == sides[50] == (101, 125)
    assert image.size() == (1000, 801)
    reduced = image.picture(100)
    assert (reduced.width, reduced.height, reduced.reduced) == (1000, 801, 8)


def test_a_png_is_never_reduced(tmp_path):
    PIL.Image.new("L", (1000, 801), 90).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", 50).shape == (801, 1000)


# --- what cannot be read


def damaged_files(folder: Path) -> dict[str, Path]:
    """One file for each way of failing, by the words its error must have."""
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(whole, "JPEG")
    png = io.BytesIO()
    PIL.Image.fromarray(noise).save(png, "PNG")
    stored = np.arange(64, dtype=np.uint16).reshape(8, 8)
    dicom = write_dicom(folder / "whole.dcm", stored)
    no_pixels = pydicom.dcmread(dicom)
    del no_pixels.PixelData
    no_pixels.save_as(folder / "no-pixels.dcm")
    write_dicom(folder / "frames.dcm", stored, NumberOfFrames=2, Rows=4)
    contents = {
        "empty (0 bytes)": b"",
        "truncated or damaged": whole.getvalue()[:-900],
        "truncated or damaged ": png.getvalue()[: len(png.getvalue()) // 2],
        "no picture in a known format": b"%PDF-1.7 this is no picture",
        "damaged": dicom.read_bytes()[:-40],
    }
    files = {"is missing": folder / "missing.png", "cannot be opened": folder / "folder.png"}
    (folder / "folder.png").mkdir()
    files |= {"no pixels": folder / "no-pixels.dcm", "2 frames": folder / "frames.dcm"}
    for number, (reason, content) in enumerate(contents.items()):
        files[reason.strip()] = folder / f"bad-{number}.bin"
        files[reason.strip()].write_bytes(content)
    return files


def test_every_unreadable_file_is_named_by_id_and_reason_without_its_folder(tmp_path):
    for reason, file in damaged_files(tmp_path).items():
        with pytest.raises(ImageUnreadable) as caught:
            Image("s5/img-7", file).read()
        message = str(caught.value)
        assert reason in message
        assert message.startswith(f"image s5/img-7 ({file.name}): ")
        assert str(tmp_path) not in message
        assert isinstance(caught.value, BenchError)


def test_a_picture_larger_than_any_film_is_refused_before_it_is_decoded(tmp_path):
    PIL.Image.new("1", (10_000, MAX_PIXELS // 10_000 + 1)).save(tmp_path / "bomb.png")
    with pytest.raises(ImageUnreadable, match="more than 80,000,000 pixels"):
        read(tmp_path / "bomb.png")


def test_a_dicom_header_that_promises_too_much_is_refused(tmp_path):
    stored = np.zeros((4, 4), np.uint16)
    file = write_dicom(tmp_path / "bomb.dcm", stored, Rows=20_000, Columns=20_000)
    with pytest.raises(ImageUnreadable, match="more than 80,000,000 pixels"):
        read(file)


def test_the_error_survives_a_process_border():
    error = ImageUnreadable("img-7", Path("/data/secret/a.png"), "the file is missing")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.image_id, copy.reason) == (str(error), "img-7", "the file is missing")


@pytest.mark.filterwarnings("ignore")  # damaged headers make Pillow and pydicom warn
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_damage_gives_a_picture_or_an_image_unreadable(tmp_path, data):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "TIFF", "DICOM"]))
    file = tmp_path / "a.bin"
    if kind == "DICOM":
        write_dicom(file, np.arange(256, dtype=np.uint16).reshape(16, 16))
    else:
        PIL.Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(file, kind)
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        grey = read(file)
    except ImageUnreadable:
        return
    assert grey.dtype == np.uint8
    assert grey.ndim == 2
