from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from harness.metrics import bootstrap
from harness.metrics.bootstrap import (
    Interval,
    binomial_bounds,
    draw_values,
    on_grid,
    patient_draws,
    score,
)
from harness.metrics.metric import Metric, mean, ratio, weighted_median


@dataclass
class Given:
    rows: np.ndarray
    patients: np.ndarray


def metric(reduce=mean, **facts):
    return Metric("m", lambda outcomes: outcomes.rows, reduce, "A number.", **facts)


def interval(rows, patients, reduce=mean, **options):
    given = Given(np.asarray(rows, float).reshape(len(rows), -1), np.asarray(patients))
    return score({"m": metric(reduce)}, given, **options)["all"]["m"]


def hits(patients=40, per_patient=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((patients * per_patient, 1)) < 0.4, np.repeat(
        np.arange(patients), per_patient
    )


def test_each_draw_takes_as_many_patients_as_there_are():
    counts = np.concatenate(list(patient_draws(30, 150, seed=3)))
    assert counts.shape == (150, 30)
    assert (counts.sum(axis=1) == 30).all()
    assert abs(counts.mean() - 1) < 1e-12
    assert 0.9 < counts.var() < 1.05  # multinomial: 1 - 1/30


def test_a_draw_depends_on_seed_and_index_only():
    long = np.concatenate(list(patient_draws(25, 500, seed=1)))
    short = np.concatenate(list(patient_draws(25, 70, seed=1)))
    assert (long[:70] == short).all()
    assert (np.concatenate(list(patient_draws(25, 70, seed=2))) != short).any()


def philox(counter, key):
    """Philox 4x64-10 after Salmon et al. (SC 2011), in plain integers."""
    word = 2**64 - 1
    a, b, c, d = counter
    k, j = key
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (right >> 64) ^ b ^ k, right & word, (left >> 64) ^ d ^ j, left & word
        k, j = (k + 0x9E3779B97F4A7C15) & word, (j + 0xBB67AE8584CAA73B) & word
    return a, b, c, d


def test_the_random_numbers_are_the_same_on_every_machine():
    # NumPy counts up before the first block of four words.
    words = [w for count in (1, 2) for w in philox((count, 5, 0, 0), (7, 0))]
    halves = [half for w in words for half in (w & 0xFFFFFFFF, w >> 32)]
    assert bootstrap.raw_words(7, "bootstrap", 5, 16).tolist() == halves
    assert bootstrap.raw_words(7, "bootstrap", 2, 4).tolist() == [
        313025976, 2802175444, 1302742536, 857487717,
    ]  # fmt: skip


def test_the_interval_of_a_mean_is_close_to_the_normal_one():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=400)
    found = interval(rows, np.arange(400), draws=4000)
    half = 1.96 * rows.std() / 20
    assert found.value == pytest.approx(rows.mean())
    assert found.low == pytest.approx(rows.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(rows.mean() + half, abs=0.1 * half)


def test_it_agrees_with_scipy_s_bootstrap():
    rows = np.random.default_rng(1).exponential(size=120)
    ours = interval(rows, np.arange(120), draws=10_000)
    theirs = stats.bootstrap(
        (rows,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)


def test_outcomes_of_one_patient_are_drawn_together():
    one_each = np.random.default_rng(2).normal(size=50)
    alone = interval(one_each, np.arange(50), draws=500)
    copied = interval(np.repeat(one_each, 9), np.repeat(np.arange(50), 9), draws=500)
    assert copied.low == pytest.approx(alone.low, abs=1e-9)
    assert copied.high == pytest.approx(alone.high, abs=1e-9)
    assert (copied.n, copied.patients) == (450, 50)


@pytest.mark.parametrize("reduce", [mean, ratio, weighted_median])
def test_draws_equal_a_naive_loop_over_repeated_outcomes(reduce):
    rng = np.random.default_rng(4)
    patients = np.sort(rng.integers(0, 25, 80))
    codes = np.unique(patients, return_inverse=True)[1]
    rows = rng.random((80, 2))
    rows[rng.random(80) < 0.1] = np.nan
    drawn = draw_values([(metric(reduce), rows)], patients, 100, seed=5)[0]
    for counts, found in zip(np.concatenate(list(patient_draws(25, 100, 5))), drawn, strict=True):
        repeated = np.concatenate(
            [np.repeat(rows[i : i + 1], int(counts[c]), 0) for i, c in enumerate(codes)]
        )
        repeated = repeated[~np.isnan(repeated).any(axis=1)]
        naive = reduce(repeated, np.ones((1, len(repeated))))[0]
        assert found == pytest.approx(naive, abs=1e-9)


def test_order_of_outcomes_changes_no_bit_of_an_interval():
    rng = np.random.default_rng(6)
    rows, patients = rng.random((300, 1)), rng.integers(0, 60, 300)
    order = rng.permutation(300)
    assert interval(rows, patients) == interval(rows[order], patients[order])


def test_sums_on_the_grid_are_exact_in_any_order():
    rng = np.random.default_rng(7)
    grid = on_grid(rng.normal(size=(500, 3)) * [1e-9, 1, 1e9], 500.0)
    weights = rng.integers(0, 9, 500).astype(float)
    order = rng.permutation(500)
    forward = [float(s) for s in weights @ grid]
    backward = [
        sum(float(w) * float(v) for w, v in zip(weights[order], column[order], strict=True))
        for column in grid.T
    ]
    assert forward == backward


def test_fewer_than_twenty_patients_have_no_interval():
    found = interval(np.arange(190.0), np.repeat(np.arange(19), 10))
    assert (found.low, found.high, found.patients) == (None, None, 19)
    assert found.note == "fewer than 20 patients"
    assert interval(np.arange(200.0), np.repeat(np.arange(20), 10)).low is not None


@pytest.mark.parametrize("value", [0, 1])
def test_a_value_at_the_end_of_the_scale_gets_the_exact_binomial_bound(value):
    found = interval(np.full(60, value), np.repeat(np.arange(30), 2))
    exact = stats.binomtest(30 * value, 30).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert "binomial" in found.note


def test_binomial_bounds_of_three_of_three():
    assert binomial_bounds(1.0, 3) == (pytest.approx(0.025 ** (1 / 3)), 1.0)


def test_an_unbounded_metric_gets_no_binomial_bound():
    given = Given(np.ones((40, 1)), np.arange(40))
    found = score({"m": metric(bounded=False)}, given)["all"]["m"]
    assert (found.low, found.high, found.note) == (1.0, 1.0, "")


def test_groups_are_scored_on_their_own_patients():
    rows, patients = hits()
    mask = patients < 10
    given = Given(rows.astype(float), patients)
    found = score({"m": metric()}, given, groups={"few": mask, "rest": ~mask})
    assert found["few"]["m"].low is None
    assert found["few"]["m"].value == rows[mask].mean()
    assert found["rest"]["m"] == Interval(
        rows[~mask].mean(), found["rest"]["m"].low, found["rest"]["m"].high, 90, 30
    )


def test_a_metric_without_interval_says_so():
    rows, patients = hits()
    given = Given(rows.astype(float), patients)
    found = score({"m": metric(interval=False)}, given)["all"]["m"]
    assert found.low is None
    assert "no interval" in found.note


def test_nothing_to_score_is_a_reason_not_a_zero():
    found = interval(np.full(30, np.nan), np.arange(30))
    assert np.isnan(found.value)
    assert found.note == "nothing to score"


def test_every_metric_of_a_score_sees_the_same_draws():
    rows, patients = hits()
    two = draw_values([(metric(), rows * 1.0), (metric(), 1.0 - rows)], patients, 200, seed=0)
    assert np.allclose(two[0] + two[1], 1)
