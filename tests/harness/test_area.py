"""Resizing by area: means weighted by overlap, as OpenCV computes them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.area import resize_by_area
from harness.geometry import read_geometry
from harness.images import Picture


def test_a_new_pixel_is_the_mean_of_what_lies_under_it() -> None:
    # Three pixels become two of 1.5: (0 + 30 / 2) / 1.5 = 10 and (30 / 2 + 60) / 1.5 = 50.
    row = np.uint8([[0, 30, 60]])
    assert resize_by_area(row, (2, 1), (3, 1)).tolist() == [[10, 50]]
    assert resize_by_area(row.T, (1, 2), (1, 3)).tolist() == [[10], [50]]


def test_only_the_extent_counts() -> None:
    """The last column of a reduced JPEG is filled by half: 2.5 of its 3 pixels are the film."""
    row = np.uint8([[0, 50, 100]])
    # Two of 1.25: (0 + 50 / 4) / 1.25 = 10, (50 x 0.75 + 100 / 2) / 1.25 = 70.
    assert resize_by_area(row, (2, 1), (2.5, 1.0)).tolist() == [[10, 70]]


@settings(max_examples=60, deadline=None)
@given(
    have=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    share=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    seed=st.integers(0, 99),
)
def test_it_equals_sums_over_overlaps(
    have: tuple[int, int], share: tuple[float, float], seed: int
) -> None:
    def overlaps(old: int, new: int) -> np.ndarray:
        edges = np.arange(new + 1) * old / new
        right = np.minimum(edges[1:, None], np.arange(old) + 1)
        return np.clip(right - np.maximum(edges[:-1, None], np.arange(old)), 0, None) * new / old

    height, width = have
    rows, columns = (max(1, round(side * part)) for side, part in zip(have, share, strict=True))
    pixels = np.random.default_rng(seed).integers(0, 256, have).astype(np.uint8)
    exact = overlaps(height, rows) @ pixels @ overlaps(width, columns).T
    found = resize_by_area(pixels, (columns, rows), (width, height))
    assert found.shape == (rows, columns)
    assert np.abs(found - exact).max() <= 0.5 + 1e-6


def test_a_picture_that_grows_is_interpolated() -> None:
    grown = resize_by_area(np.uint8([[0, 100]]), (4, 1), (2, 1))
    assert grown.tolist() == [[0, 25, 75, 100]]


def test_a_geometry_names_it() -> None:
    geometry = read_geometry("longest 2 floor area, pad 2")
    assert str(geometry) == "longest 2 floor area, pad 2"
    picture = Picture(np.uint8([[0, 30, 60]] * 3), 3, 3)
    assert geometry.frame(3, 3).pixels(picture).tolist() == [[10, 50]] * 2


def test_it_equals_opencv() -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 201)).astype(np.uint8)
    theirs = cv2.resize(pixels, (67, 97), interpolation=cv2.INTER_AREA)
    apart = np.abs(resize_by_area(pixels, (67, 97), (201, 300)) - theirs.astype(int))
    # It sums in float32, so a mean half-way between two values may be rounded the other way.
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01
