"""Boxes cross the border once, and pixels or width-height are caught there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.boxes import (
    boxes_from_pixels,
    boxes_from_unit,
    boxes_from_xywh,
    no_boxes,
    to_pixels,
    to_xywh,
)


def test_fractions_pass_and_a_rounding_overshoot_is_clipped() -> None:
    boxes = boxes_from_unit([[-0.004, 0.2, 0.5, 1.004]])
    assert boxes.dtype == np.float32
    np.testing.assert_allclose(boxes, [[0, 0.2, 0.5, 1]])


def test_pixels_are_divided_by_width_and_height() -> None:
    # 10/100, 20/200, 50/100, 100/200
    np.testing.assert_allclose(
        boxes_from_pixels([[10, 20, 50, 100]], width=100, height=200), [[0.1, 0.1, 0.5, 0.5]]
    )


def test_width_and_height_are_added_to_the_corner() -> None:
    np.testing.assert_allclose(
        boxes_from_xywh([[10, 20, 40, 80]], width=100, height=200), [[0.1, 0.1, 0.5, 0.5]]
    )


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([12, 40, 300, 200], "pixels"),
        ([0.5, 0.5, 0.2, 0.9], "inverted"),
        ([0.2, 0.2, 0.2, 0.9], "no area"),
        ([0.1, float("nan"), 0.5, 0.9], "not finite"),
        ([1.001, 0.1, 1.009, 0.5], "no area"),
    ],
)
def test_a_box_of_the_wrong_kind_is_refused_with_its_value(row: list[float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        boxes_from_unit([row], "phrases.jsonl line 3")


def test_fractions_given_as_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="looks like fractions"):
        boxes_from_pixels([[0.1, 0.2, 0.5, 0.6]], width=512, height=512)


def test_xyxy_given_as_xywh_leaves_the_image_and_is_refused() -> None:
    with pytest.raises(ValueError, match="not xyxy in"):
        boxes_from_xywh([[300, 300, 480, 500]], width=512, height=512)


def test_a_negative_width_is_refused() -> None:
    with pytest.raises(ValueError, match="not positive"):
        boxes_from_xywh([[10, 10, -5, 5]], width=100, height=100)


def test_no_box_is_a_set_too_unless_one_is_required() -> None:
    assert boxes_from_unit([]).shape == no_boxes().shape == (0, 4)
    with pytest.raises(ValueError, match="at least one"):
        boxes_from_unit([], allow_empty=False)


@given(
    st.integers(16, 4000),
    st.integers(16, 4000),
    st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.05, 0.1), st.floats(0.05, 0.1)),
)
def test_pixels_there_and_back_are_the_same_box(
    width: int, height: int, box: tuple[float, float, float, float]
) -> None:
    x, y, w, h = box
    unit = boxes_from_unit([[x, y, x + w, y + h]])
    pixels = to_pixels(unit, width=width, height=height)
    if pixels.max() > 1:
        np.testing.assert_allclose(
            boxes_from_pixels(pixels, width=width, height=height), unit, atol=1e-6
        )
    xywh = to_xywh(unit, width=width, height=height)
    np.testing.assert_allclose(xywh[:, :2] + xywh[:, 2:], pixels[:, 2:], rtol=1e-6)
