"""Numbers small enough to work out on paper, for what simulations and oracles leave open."""

import math

import numpy as np
import pytest
from scipy import stats

from harness.metrics.compare import rank_ranges, smallest_detectable
from harness.metrics.metric import Metric, mean
from harness.metrics.pool import pool_of
from harness.metrics.ranking import rank_pairs
from harness.metrics.seeds import pseudo_values, seed_interval
from harness.metrics.tiles import Tile
from harness.metrics.toplists import empty_lists, offer_images, offer_texts

MEAN = Metric("m", lambda outcomes: outcomes.rows, mean, "A number.")


def t(share: float, df: float) -> float:
    return float(stats.t.ppf(share, df))


def test_two_seeds_and_two_patients_worked_by_hand() -> None:
    """Seeds average 2 and 6, patients 3 and 5, all 4; nothing is left over.

    MS_seed = 2 x 8 = 16, MS_patient = 2 x 2 = 4, MS_rest = 0. The variance of the mean is
    (16 + 4) / 4 = 5 with 20**2 / (16**2 / 1 + 4**2 / 1) = 400 / 272 degrees of freedom; that of
    the seeds alone 16 / 4 = 4 with one.
    """
    found = seed_interval(np.array([[1.0, 3.0], [5.0, 7.0]]))
    assert found.value == 4
    assert found.df == pytest.approx(400 / 272)
    half = max(t(0.975, 400 / 272) * math.sqrt(5), t(0.975, 1) * 2)
    assert (found.low, found.high) == pytest.approx((4 - half, 4 + half))
    assert (found.seeds, found.patients) == (2, 2)
    assert (found.seed_variance, found.patient_variance) == (8, 2)
    assert found.detectable == pytest.approx((t(0.975, 1) + t(0.8, 1)) * 2)


def test_three_seeds_that_differ_little_are_judged_by_their_patients() -> None:
    """Patients differ by 8, seeds by 0.1: two patients with one degree of freedom decide.

    MS_patient = 3 x 32 = 96; the variance of the mean over patients is 96 / 6 = 16.
    """
    rows = np.array([[0.0, 8.0], [0.1, 8.1], [0.2, 8.2]])
    found = seed_interval(rows)
    ms_seed, ms_patient = 2 * 0.01, 3 * 32.0
    df = max((ms_seed + ms_patient) ** 2 / (ms_seed**2 / 2 + ms_patient**2), 2)
    assert found.df == pytest.approx(df)
    assert found.detectable == pytest.approx((t(0.975, 1) + t(0.8, 1)) * 4)
    assert found.high - found.value == pytest.approx(t(0.975, 1) * 4)
    assert found.seed_variance == pytest.approx(0.01)
    assert found.patient_variance == pytest.approx(32.0)


def test_components_below_the_rest_count_as_nothing() -> None:
    """All that varies is the rest: MS_seed = MS_patient = 0 and MS_rest = 4.

    The means of seeds and of patients agree by luck alone: the interval is that of patients whose
    mean square is the rest, 4 / 4 = 1, with one degree of freedom.
    """
    found = seed_interval(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    assert (found.value, found.df) == (0, 1)
    assert (found.low, found.high) == pytest.approx((-t(0.975, 1), t(0.975, 1)))
    assert (found.seed_variance, found.patient_variance) == (0, 0)
    assert found.detectable == pytest.approx(t(0.975, 1) + t(0.8, 1))


def test_of_one_seed_only_the_patients_are_known() -> None:
    found = seed_interval(np.array([[1.0, 2.0, 6.0]]))
    assert (found.value, found.low, found.high) == (3, -math.inf, math.inf)
    assert (found.seeds, found.patients, found.patient_variance) == (1, 3, 7)
    assert all(math.isnan(x) for x in (found.df, found.seed_variance, found.detectable))


def test_pseudo_values_leave_out_one_patient_at_a_time() -> None:
    """Patient 7 has 1 and 2, patient 3 has 6, and one row cannot be scored: P = 2, mean 3.

    Without patient 3: 1.5, so 2 x 3 - 1.5 = 4.5. Without patient 7: 6, so 0.
    """
    rows = np.array([[1.0], [6.0], [np.nan], [2.0]])
    assert pseudo_values(MEAN, rows, np.array([7, 3, 5, 7])).tolist() == [4.5, 0.0]


def test_a_metric_that_scores_nobody_has_no_pseudo_values() -> None:
    assert pseudo_values(MEAN, np.full((2, 1), np.nan), np.array([4, 9])).shape == (0,)


def test_a_pool_that_asks_nothing_has_outcomes_of_the_usual_shapes() -> None:
    one, _ = pool_of(studies=["a", "b"], patients=["p", "q"], texts=["x", "y"])
    none, _ = pool_of(studies=["a"], patients=["p"], texts=[""], asked=[False])
    scores = np.eye(2)
    some = rank_pairs(one, lambda rows: scores[rows])
    for direction, empty in rank_pairs(none, lambda rows: scores[rows, :0]).items():
        assert empty.direction == some[direction].direction == direction
        for name in ("patients", "ranks", "tied", "relevant", "dcg", "top", "top_scores"):
            usual, found = getattr(some[direction], name), getattr(empty, name)
            assert (len(found), found.shape[1:]) == (0, usual.shape[1:]), name
            assert found.dtype == usual.dtype, name
        assert empty.candidates == (0, 0, 0, 0)
        assert empty.label_hits is None


def test_how_many_pairs_are_looked_at_at_once_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chunks of 7 of 60 queries with labels, texts in common and ties."""
    rng = np.random.default_rng(0)
    pool, _ = pool_of(
        studies=[f"s{n // 2}" for n in range(60)],
        patients=[f"p{n // 3}" for n in range(60)],
        texts=[f"t{n % 25}" for n in range(60)],
        labels=rng.random((60, 3)) < 0.3,
    )
    scores = rng.integers(0, 9, (60, pool.texts)).astype(float)
    whole = rank_pairs(pool, lambda rows: scores[rows])
    monkeypatch.setattr("harness.metrics.gains.CHUNK", 7)
    monkeypatch.setattr("harness.metrics.filling.LABEL_CHUNK", 7)
    for direction, found in rank_pairs(pool, lambda rows: scores[rows]).items():
        for name in ("ranks", "tied", "relevant", "dcg", "label_hits", "top_scores"):
            one, other = getattr(found, name), getattr(whole[direction], name)
            np.testing.assert_array_equal(one, other, err_msg=name)


def test_the_detectable_difference_with_ten_degrees_of_freedom() -> None:
    assert smallest_detectable(2.0, 10) == pytest.approx(2 * (2.228139 + 0.879058), abs=1e-5)
    assert smallest_detectable(1.0, power=0.9) == pytest.approx(1.959964 + 1.281552, abs=1e-5)


@pytest.mark.parametrize(("worse", "ranges"), [(20, [(1, 1), (2, 2)]), (30, [(1, 2), (1, 2)])])
def test_a_model_is_surely_better_if_at_most_one_draw_in_forty_says_otherwise(
    worse: int, ranges: list[tuple[int, int]]
) -> None:
    """Of 1,000 draws 20 or 30 are the other way round; the line is at 25."""
    gains = np.where(np.arange(1000) < worse, -1.0, 1.0)
    assert rank_ranges(np.stack([gains, np.zeros(1000)])) == ranges


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("count", [5, 59, 60, 64, 200])
@pytest.mark.parametrize("levels", [3, 1000])
def test_the_best_of_every_line_are_kept_with_their_scores(
    kind: type, count: int, levels: int
) -> None:
    """Against sorting, in two tiles, both ways round; of equal scores any may stay."""
    depth, lines = 11, 7
    rng = np.random.default_rng(count + levels)
    scores = rng.integers(0, levels, (lines, 2 * count)).astype(kind)
    texts, images = (empty_lists(lines, depth, np.dtype(kind)) for _ in range(2))
    for begin in (0, count):
        part = np.full((64, 64 * -(-count // 64)), -np.inf, kind)
        part[:lines, :count] = scores[:, begin : begin + count]
        here, every = slice(begin, begin + count), slice(0, lines)
        offer_images(texts, Tile(here, every, part, np.empty(part.shape, bool)))
        turned = np.ascontiguousarray(part.T)
        offer_texts(images, Tile(every, here, turned, np.empty(turned.shape, bool)))
    best = -np.sort(-scores, axis=1)[:, :depth]
    for lists in (texts, images):
        short = 2 * count < depth
        assert short or not np.isneginf(lists.scores).any()
        np.testing.assert_array_equal(-np.sort(-lists.scores, axis=1)[:, : best.shape[1]], best)
        known = lists.items >= 0
        assert known.sum() == lines * min(depth, 2 * count)
        line = np.nonzero(known)[0]
        np.testing.assert_array_equal(scores[line, lists.items[known]], lists.scores[known])
        assert all(len(set(row[row >= 0].tolist())) == (row >= 0).sum() for row in lists.items)
