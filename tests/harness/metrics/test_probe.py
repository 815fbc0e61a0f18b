import numpy as np
import pytest

from harness.metrics.metric import value
from harness.metrics.probe import PROBE_METRICS, probe_outcomes


def outcomes(**columns):
    given = {
        "patients": ["a", "b", "c", "d"],
        "change": ["side", "side", "zone", "mirror"],
        "true_score": [2.0, 1.0, 1.0, 5.0],
        "false_score": [1.0, 1.0, 2.0, 4.0],
    }
    return probe_outcomes(**{**given, **columns})


def test_a_tie_is_no_choice_and_wrong():
    found = outcomes()
    assert value(PROBE_METRICS["accuracy"], found) == 0.5
    assert value(PROBE_METRICS["accuracy/side"], found) == 0.5
    assert value(PROBE_METRICS["accuracy/zone"], found) == 0
    assert value(PROBE_METRICS["accuracy/mirror"], found) == 1
    assert value(PROBE_METRICS["tied"], found) == 0.25


def test_a_change_that_was_not_probed_is_not_scored():
    assert np.isnan(value(PROBE_METRICS["accuracy/negation"], outcomes()))


def test_a_score_of_nan_is_refused_with_side_and_number():
    with pytest.raises(ValueError, match="1 values of false_score are NaN"):
        outcomes(false_score=[1.0, 2.0, np.nan, 3.0])


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="columns of length"):
        outcomes(true_score=[1.0])
