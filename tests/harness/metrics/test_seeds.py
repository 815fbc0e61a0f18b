import numpy as np
import pytest
from scipy import stats

from harness.metrics.metric import Metric, mean, ratio, value_of_rows, weighted_median
from harness.metrics.seeds import pseudo_values, seed_interval


def metric(reduce):
    return Metric("m", lambda outcomes: outcomes.rows, reduce, "A number.")


def test_pseudo_values_of_a_mean_are_the_outcomes():
    rows = np.random.default_rng(0).random((10, 1))
    assert pseudo_values(metric(mean), rows, np.arange(10)) == pytest.approx(rows[:, 0])


def test_pseudo_values_of_a_ratio_have_its_value_as_their_mean_nearly():
    rng = np.random.default_rng(1)
    rows = np.column_stack([rng.random(400), 1 + rng.random(400)])
    found = pseudo_values(metric(ratio), rows, np.arange(400))
    assert found.mean() == pytest.approx(value_of_rows(metric(ratio), rows), abs=1e-3)


def test_a_median_has_no_pseudo_values():
    with pytest.raises(ValueError, match="not a function of sums"):
        pseudo_values(metric(weighted_median), np.ones((3, 1)), np.arange(3))


def test_without_patient_variance_it_is_the_t_interval_of_the_seeds():
    effects = np.array([0.1, 0.2, 0.4])
    found = seed_interval(np.repeat(effects[:, None], 500, axis=1))
    exact = stats.t.interval(0.95, 2, effects.mean(), stats.sem(effects))
    assert (found.low, found.high) == pytest.approx(exact)
    assert found.df == pytest.approx(2)


def test_without_seed_variance_it_is_nearly_the_t_interval_of_the_patients():
    effects = np.random.default_rng(2).normal(size=200)
    rest = np.random.default_rng(3).normal(size=(5, 200)) * 1e-6
    found = seed_interval(effects + rest)
    exact = stats.t.interval(0.95, 199, effects.mean(), stats.sem(effects))
    assert (found.low, found.high) == pytest.approx(exact, rel=1e-3)


def test_known_components_are_recovered():
    rng = np.random.default_rng(4)
    estimates = [
        seed_interval(
            rng.normal(0, 0.5, (8, 1)) + rng.normal(0, 1, 300) + rng.normal(0, 2, (8, 300))
        )
        for _ in range(60)
    ]
    assert np.mean([e.seed_variance for e in estimates]) == pytest.approx(0.25, rel=0.15)
    assert np.mean([e.patient_variance for e in estimates]) == pytest.approx(1.0, rel=0.15)


def test_one_seed_says_nothing_about_seeds():
    found = seed_interval(np.random.default_rng(5).normal(size=(1, 50)))
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_seeds_that_agree_by_luck_make_nothing_certain():
    # Two samples of 100 patients flip for each seed, the same number each way: all seeds say 0.01
    # exactly, and the patients alone leave room for 0.
    data = np.zeros((3, 100))
    for seed in range(3):
        data[seed, 10 * seed : 10 * seed + 5] = 1
        data[seed, 50 + 10 * seed : 54 + 10 * seed] = -1
    found = seed_interval(data)
    assert found.value == pytest.approx(0.01)
    assert found.seed_variance == 0
    by_patient = stats.t.interval(0.95, 99, 0.01, stats.sem(data.mean(axis=0)))
    assert found.low <= by_patient[0] < 0 < by_patient[1] <= found.high
    assert found.detectable > found.high - 0.01


def test_too_few_patients_and_nan_are_refused():
    with pytest.raises(ValueError, match="3 seeds x 1 patients"):
        seed_interval(np.zeros((3, 1)))
    with pytest.raises(ValueError, match="not finite"):
        seed_interval(np.full((3, 5), np.nan))


def covered(rng, seed_sd, patient_sd, rest_sd, seeds=3, patients=100):
    data = (
        rng.normal(0, seed_sd, (seeds, 1))
        + rng.normal(0, patient_sd, patients)
        + rng.normal(0, rest_sd, (seeds, patients))
    )
    found = seed_interval(data)
    return found.low <= 0 <= found.high


@pytest.mark.parametrize(
    ("seed_sd", "patient_sd", "rest_sd"), [(1.0, 1.0, 1.0), (0.05, 1.0, 1.0), (0.2, 1.0, 0.5)]
)
def test_three_seeds_are_covered_at_least_as_promised(seed_sd, patient_sd, rest_sd):
    # A little wide where no component dominates; never narrow.
    rng = np.random.default_rng(6)
    share = np.mean([covered(rng, seed_sd, patient_sd, rest_sd) for _ in range(3000)])
    assert 0.93 <= share <= 0.97, share


def test_where_seeds_agree_more_than_patients_allow_three_are_still_covered():
    rng, agreeing = np.random.default_rng(7), []
    while len(agreeing) < 300:
        data = rng.normal(0, 0.02, (3, 1)) + rng.normal(0, 1, (3, 100))
        by_seed = data.mean(axis=1).var(ddof=1) * 100
        if by_seed < 0.1 * data.var(ddof=1):
            found = seed_interval(data)
            agreeing.append(found.low <= 0 <= found.high)
    assert np.mean(agreeing) >= 0.93  # 0.67 without the patients' own interval
