"""Box codecs: published notations read to the digit, and written so that they are read back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.codecs import CODECS, encode, find_codec, parse
from harness.errors import BenchError
from harness.geometry import read_geometry

# The film of all published vectors.
WIDTH, HEIGHT = 2500, 3056

# codec, geometry of the coordinates, an answer, the boxes on the film. The numbers are worked out
# by hand from each notation's rule: e.g. for Gemma on the padded square, y first, thousandths:
# x = (0.180 x 3056 - 278) / 2500 = 0.1088.
VECTORS = [
    (
        "maira",
        "crop square floor",
        "<obj> Left pleural effusion. <box><x10><y62><x36><y88></box></obj>",
        [[0.105, 0.60226, 0.365, 0.81495]],
    ),
    (
        "chexagent",
        "squash 384",
        "<|ref|>effusion<|/ref|><|box|>(10,62),(36,88)<|/box|>",
        [[0.10, 0.62, 0.36, 0.88]],
    ),
    (
        "radvlm",
        "squash 384",
        "The effusion is located at [0.10, 0.62, 0.36, 0.88] and [0.55, 0.60, 0.80, 0.86].",
        [[0.10, 0.62, 0.36, 0.88], [0.55, 0.60, 0.80, 0.86]],
    ),
    (
        "gemma_json",
        "pad square, squash 896",
        'Final Answer: ```json [{"box_2d": [620, 180, 880, 395], "label": "effusion"}] ```',
        [[0.1088, 0.62, 0.37164, 0.88]],
    ),
    (
        "gemma_json",
        "squash 896",
        '```json\n[{"box_2d": [620, 180, 880, 395], "label": "effusion"}]\n```',
        [[0.18, 0.62, 0.395, 0.88]],
    ),
    (
        "qwen_px",
        "multiples 28 min 3136 max 1003520",  # 896 x 1092 for this film
        '```json\n[{"bbox_2d": [90, 680, 325, 965], "label": "effusion"}]\n```',
        [[90 / 896, 680 / 1092, 325 / 896, 965 / 1092]],
    ),
    (
        "qwen_1000",
        "multiples 32 min 3136 max 1003520",
        '[{"bbox_2d": [100, 620, 360, 880], "label": "effusion"}]',
        [[0.10, 0.62, 0.36, 0.88]],
    ),
    (
        "internvl",
        "squash 448",
        "<ref>effusion</ref><box>[[100, 620, 360, 880]]</box>",
        [[0.10, 0.62, 0.36, 0.88]],
    ),
    (
        "qwen_vl_v1",
        "squash 448",
        "<ref>effusion</ref><box>(100,620),(360,880)</box>",
        [[0.10, 0.62, 0.36, 0.88]],
    ),
    (
        "florence",
        "squash 768",
        "effusion<loc_100><loc_620><loc_360><loc_880>",
        [[0.1005, 0.6205, 0.3605, 0.8805]],
    ),
    (
        "paligemma",
        "squash 448",
        "<loc0634><loc0102><loc0901><loc0368> effusion",
        [[102 / 1024, 634 / 1024, 368 / 1024, 901 / 1024]],
    ),
    (
        "radgrounder",
        "squash 224",
        "<p bbox=<loc0051><loc0317><loc0184><loc0450> id=<seg042>>effusion</p>",
        [[51 / 512, 317 / 512, 184 / 512, 450 / 512]],
    ),
    (
        "kosmos",
        "squash 224",
        "<phrase> effusion</phrase><object><patch_index_0611><patch_index_0907></object>",
        [[0.109375, 0.609375, 0.359375, 0.890625]],
    ),
]


def frame(geometry: str = "squash 100", width: int = WIDTH, height: int = HEIGHT):
    return read_geometry(geometry).frame(width, height)


@pytest.mark.parametrize(("codec", "geometry", "answer", "expected"), VECTORS)
def test_published_notation_is_read_to_the_digit(codec, geometry, answer, expected):
    parsed = parse(codec, answer, frame(geometry))
    assert parsed.status == "ok", parsed.reason
    assert np.allclose(parsed.boxes, expected, atol=6e-5)
    assert (parsed.clipped, parsed.dropped) == (0, 0)


@pytest.mark.parametrize(("codec", "geometry", "answer", "expected"), VECTORS)
def test_what_is_written_is_read_back(codec, geometry, answer, expected):
    del answer
    place = frame(geometry)
    boxes = np.float32(expected)
    written = encode(codec, boxes, "effusion", place)
    parsed = parse(codec, written, place, phrase="effusion")
    assert parsed.status == "ok", (written, parsed.reason)
    # One unit of the coarsest notation: hundredths, and cells of 1/32 for Kosmos-2.
    assert np.abs(parsed.boxes - boxes).max() <= (0.017 if codec == "kosmos" else 0.0101)


@pytest.mark.parametrize("codec", [*CODECS, "json yxyx 1", "json xyxy px", "json xyxy 100"])
def test_several_boxes_survive_the_round_trip_in_order_of_x(codec):
    place = frame("longest 512, pad 512")
    boxes = np.float32([[0.55, 0.6, 0.8, 0.86], [0.1, 0.62, 0.36, 0.88]])
    parsed = parse(codec, encode(codec, boxes, "left effusion", place), place)
    assert parsed.status == "ok"
    assert np.abs(parsed.boxes - boxes[::-1]).max() <= 0.021


@pytest.mark.parametrize("codec", CODECS)
def test_nothing_to_show_is_written_as_an_explicit_none(codec):
    place = frame()
    written = encode(codec, np.zeros((0, 4), np.float32), "left effusion", place)
    parsed = parse(codec, written, place, phrase="left effusion")
    assert (parsed.status, len(parsed.boxes)) == ("empty", 0)


def test_maira_boxes_are_its_own_before_it_cuts_them_to_whole_pixels():
    """Its `adjust_box_for_original_image_size` gives 262, 1840, 912, 2490 for this film."""
    answer = "<obj> Left pleural effusion. <box><x10><y62><x36><y88></box></obj>"
    boxes = parse("maira", answer, frame("crop square floor")).boxes
    pixels = boxes.astype(np.float64) * [WIDTH, HEIGHT, WIDTH, HEIGHT]
    assert np.floor(pixels + 1e-3).tolist() == [[262, 1840, 912, 2490]]


def test_paligemma_joins_boxes_by_semicolons_and_writes_y_first():
    boxes = np.float32([[0.5, 0.25, 0.75, 0.5], [0.0, 0.5, 0.25, 1.0]])
    written = encode("paligemma", boxes, "effusion", frame("squash 448"))
    first, second = "<loc0512><loc0000><loc1023><loc0256>", "<loc0256><loc0512><loc0512><loc0768>"
    assert written == f"{first} effusion ; {second} effusion"


@pytest.mark.parametrize("key", ["bbox_2d", "box_2d", "bbox", "box", "boxes", "coordinates"])
@pytest.mark.parametrize("form", ["[%s]", "%s", "Here: %s", "```json\n[%s]\n```"])
def test_declared_json_is_read_under_any_usual_key_in_the_declared_scale_and_order(key, form):
    answer = form % f'{{"{key}": [62, 10, 88, 36], "label": "effusion"}}'
    parsed = parse("json yxyx 100", answer, frame())
    assert np.allclose(parsed.boxes, [[0.1, 0.62, 0.36, 0.88]]), parsed.reason
    bare = parse("json xyxy px", "[[250, 1894.72, 900, 2689.28]]", frame("squash 2500x3056"))
    assert np.allclose(bare.boxes, [[0.1, 0.62, 0.36, 0.88]])


def test_a_detectors_centre_and_size_become_corners():
    from baselines.hf_detector import corners

    assert np.allclose(corners(np.array([[0.23, 0.75, 0.26, 0.26]])), [[0.1, 0.62, 0.36, 0.88]])


def test_medgemma_may_answer_in_fractions():
    answer = 'Final Answer: [{"box_2d": [0.62, 0.18, 0.88, 0.395], "label": "effusion"}]'
    parsed = parse("gemma_json", answer, frame("squash 896"))
    assert np.allclose(parsed.boxes, [[0.18, 0.62, 0.395, 0.88]])


def test_qwen_1000_never_guesses_another_scale():
    # Fractions are a thousandth of what is meant; the model's scale is on its card, not guessed.
    parsed = parse("qwen_1000", '[{"bbox_2d": [0.1, 0.62, 0.36, 0.88]}]', frame())
    assert parsed.boxes.max() < 0.001


def test_spaces_and_several_boxes_in_one_answer():
    answer = (
        "<|ref|> effusion <|/ref|> <|box|> (10, 62), (36, 88) <|/box|> <|box|>(1,2),(3,4)<|/box|>"
    )
    parsed = parse("chexagent", answer, frame())
    assert np.allclose(parsed.boxes, [[0.1, 0.62, 0.36, 0.88], [0.01, 0.02, 0.03, 0.04]])
    answer = "<loc0634><loc0102><loc0901><loc0368> a ; <loc0000><loc0000><loc0512><loc0512> a"
    assert np.allclose(parse("paligemma", answer, frame()).boxes[1], [0, 0, 0.5, 0.5])


def test_kosmos_cells_in_one_row_or_column_reach_from_edge_to_edge():
    # Cells 0 and 3 of the first row: x 0 to 4/32, y 0 to 1/32.
    answer = "<object><patch_index_0000><patch_index_0003></object>"
    assert np.allclose(parse("kosmos", answer, frame()).boxes, [[0, 0, 4 / 32, 1 / 32]])
    answer = "<object><patch_index_0033><patch_index_0033></object>"
    assert np.allclose(parse("kosmos", answer, frame()).boxes, [[1 / 32, 1 / 32, 2 / 32, 2 / 32]])


def test_left_stays_left():
    """The patient's left is on the right of the film: x1 > 0.5 before and after every codec."""
    place = frame("longest 512, pad 512")
    left_lung = np.float32([[0.55, 0.2, 0.9, 0.7]])
    for codec in CODECS:
        back = parse(codec, encode(codec, left_lung, "left lung", place), place).boxes
        assert np.abs(back - left_lung).max() < 0.021, codec


def test_an_unknown_codec_is_an_error_with_the_nearest_name():
    with pytest.raises(BenchError, match=r"unknown box codec 'qwen_pix'\. Did you mean 'qwen_px'"):
        find_codec("qwen_pix")
    with pytest.raises(BenchError, match="unknown box codec 'json yxxy 100'"):
        find_codec("json yxxy 100")


@settings(max_examples=200, deadline=None)
@given(
    codec=st.sampled_from(sorted(CODECS)),
    corner=st.tuples(st.floats(0, 0.7), st.floats(0, 0.7)),
    extent=st.tuples(st.floats(0.06, 0.3), st.floats(0.06, 0.3)),
)
def test_any_box_survives_being_written_and_read(codec, corner, extent):
    place = frame("longest 512, pad 512")
    box = np.float32([[*corner, corner[0] + extent[0], corner[1] + extent[1]]])
    parsed = parse(codec, encode(codec, box, "left effusion", place), place)
    assert parsed.status == "ok"
    # Half a cell of Kosmos-2 at either side of a padded film, else one hundredth of it.
    bound = 1 / 32 if codec == "kosmos" else 0.01
    assert np.abs(parsed.boxes - box).max() <= bound * HEIGHT / WIDTH + 1e-6
