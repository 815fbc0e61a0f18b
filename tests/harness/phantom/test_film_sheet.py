"""Contact sheets."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np

from harness.phantom.film import render_study
from harness.phantom.sheet import caption_of, contact_sheet, eight_bit

_spec = spec_from_file_location("film_plans", Path(__file__).with_name("film_plans.py"))
plans = module_from_spec(_spec)
_spec.loader.exec_module(plans)


def test_a_sheet_has_a_cell_per_film_and_colored_boxes_only_if_asked():
    plan = plans.study(1, [plans.finding("mass", size="large")], views=("PA", "LATERAL"))
    boxed = contact_sheet([plan, plan], columns=3, width=96, size=96)
    assert boxed.size[0] == 288
    assert boxed.size[1] % 2 == 0
    bare = np.asarray(contact_sheet([plan], columns=2, width=96, size=96, boxes=()))[:96]
    assert np.ptp(bare.astype(int), axis=2).max() == 0
    assert np.ptp(np.asarray(boxed)[:96].astype(int), axis=2).max() > 100


def test_sixteen_bits_are_windowed_for_the_eye():
    pixels = np.linspace(1000, 3000, 10_000).astype(np.uint16).reshape(100, 100)
    shown = eight_bit(pixels)
    assert shown.dtype == np.uint8
    assert shown.min() == 0
    assert shown.max() == 255
    same = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert eight_bit(same) is same


def test_a_caption_says_what_is_there_and_whether_it_shows():
    plan = plans.study(2, [plans.finding("mass", "left", "mid", size="large", severity=1.0)])
    lines = caption_of(render_study(plan, 96)[0])
    assert lines[0] == "PA"
    assert lines[1].startswith("large left mid mass ")
    assert "not visible" not in lines[1]


def test_no_plans_give_an_empty_sheet():
    assert contact_sheet([], width=50).size == (50, 50)
