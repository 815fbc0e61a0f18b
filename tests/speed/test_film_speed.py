"""A film against its peer: marching the rays of one film through the soft solids alone."""

from time import process_time

import numpy as np
import pytest

from harness.phantom.anatomy import Changes, Posture, build_of, lung
from harness.phantom.film import render_study
from harness.phantom.plan import FindingPlan, PatientPlan, StudyPlan


def plan(index):
    patient = PatientPlan(index, "F", 50, 0.4, index)
    focus = FindingPlan("consolidation", "left", "lower", "moderate", 1, 0.6, index)
    return StudyPlan(index, patient, "mimic", ("PA",), (focus,), (), None, index)


def march(size=224, depths=64):
    """Two of a film's thirty solids, by sampling every ray."""
    build = build_of(plan(1).patient)
    solids = [lung(build, side, Posture(), Changes()) for side in ("left", "right")]
    z, x = np.meshgrid(np.linspace(130, -200, size), np.linspace(-180, 180, size), indexing="ij")
    inside = np.zeros_like(x)
    for loft in solids:
        a, b, at = (np.interp(z, loft.z, v) for v in (loft.a, loft.b, loft.x))
        for y in np.linspace(-110, 110, depths):
            inside += ((x - at) / a) ** 4 + (y / b) ** 4 < 1
    return inside


def seconds(call):
    start = process_time()
    call()
    return process_time() - start


@pytest.mark.speed
def test_a_film_costs_less_than_a_quarter_of_marching_two_solids():
    render_study(plan(0))
    film = min(seconds(lambda i=i: render_study(plan(i))) for i in range(1, 8))
    assert film < seconds(march) / 4
