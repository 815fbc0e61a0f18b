"""Boxes as text: worked examples, round trips, and everything that is malformed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.boxes import no_boxes
from lofi.location import (
    box_list,
    boxes_answer,
    description_prompt,
    grounding_prompt,
    parse_boxes,
)
from lofi.picture import PaddedFrame, to_input, to_square


def box() -> st.SearchStrategy[list[float]]:
    corner = st.tuples(st.integers(0, 990), st.integers(0, 990))
    size = st.tuples(st.integers(1, 1000), st.integers(1, 1000))
    return st.builds(
        lambda a, s: [
            a[0] / 1000,
            a[1] / 1000,
            min(a[0] + s[0], 1000) / 1000,
            min(a[1] + s[1], 1000) / 1000,
        ],
        corner,
        size,
    )


@given(st.lists(box(), min_size=1, max_size=6))
def test_boxes_on_the_grid_come_back_as_they_were(rows):
    boxes = np.float32(rows)
    parsed = parse_boxes(boxes_answer(boxes))
    assert parsed.status == "ok"
    key = np.lexsort(np.round(boxes * 1000).T[::-1])
    assert np.abs(parsed.boxes - boxes[key]).max() < 1e-6


@given(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), max_size=5))
def test_any_box_with_area_survives_within_one_thousandth(rows):
    kept = [r for r in rows if r[2] - r[0] > 1e-6 and r[3] - r[1] > 1e-6]
    boxes = np.float32(kept).reshape(-1, 4)
    parsed = parse_boxes(boxes_answer(boxes))
    assert parsed.status == ("ok" if kept else "empty")
    assert len(parsed.boxes) == len(boxes)
    if kept:
        # Each box has one within a step of the grid (a box thinner than a step is widened to it).
        gap = np.abs(parsed.boxes[:, None] - boxes[None]).max(-1)
        assert gap.min(0).max() <= 1 / 1000 + 1e-4


def test_coordinates_are_floored_as_in_the_released_code():
    assert box_list(np.float32([[0.1239, 0.29, 0.5, 1.0]])) == "[[123,290,500,1000]]"


def test_boxes_are_sorted_by_their_left_edge():
    boxes = np.float32([[0.5, 0, 0.6, 1], [0.1, 0.3, 0.2, 1]])
    assert box_list(boxes) == "[[100,300,200,1000],[500,0,600,1000]]"


def test_prompts_read_as_in_the_released_code():
    assert grounding_prompt("Left effusion.") == 'Detect all instances of "Left effusion".'
    assert grounding_prompt("Left effusion") == 'Detect all instances of "Left effusion".'
    assert (
        description_prompt(np.float32([[0, 0, 0.5, 1]])) == "Describe the regions: [[0,0,500,1000]]"
    )


def test_an_empty_list_is_an_explicit_none():
    assert boxes_answer(no_boxes()) == "```\n[]\n```"
    assert parse_boxes("```\n[]\n```").status == "empty"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no finding",
        "```\n[[1,2,3,4]",  # cut off
        "```\n[[1,2,3]]\n```",
        "```\n[[1,2,3,4,5]]\n```",
        "```\n[[10,2,3,4]]\n```",  # x2 < x1
        "```\n[[1,2,1,4]]\n```",  # no width
        "```\n[[1,2,3,4],[5,5,5,9]]\n```",  # one bad box spoils the answer
        "```\n[[1,2,3,1001]]\n```",
        "```\n[[0.1,0.2,0.3,0.4]]\n```",
        "```\n[[1,2,3,4]] and [[5,6,7,8]]\n```",
        "[1,2,3,4]",
        "[[-1,2,3,4]]",
        "[[1,2,3,4],]",
    ],
)
def test_what_cannot_be_read_is_malformed_and_gives_no_box(answer):
    parsed = parse_boxes(answer)
    assert parsed.status == "malformed"
    assert len(parsed.boxes) == 0


@given(st.integers(1, 3000), st.integers(1, 3000), st.lists(box(), min_size=1, max_size=3))
def test_the_padded_square_is_inverted_exactly(width, height, rows):
    frame = PaddedFrame(width, height, 112)
    boxes = np.float32(rows)
    back = frame.to_picture(frame.to_square(boxes))
    assert back == pytest.approx(boxes, abs=1e-4)


def test_a_wide_picture_is_centered_with_black_above_and_below():
    pixels = np.full((50, 100), 200, np.uint8)
    square = to_square(pixels, 20)
    assert (square[5:15] == 200).all()
    assert (square[:5] == 0).all()
    assert (square[15:] == 0).all()
    # 20 pixels high, the picture fills 5..15: its whole is [0, 1/4, 1, 3/4] of the square.
    whole = PaddedFrame(100, 50, 20).to_square(np.float32([[0, 0, 1, 1]]))
    assert whole.tolist() == [[0, 0.25, 1, 0.75]]


def test_what_lies_on_the_padding_alone_is_no_box_of_the_picture():
    assert len(PaddedFrame(100, 50, 20).to_picture(np.float32([[0, 0, 1, 0.2]]))) == 0


def test_left_stays_left():
    pixels = np.zeros((64, 64), np.uint8)
    pixels[:, :16] = 255  # bright on the picture's left
    square = to_square(pixels, 32)
    assert square[:, :7].min() > 200
    assert square[:, 9:].max() < 50


def test_grey_values_are_scaled_to_minus_one_and_one():
    assert to_input(np.uint8([[[0, 255]]])).tolist() == [[[-1.0, 1.0]]]
