"""The rendered study as its users see it: sides, truth, counterfactuals, determinism."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from harness.phantom import project
from harness.phantom.film import mirrored, render_study
from harness.phantom.markers import markers_path, shutter_of
from harness.phantom.technique import RANGES, camera_of, exposure_of

_spec = spec_from_file_location("film_plans", Path(__file__).with_name("film_plans.py"))
plans = module_from_spec(_spec)
_spec.loader.exec_module(plans)
finding, study = plans.finding, plans.study


def halves(pixels):
    """Mean of the lower part of the left and right half of the image."""
    low = pixels[len(pixels) // 3 : 3 * len(pixels) // 4].astype(float)
    middle = low.shape[1] // 2
    return low[:, :middle].mean(), low[:, middle:].mean()


@pytest.mark.parametrize("rendering", ["mimic", "padchest"])
def test_a_left_effusion_brightens_the_right_half_of_the_image(rendering):
    plan = study(1, [finding("pleural_effusion", "left", size="large")], rendering=rendering)
    (film,), (healthy,) = render_study(plan, 128), render_study(plan, 128, without=[0])
    left, right = halves(film.pixels)
    left_before, right_before = halves(healthy.pixels)
    assert right - right_before > 0.06 * np.ptp(film.pixels)
    assert right - right_before > 2 * abs(left - left_before)
    assert film.findings[0].exact[0, 0] > 0.45


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_a_right_sided_focus_is_boxed_left_in_the_image_in_both_frontal_views(view):
    plan = study(2, [finding("mass", "right", "mid", size="large")], views=(view,))
    (film,) = render_study(plan, 128)
    assert film.findings[0].exact[0, 2] < 0.55


def test_frontal_and_lateral_films_show_a_focus_at_the_same_height():
    for index in range(4):
        focus = finding("mass", "left", ("upper", "lower")[index % 2], size="moderate", seed=index)
        plan = study(index + 3, [focus], views=("PA", "LATERAL"))
        frontal, lateral = render_study(plan, 160)
        rows = []
        for film in (frontal, lateral):
            scene = project.build_of(plan.patient)
            camera = camera_of(plan, film.view, scene, 160)
            box = film.findings[0].exact[0]
            row = (box[1] + box[3]) / 2
            rows.append(float(camera.rows[int(row * 159), 0]))
        assert abs(rows[0] - rows[1]) < 22  # mm; breath and magnification differ


@pytest.mark.parametrize("name", plans.NAMES)
@pytest.mark.parametrize("rendering", ["mimic", "padchest"])
def test_every_finding_is_drawn_in_every_view_and_rendering(name, rendering):
    one = finding(name, "left", "lower" if name == "rib_fracture" else "", size="large")
    plan = study(9, [one], views=("PA", "AP", "LATERAL"), rendering=rendering)
    films = render_study(plan, 96)
    bits, dtype = (255, np.uint8) if rendering == "mimic" else (4095, np.uint16)
    for film in films:
        assert film.pixels.shape == (96, 96)
        assert film.pixels.dtype == dtype
        assert film.pixels.min() == 0
        assert 0.9 * bits < film.pixels.max() <= bits
    assert films[0].findings[0].visible
    assert films[0].findings[0].plan is one


@pytest.mark.parametrize("name", ["nodule", "consolidation", "mass"])
def test_the_box_hulls_the_difference_between_the_films_with_and_without(name):
    plan = study(11, [finding(name, "right", "mid", size="large")], rendering="padchest")
    (film,), (healthy,) = render_study(plan), render_study(plan, without=[0])
    change = np.abs(film.pixels.astype(float) - healthy.pixels)
    change = gaussian_filter(change, 1.5)
    rows, columns = np.nonzero(change > 0.25 * change.max())
    hull = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 224
    boxes = film.findings[0].exact
    union = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    assert (union[:2] <= hull[:2] + 0.02).all()
    assert (union[2:] >= hull[2:] - 0.02).all()
    assert (np.abs(union - hull) < 0.12).all()


def test_removing_a_finding_changes_nothing_far_from_it_but_a_little_scatter():
    plan = study(12, [finding("nodule", "left", "upper", size="large")], rendering="padchest")
    (film,), (healthy,) = render_study(plan), render_study(plan, without=[0])
    change = np.abs(film.pixels.astype(float) - healthy.pixels)
    x1, y1, x2, y2 = (film.findings[0].exact[0] * 224).astype(int)
    near = np.zeros_like(change, bool)
    near[max(0, y1 - 25) : y2 + 25, max(0, x1 - 25) : x2 + 25] = True
    assert change[near].max() > 100
    assert change[~near].max() < 0.1 * change[near].max()


def test_adding_a_finding_moves_no_other_box_and_no_nuisance():
    first = finding("nodule", "right", "upper", size="large")
    other = finding("consolidation", "left", "lower", seed=9)
    alone, both = study(13, [first]), study(13, [first, other])
    exact = render_study(alone)[0].findings[0].exact
    np.testing.assert_array_equal(exact, render_study(both)[0].findings[0].exact)
    assert exposure_of(alone, "PA") == exposure_of(both, "PA")
    camera = camera_of(both, "PA", project.build_of(both.patient), 96)
    assert camera == camera_of(alone, "PA", project.build_of(alone.patient), 96)
    np.testing.assert_array_equal(
        markers_path(alone, "PA", camera), markers_path(both, "PA", camera)
    )
    np.testing.assert_array_equal(shutter_of(alone, "PA", camera), shutter_of(both, "PA", camera))


def test_without_gives_the_film_of_the_plan_that_never_had_the_finding():
    one, two = finding("mass", "left", "mid"), finding("pleural_effusion", "right")
    left_out = render_study(study(14, [one, two]), 96, without=[0])[0]
    never = render_study(study(14, [two]), 96)[0]
    np.testing.assert_array_equal(left_out.pixels, never.pixels)
    assert [f.plan for f in left_out.findings] == [two]


def digest(plan):
    hashed = hashlib.sha256()
    for film in render_study(plan, 96):
        hashed.update(film.pixels.tobytes())
        for one in film.findings:
            hashed.update(one.exact.tobytes() + one.reader_1.tobytes() + one.region.tobytes())
    return hashed.hexdigest()


def test_bytes_depend_on_the_plan_alone_not_on_what_was_drawn_before():
    plan = study(15, [finding("edema", "both")], views=("AP", "LATERAL"), devices=["ett"])
    first = digest(plan)
    render_study(study(16, [finding("mass")]), 64)
    project._trunk.cache_clear()
    project._tree.cache_clear()
    assert digest(plan) == first


def test_bytes_are_the_same_in_another_process_with_more_threads():
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import hashlib\nfrom film_plans import study, finding\n"
        "from harness.phantom.film import render_study\n"
        "plan = study(17, [finding('consolidation', 'left', 'lower')])\n"
        "print(hashlib.sha256(render_study(plan, 96)[0].pixels.tobytes()).hexdigest())\n"
    )
    root = Path(__file__).parents[3]
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={"OMP_NUM_THREADS": "2", "PYTHONPATH": str(root), "PYTHONHASHSEED": "5"},
    ).stdout.strip()
    film = render_study(study(17, [finding("consolidation", "left", "lower")]), 96)[0]
    assert out == hashlib.sha256(film.pixels.tobytes()).hexdigest()


def test_boxes_hardly_depend_on_the_size_of_the_film():
    plan = study(18, [finding("mass", "left", "upper", size="large")])
    small, large = (render_study(plan, size)[0].findings[0].exact for size in (224, 448))
    assert np.abs(small - large).max() < 0.03


def test_a_mirrored_film_exchanges_sides_and_keeps_heights():
    plan = study(19, [finding("consolidation", "left", "lower")])
    (film,) = render_study(plan, 96, markers=False)
    other = mirrored(film)
    np.testing.assert_array_equal(other.pixels[:, ::-1], film.pixels)
    box, flipped = film.findings[0].exact[0], other.findings[0].exact[0]
    np.testing.assert_allclose(flipped, [1 - box[2], box[1], 1 - box[0], box[3]], atol=1e-6)
    assert other.findings[0].plan.side == "right"
    np.testing.assert_array_equal(mirrored(other).pixels, film.pixels)


def test_a_film_without_markers_has_no_letter_and_the_same_patient():
    plan = study(20, rendering="padchest")
    camera = camera_of(plan, "PA", project.build_of(plan.patient), 128)
    letter = markers_path(plan, "PA", camera) > 50
    assert letter.any()
    (marked,), (bare,) = render_study(plan, 128), render_study(plan, 128, markers=False)
    assert (marked.pixels[letter].mean() - bare.pixels[letter].mean()) > 200
    assert np.median(np.abs(marked.pixels[~letter].astype(float) - bare.pixels[~letter])) < 60


def test_padchest_lies_outside_the_mimic_ranges_in_at_least_four_factors():
    apart = [
        name
        for name, (low, high) in RANGES["mimic"].items()
        if RANGES["padchest"][name][0] > high or RANGES["padchest"][name][1] < low
    ]
    assert len(apart) >= 4
    assert {"scatter", "grain", "toe", "coarse"} <= set(apart)
    mimic = [exposure_of(study(i), "AP").scatter for i in range(40)]
    padchest = [exposure_of(study(i, rendering="padchest"), "PA").scatter for i in range(40)]
    assert max(mimic) < min(padchest)


def test_a_port_on_the_left_is_bright_on_the_right_of_the_image():
    bare, port = (
        study(21, rendering="padchest"),
        study(21, rendering="padchest", devices=["port left"]),
    )
    change = render_study(port, 128)[0].pixels.astype(float) - render_study(bare, 128)[0].pixels
    rows, columns = np.nonzero(change > 0.5 * change.max())
    assert columns.mean() > 64
    assert rows.mean() < 70


def test_an_unknown_finding_or_device_is_refused_by_name():
    with pytest.raises(ValueError, match="'scurvy'"):
        render_study(study(22, [finding("scurvy")]), 64)
    with pytest.raises(ValueError, match="'halo left'"):
        render_study(study(22, devices=["halo left"]), 64)


def test_two_studies_of_a_patient_share_the_anatomy_but_not_the_noise():
    first = study(23)
    second = replace(first, seed=first.seed + 1)
    assert project.build_of(first.patient) is project.build_of(second.patient)
    a, b = (render_study(p, 96)[0].pixels.astype(float) for p in (first, second))
    assert (a != b).any()
    stranger = render_study(study(24), 96)[0].pixels.astype(float)
    close = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    assert close > 0.75
    assert close > np.corrcoef(a.ravel(), stranger.ravel())[0, 1] - 0.15
