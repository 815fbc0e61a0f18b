from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.metric import (
    Metric,
    class_columns,
    contributions,
    macro_mean,
    mean,
    ratio,
    value,
    value_of_rows,
    weighted_median,
)


@dataclass
class Given:
    rows: np.ndarray


def metric(reduce):
    return Metric("m", lambda outcomes: outcomes.rows, reduce, "A number.")


def test_a_row_with_nan_is_left_out():
    rows = np.array([[1.0], [np.nan], [4.0]])
    assert value(metric(mean), Given(rows)) == 2.5
    assert np.isnan(value(metric(mean), Given(rows[1:2])))


def test_a_ratio_is_of_sums_not_a_mean_of_ratios():
    assert value(metric(ratio), Given(np.array([[1.0, 1.0], [1.0, 3.0]]))) == 0.5


def test_a_ratio_of_nothing_is_not_a_number():
    assert np.isnan(value(metric(ratio), Given(np.zeros((2, 2)))))


def test_a_macro_mean_skips_classes_that_do_not_occur():
    rows = np.array([[1.0, 1, 0, 3], [0.5, 1, 1, 3], [0.0, 1, 1, 3]])  # value, 1, class, classes
    assert value(metric(macro_mean), Given(rows)) == (1 + 0.25) / 2


@given(
    values=st.lists(st.integers(0, 6), min_size=1, max_size=9),
    data=st.data(),
)
@settings(max_examples=80, deadline=None)
def test_a_weighted_median_is_the_median_of_repeated_values(values, data):
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(values), max_size=len(values)))
    rows = np.array(values, float)[:, None]
    found = weighted_median(rows, np.array([counts], float))[0]
    repeated = np.repeat(values, counts)
    assert np.isnan(found) if not len(repeated) else found == np.median(repeated)


@pytest.mark.parametrize("reduce", [mean, ratio, weighted_median])
def test_weights_of_one_give_the_value_itself(reduce):
    rows = np.random.default_rng(0).random((50, 2))
    assert reduce(rows, np.ones((1, 50)))[0] == pytest.approx(value_of_rows(metric(reduce), rows))


@pytest.mark.parametrize("reduce", [mean, ratio, weighted_median])
def test_the_order_of_outcomes_changes_no_bit(reduce):
    rows = np.random.default_rng(0).random((1000, 2))
    order = np.random.default_rng(1).permutation(1000)
    assert value_of_rows(metric(reduce), rows) == value_of_rows(metric(reduce), rows[order])


def test_a_contribution_that_is_infinite_or_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="1 contributions are infinite"):
        contributions(metric(mean), Given(np.array([[np.inf]])))
    with pytest.raises(ValueError, match=r"gave shape \(3,\)"):
        contributions(metric(mean), Given(np.zeros(3)))


def test_rows_of_nothing_have_no_class_and_no_column():
    assert class_columns(np.zeros((0, 4))).shape == (0, 0)
