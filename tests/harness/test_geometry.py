"""Geometry: published sizes and rounding, exact inverses, and what a crop loses."""

import numpy as np
import open_clip
import PIL.Image
import pytest
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from open_clip.transform import CenterCropOrPad, ResizeKeepRatio
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from harness.errors import BenchError
from harness.geometry import read_geometry
from harness.images import Image, Picture

PUBLISHED = [
    "",
    "squash 512",
    "squash 96x64 bilinear",
    "shortest 224, crop 224",
    "shortest 518, crop 518 floor",
    "shortest 800 max 1333 bilinear",
    "longest 512, pad 512",
    "longest 320 floor lanczos, pad 320, squash 224",
    "longest 256, pad 256, crop 224",
    "pad square, squash 896 bilinear",
    "pad square corner fill 127, squash 960 bilinear",
    "multiples 28 min 3136 max 1003520",
    "crop 300x200",
    "crop square floor",
]
geometries = st.sampled_from(PUBLISHED).map(read_geometry)
sides = st.integers(20, 4000)


@st.composite
def unit_boxes(draw):
    rows = draw(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), min_size=1, max_size=5))
    return np.sort(np.array(rows, np.float32).reshape(-1, 2, 2), axis=1).reshape(-1, 4)


def picture(width: int, height: int, seed: int = 0) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    return Picture(pixels, width, height)


def seen(geometry: str, of: Picture) -> np.ndarray:
    return read_geometry(geometry).frame(of.width, of.height).pixels(of)


# --- inverses


@given(geometry=geometries, width=sides, height=sides, boxes=unit_boxes())
def test_boxes_come_back_from_the_model_frame_exactly(geometry, width, height, boxes):
    frame = geometry.frame(width, height)
    back = frame.to_film(frame.to_model(boxes))
    assert np.abs(back - boxes).max() < 1e-12
    forth = frame.to_model(frame.to_film(boxes))
    assert np.abs(forth - boxes).max() < 1e-12


@given(geometry=geometries, width=sides, height=sides)
def test_the_field_of_view_is_what_falls_inside_the_input(geometry, width, height):
    frame = geometry.frame(width, height)
    field = frame.field()
    assert (field >= 0).all()
    assert (field <= 1).all()
    inside = frame.to_model(field)[0]
    assert (inside > -1e-9).all()
    assert (inside < 1 + 1e-9).all()
    # A point just outside the field, still on the film, is not in the input or was cropped.
    if field[1] > 0.01:
        assert frame.to_model([[0, 0, 1, field[1] - 0.01]])[0, 3] < 1e-9


@given(width=st.integers(30, 400), height=st.integers(30, 400), geometry=geometries)
def test_a_bright_square_lands_where_the_boxes_say(width, height, geometry):
    # The square is drawn on the film; in the input its mass centre must be at the mapped centre.
    left, top = width // 3, height // 3
    right, bottom = left + width // 3, top + height // 3
    pixels = np.zeros((height, width), np.uint8)
    pixels[top:bottom, left:right] = 255
    frame = geometry.frame(width, height)
    box = np.array([left / width, top / height, right / width, bottom / height])
    if frame.lost_fraction(box[None])[0] > 0 or "fill" in str(geometry):
        return
    shown = frame.pixels(Picture(pixels, width, height)).astype(float)
    across, down = frame.size
    mapped = frame.to_model(box)[0] * [across, down, across, down]
    y, x = np.mgrid[:down, :across] + 0.5
    center = np.array([(shown * x).sum(), (shown * y).sum()]) / shown.sum()
    assert np.abs(center - (mapped[:2] + mapped[2:]) / 2).max() < 0.25  # of a pixel


def test_box_codec_vectors_through_pad_and_crop():
    # A film of 2500 x 3056. Padded to a square, x is 3056 / 2500 wider and 278 px to the right.
    padded = read_geometry("pad square, squash 896").frame(2500, 3056)
    assert np.allclose(
        padded.to_film([[0.18, 0.62, 0.395, 0.88]]), [[0.1088, 0.62, 0.3716, 0.88]], atol=5e-5
    )
    # MAIRA-2 maps back as if the film itself were cropped: 278 px of 3056 off at either end.
    crop = read_geometry("crop square floor").frame(2500, 3056)
    assert np.allclose(
        crop.to_film([[0.105, 0.625, 0.365, 0.885]]), [[0.105, 0.60226, 0.365, 0.81495]], atol=5e-5
    )


# --- what a crop loses


def test_lost_fraction_is_the_share_of_the_box_outside_the_crop():
    # 100 x 200 cropped to its central 100 x 100: y from 0.25 to 0.75.
    frame = read_geometry("crop 100").frame(100, 200)
    assert frame.field().tolist() == [0, 0.25, 1, 0.75]
    boxes = np.float32([[0, 0, 1, 0.25], [0, 0.25, 0.5, 0.75], [0.2, 0, 0.4, 0.5], [0, 0, 1, 1]])
    assert frame.lost_fraction(boxes).tolist() == [1, 0, 0.5, 0.5]


def test_padding_loses_nothing():
    frame = read_geometry("longest 512, pad 512").frame(2500, 3056)
    assert frame.field().tolist() == [0, 0, 1, 1]
    assert frame.lost_fraction(np.float32([[0, 0, 1, 1]])).tolist() == [0]


# --- sizes, rounding and pixels as published


@pytest.mark.parametrize("width", [997, 1000, 1001, 2500, 2544, 3057])
@pytest.mark.parametrize("height", [999, 1024, 2001, 3056])
def test_shortest_and_crop_are_those_of_torchvision(width, height):
    of = picture(width // 4, height // 4)
    theirs = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(224, torchvision.transforms.InterpolationMode.BICUBIC),
            torchvision.transforms.CenterCrop(224),
        ]
    )(PIL.Image.fromarray(of.pixels))
    assert (seen("shortest 224, crop 224", of) == np.asarray(theirs)).all()


def test_a_crop_larger_than_the_picture_pads_as_torchvision_does():
    of = picture(101, 60)
    theirs = torchvision.transforms.CenterCrop(90)(PIL.Image.fromarray(of.pixels))
    assert (seen("crop 90", of) == np.asarray(theirs)).all()


@pytest.mark.parametrize(("width", "height"), [(300, 401), (333, 512), (512, 333), (250, 250)])
def test_longest_and_pad_are_those_of_open_clip(width, height):
    of = picture(width, height)
    resize = ResizeKeepRatio(
        224, longest=1, interpolation=open_clip.transform.InterpolationMode.BICUBIC
    )
    theirs = CenterCropOrPad(224)(resize(PIL.Image.fromarray(of.pixels)))
    assert (seen("longest 224, pad 224", of) == np.asarray(theirs)).all()


@given(width=sides, height=sides)
def test_longest_rounds_to_the_nearest_and_padding_floors(width, height):
    # The letter-box of LoFi: int(round(side x 512 / longer)), offsets floor((512 - side) / 2).
    frame = read_geometry("longest 512, pad 512").frame(width, height)
    resize, window = frame.operations
    ratio = 512 / max(width, height)
    assert (resize.width, resize.height) == (
        max(1, round(width * ratio)),
        max(1, round(height * ratio)),
    )
    assert (-window.left, -window.top) == ((512 - resize.width) // 2, (512 - resize.height) // 2)


@given(width=sides, height=sides)
def test_the_detr_rule_is_that_of_transformers(width, height):
    frame = read_geometry("shortest 800 max 1333").frame(width, height)
    assert frame.size[::-1] == get_size_with_aspect_ratio((height, width), 800, 1333)


@given(width=sides, height=sides)
def test_multiples_are_those_of_qwen(width, height):
    frame = read_geometry("multiples 28 min 3136 max 1003520").frame(width, height)
    assert frame.size[::-1] == smart_resize(height, width, 28, 3136, 1003520)


@pytest.mark.parametrize("bounds", ["min 3136 max 12544", "min 12544 max 20000"])
def test_an_area_of_exactly_the_most_or_the_least_stays(bounds):
    """120 x 105 is 112 x 112 in multiples of 28: rounded down it would be 84 high, up 140 wide."""
    assert read_geometry(f"multiples 28 {bounds}").frame(120, 105).size == (112, 112)


def test_one_pixel_is_a_size():
    assert read_geometry("crop 1").frame(3, 5).size == (1, 1)


def test_chexzero_pads_to_320_before_it_resizes_to_224():
    of = picture(250, 305)
    small = PIL.Image.fromarray(of.pixels).resize((262, 320), PIL.Image.Resampling.LANCZOS)
    canvas = PIL.Image.new("L", (320, 320))
    canvas.paste(small, ((320 - 262) // 2, 0))
    theirs = canvas.resize((224, 224), PIL.Image.Resampling.BICUBIC)
    ours = seen("longest 320 floor lanczos, pad 320, squash 224", of)
    assert (ours == np.asarray(theirs)).all()


def test_corner_padding_keeps_the_film_at_the_top_left():
    of = picture(30, 20)
    shown = seen("pad square corner fill 127", of)
    assert (shown[:20] == of.pixels).all()
    assert (shown[20:] == 127).all()


# --- reduced pictures


@pytest.mark.parametrize("target", [100, 128, 160, 224])
def test_a_reduced_jpeg_changes_what_the_model_sees_by_less_than_the_bound(tmp_path, target):
    """Bound: on average under 1 grey level of 255, and 99.9 % of pixels under 12."""
    # Smooth anatomy-like shapes, a sharp frame as burnt-in markers have, and detector noise; sides
    # that no power of two divides.
    width, height = 921, 1003
    y, x = np.mgrid[:height, :width]
    film = (
        120 + 60 * np.sin(x / 90) * np.cos(y / 70) + np.random.default_rng(0).normal(0, 4, x.shape)
    )
    film[40:60, 30:300] = 250
    film[-30:, -200:] = 10
    PIL.Image.fromarray(film.clip(0, 255).astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    image = Image("img-1", tmp_path / "a.jpg")
    geometry = read_geometry(f"squash {target}")
    frame = geometry.frame(*image.size())
    whole, reduced = image.picture(), image.picture(geometry.target)
    assert reduced.reduced > 1
    difference = np.abs(frame.pixels(whole).astype(int) - frame.pixels(reduced))
    assert difference.mean() < 1.0
    assert np.percentile(difference, 99.9) < 12


def test_a_reduced_picture_is_refused_where_every_pixel_is_needed(tmp_path):
    PIL.Image.new("L", (400, 300), 9).save(tmp_path / "a.jpg")
    image = Image("img-1", tmp_path / "a.jpg")
    assert read_geometry("pad square, squash 64").target is None
    with pytest.raises(ValueError, match="reduced 2 times"):
        read_geometry("pad square, squash 64").frame(400, 300).pixels(image.picture(150))


def test_a_picture_of_another_film_is_refused():
    with pytest.raises(ValueError, match="frame of 10 x 20 got a picture of 20 x 10"):
        read_geometry("squash 5").frame(10, 20).pixels(picture(20, 10))


# --- the grammar


@pytest.mark.parametrize("text", PUBLISHED)
def test_a_geometry_is_written_as_it_was_read(text):
    assert str(read_geometry(text)) == text
    assert read_geometry(str(read_geometry(text))) == read_geometry(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("squish 224", "unknown geometry step 'squish'. Did you mean 'squash'"),
        ("squash", "not understood"),
        ("squash 0", "not understood"),
        ("shortest 224x224", "not understood"),
        ("crop 224 sideways", "not understood"),
        ("multiples 28", "not understood"),
    ],
)
def test_a_geometry_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(BenchError, match=message):
        read_geometry(text)


def test_padding_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="padding to 224 x 224 cannot hold 300 x 200"):
        read_geometry("pad 224").frame(300, 200)
