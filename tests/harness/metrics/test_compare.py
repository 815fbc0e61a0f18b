import numpy as np
import pytest
from scipy import stats

from harness.metrics.compare import (
    align,
    check_same_data,
    holm,
    mcnemar,
    paired_difference,
    permutation_p,
    rank_ranges,
    smallest_detectable,
)
from harness.metrics.metric import Metric, mean, ratio, value_of_rows, weighted_median


def metric(reduce=mean):
    return Metric("m", lambda outcomes: outcomes.rows, reduce, "A number.")


def pair(patients=40, per_patient=3, gain=0.1, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(patients), per_patient)
    level = rng.random(patients)[codes]
    b = rng.random(len(codes)) < 0.3 + 0.4 * level
    a = b | (rng.random(len(codes)) < gain)
    return (a[:, None].astype(float), b[:, None].astype(float)), codes


def test_the_difference_and_its_interval_are_of_the_same_patients():
    rows, codes = pair()
    found = paired_difference(metric(), rows, codes, draws=2000)
    per_patient = (rows[0] - rows[1]).reshape(40, 3).mean(axis=1)
    assert found.value == pytest.approx(per_patient.mean())
    half = 1.96 * per_patient.std() / np.sqrt(40)
    assert found.low == pytest.approx(found.value - half, abs=0.15 * half)
    assert found.high == pytest.approx(found.value + half, abs=0.15 * half)
    assert found.excludes_zero
    assert found.detectable == pytest.approx(2.8 * half / 1.96, rel=0.1)


def test_a_model_against_itself_differs_by_nothing():
    (a, _), codes = pair()
    found = paired_difference(metric(), (a, a), codes, permutations=500)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert not found.excludes_zero


def test_swapping_the_models_flips_the_sign_and_keeps_p():
    rows, codes = pair()
    one = paired_difference(metric(), rows, codes, permutations=1000)
    other = paired_difference(metric(), rows[::-1], codes, permutations=1000)
    assert (one.value, one.low, one.p) == (-other.value, -other.high, other.p)


def test_below_twenty_patients_there_is_no_interval():
    rows, codes = pair(patients=19)
    assert paired_difference(metric(), rows, codes).low is None


def test_a_ratio_that_nothing_can_be_said_of_has_neither_interval_nor_small_p():
    """As the precision of two models that never name a finding: 0 / 0 in every draw."""
    metric = Metric("m", lambda rows: rows, ratio, "")
    rows = np.zeros((30, 2))
    found = paired_difference(metric, (rows, rows), np.arange(30), draws=50, permutations=99)
    assert np.isnan(found.value)
    assert (found.low, found.high, found.detectable) == (None, None, None)
    assert found.p == 1


def test_outcomes_that_one_model_was_not_scored_on_leave_the_comparison():
    (a, b), codes = pair()
    a[:6] = np.nan
    assert paired_difference(metric(), (a, b), codes).n == len(codes) - 6


@pytest.mark.parametrize("reduce", [mean, ratio, weighted_median])
def test_permutation_p_equals_all_swaps_of_a_small_set(reduce):
    rng = np.random.default_rng(1)
    codes = np.array([0, 0, 1, 2, 3, 4, 5])
    a, b = rng.random((7, 2)) + 0.3, rng.random((7, 2))
    m = metric(reduce)
    observed = abs(value_of_rows(m, a) - value_of_rows(m, b))
    extreme = 0
    for bits in range(64):
        swap = np.array([bits >> c & 1 for c in codes], bool)[:, None]
        one, two = np.where(swap, b, a), np.where(swap, a, b)
        extreme += abs(value_of_rows(m, one) - value_of_rows(m, two)) >= observed - 1e-12
    found = permutation_p(m, (a, b), codes, draws=20_000)
    assert found == pytest.approx(extreme / 64, abs=0.012)


def test_permutation_of_single_outcomes_agrees_with_scipy():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.3, 1, 60), rng.normal(0, 1, 60)
    theirs = stats.permutation_test(
        (a, b), lambda x, y: x.mean() - y.mean(), permutation_type="samples", n_resamples=20_000,
        rng=np.random.default_rng(0),
    ).pvalue  # fmt: skip
    ours = permutation_p(metric(), (a[:, None], b[:, None]), np.arange(60), draws=20_000)
    assert ours == pytest.approx(theirs, abs=0.02)


def test_p_is_never_zero():
    a, b = np.ones((50, 1)), np.zeros((50, 1))
    assert permutation_p(metric(), (a, b), np.arange(50), draws=999) == 1 / 1000


def test_outcomes_of_a_patient_are_swapped_together():
    # One patient with a hundred outcomes is one swap: |difference| never changes, p is 1.
    a, b = np.ones((100, 1)), np.zeros((100, 1))
    assert permutation_p(metric(), (a, b), np.zeros(100, int), draws=200) == 1


def test_permutation_under_the_null_is_uniform():
    rng = np.random.default_rng(3)
    p = []
    for _ in range(200):
        rows = rng.normal(size=(30, 1)), rng.normal(size=(30, 1))
        p.append(permutation_p(metric(), rows, np.arange(30), draws=199))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_holm_equals_the_textbook():
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}, draws=1000)
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})


def test_holm_refuses_too_few_draws_for_its_family():
    with pytest.raises(ValueError, match="299 permutations for a family of 3; needed are 300"):
        holm({"a": 0.1, "b": 0.2, "c": 0.3}, draws=299)


def test_mcnemar_is_the_binomial_test_of_the_flips():
    a = np.array([1, 1, 1, 1, 1, 0, 1, 0], bool)
    b = np.array([0, 0, 0, 0, 0, 1, 1, 0], bool)
    found = mcnemar(a, b, np.arange(8))
    assert (found.only_a, found.only_b, found.clustered) == (5, 1, False)
    assert found.p == pytest.approx(2 * (1 + 6) / 2**6)
    assert mcnemar(a, a, np.arange(8)).p == 1
    assert mcnemar(a, b, np.zeros(8, int)).clustered


def test_ids_that_do_not_align_are_named_and_counted():
    assert align(["a", "b"], ["b", "a"]).tolist() == [1, 0]
    with pytest.raises(
        ValueError, match=r"1 only in the first \(e.g. \['c'\]\), 2 only in the second"
    ):
        align(["a", "c"], ["a", "d", "e"])
    with pytest.raises(ValueError, match="1 sample ids occur twice in the second run"):
        align(["a"], ["a", "a"])


def test_different_data_are_not_compared():
    check_same_data("abc", "abc")
    with pytest.raises(ValueError, match="only runs on the same data"):
        check_same_data("abc", "abd")


def test_rows_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="rows of shape"):
        paired_difference(metric(), (np.ones((3, 1)), np.ones((2, 1))), np.arange(3))


def test_models_that_cannot_be_told_apart_share_a_range():
    rng = np.random.default_rng(0)
    base = rng.normal(0, 0.1, 2000)
    drawn = np.stack([base + 2, base + 2 + rng.normal(0, 0.01, 2000), base, base - 1])
    assert rank_ranges(drawn) == [(1, 2), (1, 2), (3, 3), (4, 4)]
    assert rank_ranges(drawn, higher_is_better=False) == [(3, 4), (3, 4), (2, 2), (1, 1)]


def test_the_detectable_difference_is_found_in_four_of_five_studies():
    rng = np.random.default_rng(5)
    error = 0.2
    shift = smallest_detectable(error)
    found = np.abs(rng.normal(shift, error, 20_000)) > 1.959964 * error
    assert found.mean() == pytest.approx(0.8, abs=0.01)
