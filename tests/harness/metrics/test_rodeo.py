import warnings

import numpy as np
import pytest

from harness.metrics.ragged import ragged
from harness.metrics.rodeo import localization, rodeo_rows, shape_matching, total_score


def boxes(*rows):
    return np.array(rows, np.float64).reshape(-1, 4)


TRUE = boxes([0.4, 0.4, 0.6, 0.6])


def shifted(by):
    return TRUE + np.array([by, 0, by, 0])


def scores(predicted, truth, malformed=None):
    flags = np.zeros(len(truth), bool) if malformed is None else np.array(malformed)
    sums = rodeo_rows(ragged(predicted), ragged(truth), flags).sum(axis=0)[None]
    weight = np.array([float(len(truth))])
    parts = (localization, shape_matching, total_score)
    return [float(part.of_sums(sums, weight)[0]) for part in parts]


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        ([TRUE], [TRUE], (1, 1)),
        ([shifted(0.1)], [TRUE], (2**-0.25, 1)),  # shifted by half a width: .8409
        ([shifted(0.2)], [TRUE], (0.5, 1)),  # by a width
        ([boxes([0.45, 0.45, 0.55, 0.55])], [TRUE], (1, 0.25)),  # half the size, same center
        ([np.vstack([TRUE, boxes([0, 0, 0.1, 0.1])])], [TRUE], (0.5, 0.5)),  # one box too many
        ([TRUE, boxes()], [TRUE, TRUE], (0.5, 0.5)),  # one of two found
        # A hull over two truths a width apart: centers one width off, a third of the shape each;
        # one of two truths is matched: 2**-1 / 2 and 1/3 / 2.
        ([boxes([0, 0, 0.6, 0.2])], [boxes([0, 0, 0.2, 0.2], [0.4, 0, 0.6, 0.2])], (0.25, 1 / 6)),
    ],
)
def test_sanity_values(predicted, truth, expected):
    assert scores(predicted, truth)[:2] == pytest.approx(expected, abs=1e-12)


def test_the_total_is_the_harmonic_mean_with_the_matched_share():
    # L = S = 0.5, matched 1 of 2: harmonic mean 0.5; a part of 0 makes it 0.
    assert scores([TRUE, boxes()], [TRUE, TRUE])[2] == pytest.approx(0.5)
    assert scores([TRUE], [TRUE])[2] == 1
    assert scores([boxes()], [TRUE])[2] == 0


def test_empty_against_empty_counts_for_nothing_and_a_set_of_it_is_not_scored():
    assert scores([TRUE, boxes()], [TRUE, boxes()])[:2] == [1, 1]
    assert np.isnan(scores([boxes()], [boxes()])).all()


def test_a_malformed_answer_without_truth_is_one_box_too_many():
    assert scores([TRUE, boxes()], [TRUE, boxes()], [False, True])[:2] == [0.5, 0.5]
    assert scores([boxes()], [TRUE], [True])[:2] == [0, 0]


def test_padding_the_image_changes_nothing():
    rng = np.random.default_rng(0)
    a, b = (np.sort(rng.random((5, 2, 2)), axis=1).reshape(5, 4) for _ in range(2))
    squeezed = [x * [0.5, 1, 0.5, 1] + [0.2, 0, 0.2, 0] for x in (a, b)]
    assert scores([squeezed[0]], [squeezed[1]])[:2] == pytest.approx(scores([a], [b])[:2])


def official(predicted, truth):
    module = pytest.importorskip("rodeo", reason="rodeometric is not installed")
    import rodeo.rodeo as code

    inner = code.matthews_corrcoef
    # rodeometric 0.0.1 calls .clip on the result, which is a plain float in newer scikit-learn.
    code.matthews_corrcoef = lambda *arguments: np.float64(inner(*arguments))
    metric = module.RoDeO(class_names=["0", "1"])

    def rows(sets):
        return [
            np.column_stack([b[:, :2], b[:, 2:] - b[:, :2], np.ones(len(b))]).reshape(-1, 5)
            for b in sets
        ]

    metric.add(rows(predicted), rows(truth))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = metric.compute()
    finally:
        code.matthews_corrcoef = inner
    return [found[f"RoDeO/{part}"] for part in ("localization", "shape_matching", "total")]


def test_equals_the_official_code_on_random_sets():
    rng = np.random.default_rng(3)

    def draw(count):
        corner = rng.random((count, 2)) * 0.7
        return np.hstack([corner, corner + 0.05 + rng.random((count, 2)) * 0.25])

    truth = [draw(k) for k in rng.integers(0, 5, 150)]
    predicted = [draw(k) for k in rng.integers(0, 5, 150)]
    ours, theirs = scores(predicted, truth), official(predicted, truth)
    assert ours[:2] == pytest.approx(theirs[:2], abs=1e-9)
    assert ours[2] == pytest.approx(theirs[2], abs=2e-6)  # theirs adds 1e-6 to each part
