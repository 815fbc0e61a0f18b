"""Heat maps: patches on the film, NaN where the model did not look."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from harness.heatmap import PatchMap, map_size


def project(grid, geometry: str, width: int, height: int, **options) -> np.ndarray:
    side = options.pop("side", 192)
    return PatchMap(np.float32(grid), geometry, width, height, **options).project(side)


def test_a_squashed_grid_covers_the_whole_film():
    shown = project([[1, 2], [3, 4]], "squash 64", 40, 80, interpolation="nearest")
    assert shown.shape == (80, 40)
    assert (shown[:40, :20] == 1).all()
    assert (shown[:40, 20:] == 2).all()
    assert (shown[40:, :20] == 3).all()
    assert (shown[40:, 20:] == 4).all()


def test_outside_a_crop_the_map_is_nan_and_inside_it_is_not():
    shown = project(np.ones((4, 4)), "shortest 100, crop 100", 100, 200, side=200)
    assert np.isnan(shown[:50]).all()
    assert np.isnan(shown[150:]).all()
    assert (shown[50:150] == 1).all()


def test_padding_is_left_off():
    # 100 x 50 in a square: the film is rows 25..75 of 100, which is grid rows 1 and 2 of 4.
    grid = np.repeat([[9.0], [1.0], [2.0], [9.0]], 4, axis=1)
    shown = project(grid, "longest 100, pad 100", 100, 50, interpolation="nearest")
    assert shown.shape == (50, 100)
    assert (shown[:25] == 1).all()
    assert (shown[25:] == 2).all()


def test_bilinear_interpolates_between_patch_centers():
    # Patch centres at 1/4 and 3/4; pixel centres at 1/8, 3/8, 5/8, 7/8.
    shown = project([[0, 1]], "squash 4x1", 4, 1)
    assert np.allclose(shown, [[0, 0.25, 0.75, 1]])


def test_a_peak_stays_in_its_place_through_every_geometry():
    width, height = 120, 150
    for geometry in ("squash 64", "shortest 64, crop 64", "longest 64, pad 64"):
        grid = np.zeros((16, 16))
        grid[5, 11] = 1
        shown = project(grid, geometry, width, height)
        row, column = np.unravel_index(np.nanargmax(shown), shown.shape)
        from harness.geometry import read_geometry

        center = [11.5 / 16, 5.5 / 16] * 2
        x, y = read_geometry(geometry).frame(width, height).to_film(center)[0, :2]
        assert abs((column + 0.5) / width - x) < 0.01
        assert abs((row + 0.5) / height - y) < 0.01


def test_smoothing_is_a_gaussian_on_the_patch_grid():
    grid = np.random.default_rng(0).normal(size=(7, 7))
    smooth = project(grid, "squash 7", 7, 7, sigma=1.5)
    assert np.allclose(smooth, gaussian_filter(grid, 1.5), atol=1e-6)


@given(width=st.integers(1, 900), height=st.integers(1, 900), side=st.integers(1, 300))
def test_a_map_has_the_aspect_of_the_film_and_is_never_larger(width, height, side):
    across, down = map_size(width, height, side)
    assert max(across, down) <= max(side, 1)
    assert across <= width
    assert down <= height


@given(value=st.floats(-1, 1), rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_a_constant_map_stays_constant(value, rows, columns):
    shown = project(np.full((rows, columns), value), "longest 32, pad 32", 61, 47, sigma=1.0)
    assert shown == pytest.approx(np.float32(value), abs=1e-6)
