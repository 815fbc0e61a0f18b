"""Shadows of solids against geometry, and the detector against formulas."""

import numpy as np
import pytest

from harness.phantom.detector import equalize, expose, smooth, through
from harness.phantom.solids import Camera, Cloud, Span, blob, ellipsoid, hull, overlap, span, splat
from harness.phantom.streams import stream
from harness.phantom.technique import RANGES, Exposure
from harness.phantom.tubes import wire

FAR = 1e7  # source so far away that nothing is magnified


def camera(angle=0.0, size=200, distance=FAR, facing=1):
    return Camera(size, 400.0, angle, facing, distance, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 2])
def test_the_shadow_of_an_ellipsoid_holds_its_volume(angle):
    half = span(ellipsoid((10, -20, 15), (50, 30, 40)), camera(angle)).half
    volume = float(2 * half.sum()) * 2.0**2
    assert volume == pytest.approx(4 / 3 * np.pi * 50 * 30 * 40, rel=0.01)


def test_the_longest_chord_of_an_ellipsoid_is_its_axis_along_the_ray():
    solid = ellipsoid((0, 0, 0), (50, 30, 40))
    assert span(solid, camera(0.0)).half.max() == pytest.approx(30, rel=0.01)
    assert span(solid, camera(np.pi / 2)).half.max() == pytest.approx(50, rel=0.01)


def test_the_patients_left_is_right_in_the_image_and_the_front_is_left_in_a_lateral():
    left = span(ellipsoid((60, 0, 0), (20, 20, 20)), camera(0.0)).half
    front = span(ellipsoid((0, 60, 0), (20, 20, 20)), camera(np.pi / 2)).half
    assert np.nonzero(left.any(axis=0))[0].mean() > 100
    assert np.nonzero(front.any(axis=0))[0].mean() < 100
    high = span(ellipsoid((0, 0, 60), (20, 20, 20)), camera()).half
    assert np.nonzero(high.any(axis=1))[0].mean() < 100


def test_an_anterior_solid_is_magnified_more_where_the_film_is_behind_the_patient():
    solid = ellipsoid((0, 60, 0), (30, 30, 30))
    posterior = Camera(200, 400.0, 0.0, 1, 1800.0, 150.0, 0.0, 0.0)
    anterior = Camera(200, 400.0, 0.0, -1, 1150.0, 150.0, 0.0, 0.0)
    widths = [np.count_nonzero(span(solid, c).half.any(axis=0)) for c in (posterior, anterior)]
    assert widths[1] > 1.1 * widths[0]


def test_a_span_agrees_with_a_ray_march_through_the_solid():
    solid, view = ellipsoid((12, -8, 5), (40, 25, 30), (0.3, -0.2)), camera(0.5, size=40)
    chord = 2 * span(solid, view).half
    u, z = np.meshgrid(view.columns[0], view.rows[:, 0])
    total = np.zeros_like(u)
    for v in np.arange(-150, 150, 0.5):
        x, y = u * np.cos(0.5) + v * np.sin(0.5), -u * np.sin(0.5) + v * np.cos(0.5)
        dz = z - 5
        x, y = x - 12 - 0.3 * dz, y + 8 + 0.2 * dz
        total += 0.5 * ((x / 40) ** 2 + (y / 25) ** 2 + (dz / 30) ** 2 < 1)
    assert np.abs(total - chord).max() < 4.5
    assert np.abs(total - chord).mean() < 0.2


def test_a_cloud_keeps_its_mass_and_a_blob_its_integral():
    cloud = wire(np.array([[-40.0, 0, 0], [30, 20, 50]]), 4.0, 2.0)
    assert splat(cloud, camera()).sum() * 4 == pytest.approx(cloud.mass.sum(), rel=1e-3)
    gauss = blob(np.array([5.0, 10, -10]), (12, 18, 9), camera(0.7))
    assert gauss.sum() * 4 == pytest.approx((2 * np.pi) ** 1.5 * 12 * 18 * 9, rel=0.01)


def test_points_beside_the_film_leave_no_trace():
    cloud = Cloud(np.float32([[5000, 0, 0], [0, 0, -5000]]), np.float32([1, 1]))
    assert splat(cloud, camera()).sum() == 0


def test_overlap_and_hull_of_two_intervals_worked_by_hand():
    def interval(low, high):
        return Span(np.float32([[(low + high) / 2]]), np.float32([[(high - low) / 2]]))

    a, b, nothing = interval(0, 10), interval(6, 20), interval(50, 50)
    assert overlap(a, b)[0, 0] == pytest.approx(4)
    both = hull([a, b, nothing])
    assert both.near[0, 0] == pytest.approx(0)
    assert both.far[0, 0] == pytest.approx(20)


def exposure(**changes):
    middle = {name: sum(bounds) / 2 for name, bounds in RANGES["mimic"].items()}
    return Exposure(**{**middle, **changes})


def test_transmission_follows_beer_and_lambert():
    setting = exposure(attenuation=0.02)
    path = np.float32([[0.0, 50.0, 100.0]])
    np.testing.assert_allclose(through(path, setting), np.exp([[0, -1, -2]]), rtol=1e-6)


def test_scatter_lowers_contrast_and_more_dose_lowers_noise():
    path = np.full((80, 80), 100.0, np.float32)
    path[30:50, 30:50] = 140
    air = np.zeros_like(path)

    def contrast(**changes):
        log = expose(path, air, camera(size=80), exposure(**changes)).log
        return float(log[40, 40] - log[10, 10])

    assert contrast(scatter=0.0) == pytest.approx(40 * exposure().attenuation, rel=0.05)
    assert contrast(scatter=0.6) < 0.8 * contrast(scatter=0.0)
    few, many = (
        expose(path, air, camera(size=80), exposure(dose=dose)).sigma.mean() for dose in (5, 20)
    )
    assert few == pytest.approx(2 * many, rel=0.01)


def test_equalization_is_the_published_formula():
    pixels = np.array([[0, 0, 10], [10, 20, 200]], np.uint8)
    # counts 2, 2, 1, 1: cumulative 2, 4, 5, 6, less the first, over 6 - 2
    np.testing.assert_array_equal(equalize(pixels), [[0, 0, 128], [128, 191, 255]])
    flat = np.full((3, 3), 7, np.uint8)
    assert equalize(flat).max() == 0


def test_a_wide_blur_on_the_coarse_grid_agrees_with_the_fine_one():
    from scipy.ndimage import gaussian_filter

    plane = np.zeros((120, 120), np.float32)
    plane[40:70, 50:90] = 1
    assert np.abs(smooth(plane, 20.0) - gaussian_filter(plane, 20.0, mode="nearest")).max() < 0.03


def test_a_stream_depends_on_its_purpose_and_seed_only():
    assert stream(3, "noise", "PA").random() == stream(3, "noise", "PA").random()
    draws = {stream(s, p).random() for s in (3, 4) for p in ("noise", "exposure", "markers")}
    assert len(draws) == 6
