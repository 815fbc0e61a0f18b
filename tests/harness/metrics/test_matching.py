from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import matching
from harness.metrics.matching import best_assignment, greedy_matched, optimal_matched
from harness.metrics.ragged import ragged


def boxes(*rows):
    return np.array(rows, np.float64).reshape(-1, 4)


def strip(start, width=0.4):
    return [start, 0.0, start + width, 1.0]


def test_greedy_order_can_waste_a_box_that_the_best_matching_saves():
    # Truth 1 overlaps A at 3/5 and B at 2/3, so it takes B; truth 2 only reaches B. Best: both.
    truth = boxes(strip(0.2), strip(0.36))
    predicted = boxes(strip(0.1), strip(0.28))
    assert greedy_matched(ragged([predicted]), ragged([truth])).tolist() == [1]
    assert optimal_matched(ragged([predicted]), ragged([truth])).tolist() == [2]


def test_one_box_answers_one_truth_only():
    truth = boxes(strip(0.2), strip(0.2))
    assert greedy_matched(ragged([boxes(strip(0.2))]), ragged([truth])).tolist() == [1]
    assert optimal_matched(ragged([boxes(strip(0.2))]), ragged([truth])).tolist() == [1]


def test_nothing_matches_nothing():
    none, some = boxes(), boxes(strip(0.1))
    predicted, truth = ragged([none, some, none]), ragged([some, none, none])
    assert greedy_matched(predicted, truth).tolist() == [0, 0, 0]
    assert optimal_matched(predicted, truth).tolist() == [0, 0, 0]


def naive_greedy(iou):
    used, matched = set(), 0
    for true in range(iou.shape[1]):
        free = [p for p in range(iou.shape[0]) if p not in used and iou[p, true] >= 0.5]
        if free:
            used.add(max(free, key=lambda p: iou[p, true]))
            matched += 1
    return matched


@given(seed=st.integers(0, 10_000), p=st.integers(1, 5), t=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_greedy_equals_a_naive_loop(seed, p, t):
    overlap = np.random.default_rng(seed).integers(0, 11, (p, t)) / 10
    distinct = overlap + np.arange(p)[:, None] * 1e-6  # no equal overlaps: the choice is defined
    assert matching.greedy(distinct[None], 0.5)[0] == naive_greedy(distinct)


@given(seed=st.integers(0, 10_000), p=st.integers(1, 6), t=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_the_best_assignment_has_the_largest_total_of_all(seed, p, t):
    gain = np.random.default_rng(seed).normal(size=(3, p, t))
    rows, columns = best_assignment(gain)
    for phrase in range(3):
        table = gain[phrase] if p <= t else gain[phrase].T
        every = permutations(range(table.shape[1]), table.shape[0])
        best = max(sum(table[r, c] for r, c in enumerate(choice)) for choice in every)
        found = gain[phrase][rows[phrase], columns[phrase]].sum()
        assert abs(found - best) < 1e-12
        assert len(set(rows[phrase])) == len(set(columns[phrase])) == min(p, t)
