"""Images: what a film on disk becomes, and every way in which one cannot be read."""

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
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from harness.errors import BenchError
from harness.images import MAX_PIXELS, Image, ImageUnreadable


def film(name: str) -> Path:
    """A real film of the pydicom-data package."""
    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"{name} comes with the pydicom-data package, which is not installed")
    return Path(found)


def read(file: Path, target: int | None = None) -> np.ndarray:
    return Image("img-1", file).read(target)


def write_dicom(file: Path, stored: np.ndarray, **tags: object) -> Path:
    """A minimal CR film with `stored` (uint16 or int16) as its pixels."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Modality, data.SamplesPerPixel = "CR", 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = stored.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation = int(stored.dtype == np.int16)
    data.PixelData = stored.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(file, enforce_file_format=True)
    return file


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


# --- DICOM


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
