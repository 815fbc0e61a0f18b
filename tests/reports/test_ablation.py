"""What a loss is worth: intervals worked by hand, p, verdicts, gains."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.metrics.metric import Metric, mean, ratio, weighted_median
from reports.ablation_pairs import Arms, adjusted
from reports.ablation_samples import extremes, mean_gains
from reports.ablation_worth import Worth, checkpoints_p, interval_of
from reports.paired import Question
from tests.reports.arms import PLACE, arm, interval

HIT = Metric("hit", lambda outcomes: outcomes, mean, "share")
SHARE = Metric("share", lambda outcomes: outcomes, ratio, "ratio of sums")


def column(values) -> np.ndarray:
    return np.asarray(values, float)[:, None]


def test_the_interval_over_three_seeds_and_twenty_patients_is_the_one_worked_by_hand():
    # 20 patients, one outcome each. The full arm is right on all; the other is wrong on the first
    # 2, 4 and 6 patients with seeds 0, 1 and 2: differences 0.1, 0.2, 0.3, mean 0.2.
    full = column(np.ones(20))
    others = [column([0] * wrong + [1] * (20 - wrong)) for wrong in (2, 4, 6)]
    found, note = interval_of(HIT, [(full, other) for other in others], np.arange(20))
    assert note == ""
    assert (found.value, found.seeds, found.patients) == (pytest.approx(0.2), 3, 20)
    # By hand: MS_seed = 20 x var(0.1, 0.2, 0.3) = 20 x 0.01 = 0.2. Patients: the first two differ
    # in all seeds (mean 1), the next two in two (2/3), the next two in one (1/3), others in none.
    means = [1] * 2 + [2 / 3] * 2 + [1 / 3] * 2 + [0] * 14
    ms_patient = 3 * np.var(means, ddof=1)
    # The whole: 12 ones among 60, sum of squares 12 - 60 x 0.04 = 9.6; what is left is the rest.
    ms_rest = (9.6 - 2 * 0.2 - 19 * ms_patient) / (2 * 19)
    error = math.sqrt((0.2 + ms_patient - ms_rest) / 60)
    df = (0.2 + ms_patient - ms_rest) ** 2 / (
        0.2**2 / 2 + ms_patient**2 / 19 + ms_rest**2 / (2 * 19)
    )
    of_seeds = stats.t.ppf(0.975, 2) * math.sqrt(0.2 / 60)
    half = max(stats.t.ppf(0.975, df) * error, of_seeds)
    assert found.high - found.value == pytest.approx(half)
    assert found.value - found.low == pytest.approx(half)


def test_the_interval_stands_around_the_plain_difference_of_a_ratio():
    draw = np.random.default_rng(0)
    patients = np.repeat(np.arange(25), 3)
    rows = [np.column_stack([draw.integers(0, 3, 75), draw.integers(1, 4, 75)]) for _ in range(4)]
    pairs = [(rows[0].astype(float), rows[1].astype(float)), (rows[2] * 1.0, rows[3] * 1.0)]
    plain = np.mean(
        [a[:, 0].sum() / a[:, 1].sum() - b[:, 0].sum() / b[:, 1].sum() for a, b in pairs]
    )
    found, _ = interval_of(SHARE, pairs, patients)
    assert found.value == pytest.approx(plain)
    assert (found.low + found.high) / 2 == pytest.approx(plain)


def test_one_seed_few_patients_and_a_median_have_no_interval_and_say_why():
    pair = (column(np.ones(20)), column(np.zeros(20)))
    found, note = interval_of(HIT, [pair], np.arange(20))
    assert note == "one seed: no interval"
    assert found.value == 1
    few = (pair[0][:19], pair[1][:19])
    assert interval_of(HIT, [few, few], np.arange(19)) == (None, "fewer than 20 patients")
    alike = (pair[0], pair[0].copy())
    assert interval_of(HIT, [alike, alike, alike], np.arange(20)) == (None, "no outcome differs")
    median = Metric("median", lambda outcomes: outcomes, weighted_median, "median")
    assert interval_of(median, [pair, pair], np.arange(20))[0] is None


def test_p_of_these_checkpoints_swaps_a_patient_in_all_seeds_at_once():
    # Five patients of two outcomes, one seed, the full arm better in each: of the 32 swaps only the
    # two extreme ones reach the difference, so p is about 2 / 32 however many seeds repeat it.
    full, other = column(np.ones(10)), column(np.zeros(10))
    patients = np.repeat(np.arange(5), 2)
    once = checkpoints_p(HIT, [(full, other)], patients)
    twice = checkpoints_p(HIT, [(full, other)] * 2, patients)
    assert once == pytest.approx(2 / 32, abs=0.008)
    assert twice == once


def test_a_family_of_more_than_a_hundred_arms_draws_more_often():
    def arms(count):
        names = ["full", *(f"arm-{number}" for number in range(count))]
        records = [arm(name, seed) for name in names for seed in (0, 1)]
        return Arms(Path(), records, lambda _: (None, ""))

    found = [arms(count).permutations for count in (1, 100, 101, 150)]
    assert found == [10_000, 10_000, 10_100, 15_000]
    # The smallest p of 10,000 draws is 1/10,001; of 101 such, Holm's first is 101 times that. It
    # must be refused and not adjusted as if there had been more draws.
    coarse = [Worth(f"arm-{n}", PLACE, Question("miou"), p=1 / 10_001) for n in range(101)]
    with pytest.raises(ValueError, match="10000 permutations for a family of 101"):
        adjusted(coarse, draws=10_000)
    exact = [Worth(one.arm, PLACE, one.question, p=1 / 10_101) for one in coarse]
    assert adjusted(exact, draws=10_100)[0].adjusted == pytest.approx(101 / 10_101)


VERDICTS = [
    ({"interval": interval(0.1, 0.3), "difference": 0.2}, "full better"),
    ({"interval": interval(-0.3, -0.1), "difference": -0.2}, "arm better"),
    ({"interval": interval(-0.1, 0.3), "difference": 0.1}, "not told apart"),
    ({"interval": interval(0.1, 0.3), "difference": 0.2, "higher_is_better": False}, "arm better"),
    (
        {"interval": interval(0.1, 0.3), "difference": 0.2, "under_trained": True},
        "under-trained: direction only (full better)",
    ),
    # Where nothing is told apart, or one seed may be luck, there is no direction either.
    (
        {"interval": interval(-0.1, 0.3), "difference": 0.1, "under_trained": True},
        "under-trained: direction only (not told apart)",
    ),
    (
        {"difference": 0.1, "note": "one seed: no interval", "under_trained": True},
        "under-trained: direction only (one seed: no interval)",
    ),
    ({"status": "not_taught", "full": 0.4, "note": "not taught"}, "not taught"),
    ({"difference": 0.2, "status": "no_interval", "note": "one seed: no interval"},
     "one seed: no interval"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "verdict"), VERDICTS)
def test_the_verdict_says_no_more_than_the_interval_allows(values, verdict):
    assert Worth("without-location", PLACE, Question("miou"), **values).verdict == verdict


def test_gains_are_means_over_seeds_of_the_samples_that_all_were_scored_on():
    nan = math.nan
    one = (column([0.5, nan, 0.4, 0.1]), column([0.1, 0.3, 0.4, 0.2]))
    two = (column([0.9, 0.2, 0.4, 0.1]), column([0.1, 0.3, 0.4, 0.6]))
    samples, gains = mean_gains([one, two], ["a", "b", "c", "d"])
    assert samples == ["a", "c", "d"]
    assert gains == pytest.approx([0.6, 0.0, -0.3])
    assert extremes(gains, 2) == {"won": [0], "lost": [2]}
