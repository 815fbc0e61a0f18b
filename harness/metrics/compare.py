"""Is the difference between two models real? Paired by sample, clustered by patient."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt32
from scipy import stats

from harness.metrics.bootstrap import (
    BLOCK,
    LEVEL,
    MIN_PATIENTS,
    draw_values,
    on_grid,
    patient_sums,
    raw_words,
)
from harness.metrics.metric import FromSums, Metric, scored, value_of_rows

DRAWS_PER_TEST = 100  # permutations per member of a Holm family, at least


@dataclass(frozen=True)
class Difference:
    """Metric of a minus metric of b on the same outcomes, with a 95 % interval over patients.

    Attributes:
        value: the difference; positive means a has the larger number.
        low: lower end, None below 20 patients or where no draw could be scored.
        high: upper end.
        p: two-sided permutation p value; None if none was asked for.
        n: outcomes both were scored on.
        patients: the persons they come from.
        detectable: the smallest true difference found with 80 % power in a sample like this one.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    patients: int
    detectable: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether a "beats" or "is beaten by" b: the interval does not contain 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def align(ids_a: Sequence[str], ids_b: Sequence[str]) -> Int[np.ndarray, " n"]:
    """For each id of a its place in b.

    Raises:
        ValueError: an id occurs twice, or the two do not hold the same ids (which, how many).
    """
    place = {identifier: row for row, identifier in enumerate(ids_b)}
    for name, ids in (("the first", ids_a), ("the second", ids_b)):
        if len(set(ids)) < len(ids):
            raise ValueError(f"{len(ids) - len(set(ids))} sample ids occur twice in {name} run")
    only_a, only_b = sorted(set(ids_a) - set(ids_b)), sorted(set(ids_b) - set(ids_a))
    if only_a or only_b:
        raise ValueError(
            f"the runs do not hold the same samples: {len(only_a)} only in the first (e.g. "
            f"{only_a[:3]}), {len(only_b)} only in the second (e.g. {only_b[:3]})"
        )
    return np.array([place[identifier] for identifier in ids_a], np.int64)


def check_same_data(fingerprint_a: str, fingerprint_b: str) -> None:
    """Do nothing if both runs were asked the same.

    Raises:
        ValueError: the fingerprints of the data differ.
    """
    if fingerprint_a != fingerprint_b:
        raise ValueError(
            f"the runs were asked different data: fingerprint {fingerprint_a[:12]} and "
            f"{fingerprint_b[:12]}; only runs on the same data can be compared"
        )


def _common(
    rows: tuple[np.ndarray, np.ndarray], patients: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a, b = rows
    if a.shape != b.shape or len(a) != len(patients):
        raise ValueError(f"rows of shape {a.shape} and {b.shape} for {len(patients)} outcomes")
    both = scored(a) & scored(b)
    return a[both], b[both], np.unique(patients[both], return_inverse=True)[1]


def flips(words: UInt32[np.ndarray, " w"], shape: tuple[int, int]) -> Bool[np.ndarray, "draws p"]:
    """Which patients' outcomes are swapped, one random bit each."""
    return (words.reshape(shape) >> np.uint32(31)).astype(bool)


def permutation_p(
    metric: Metric,
    rows: tuple[np.ndarray, np.ndarray],
    patients: Int[np.ndarray, " n"],
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> float:
    """The two-sided p value (c + 1) / (draws + 1) of the difference under random swaps.

    All outcomes of a patient are swapped together and the metric is recomputed; c counts draws
    with a difference at least as large as the one found.
    """
    a, b, codes = _common(rows, patients)
    count = int(codes.max(initial=-1)) + 1
    if isinstance(metric.reduce, FromSums):
        parts = np.concatenate([patient_sums(metric.reduce, r, codes, count) for r in (a, b)])
        grid = on_grid(parts, 2.0)

        def differences(swap: np.ndarray) -> np.ndarray:
            keep = 1.0 - swap
            one, two = np.hstack([keep, swap]) @ grid, np.hstack([swap, keep]) @ grid
            of_sums = metric.reduce.of_sums  # type: ignore[attr-defined]
            return np.asarray(of_sums(one[:, :-1], one[:, -1]) - of_sums(two[:, :-1], two[:, -1]))
    else:
        both = np.concatenate([a, b])

        def differences(swap: np.ndarray) -> np.ndarray:
            each = swap[:, codes]
            one, two = np.hstack([1 - each, each]), np.hstack([each, 1 - each])
            return np.asarray(metric.reduce(both, one) - metric.reduce(both, two))

    observed = abs(float(differences(np.zeros((1, count)))[0]))
    extreme = 0
    for block in range(math.ceil(draws / BLOCK)):
        words = raw_words(seed, "permutation", block, BLOCK * count)
        swap = flips(words, (BLOCK, count)).astype(np.float64)[: draws - block * BLOCK]
        # Said this way round, a draw that cannot be scored (NaN) speaks for chance.
        extreme += int((~(np.abs(differences(swap)) < observed)).sum())
    return (extreme + 1) / (draws + 1)


def smallest_detectable(standard_error: float, df: float = math.inf, power: float = 0.8) -> float:
    """The true difference that a two-sided 5 % test finds with that power.

    >>> round(smallest_detectable(1.0), 3)
    2.802
    """
    quantile = stats.norm.ppf if math.isinf(df) else lambda q: stats.t.ppf(q, df)
    return float((quantile((1 + LEVEL) / 2) + quantile(power)) * standard_error)


def paired_difference(
    metric: Metric,
    rows: tuple[np.ndarray, np.ndarray],
    patients: Int[np.ndarray, " n"],
    *,
    draws: int = 1000,
    permutations: int = 0,
    seed: int = 0,
) -> Difference:
    """How far two models' values of a metric lie apart on the outcomes both were scored on.

    Both are resampled with the same patients. `rows` are their contributions, aligned by sample.

    Raises:
        ValueError: rows of different shapes.
    """
    a, b, codes = _common(rows, patients)
    value = value_of_rows(metric, a) - value_of_rows(metric, b)
    persons = len(np.unique(codes))
    p = None
    if permutations:
        p = permutation_p(metric, (a, b), codes, draws=permutations, seed=seed)
    if persons < MIN_PATIENTS or not metric.interval:
        return Difference(value, None, None, p, len(a), persons, None)
    drawn = draw_values([(metric, a), (metric, b)], codes, draws, seed)
    apart = drawn[0] - drawn[1]
    apart = apart[np.isfinite(apart)]
    if len(apart) < 2:
        return Difference(value, None, None, p, len(a), persons, None)
    low, high = np.quantile(apart, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    detectable = smallest_detectable(float(apart.std(ddof=1)))
    return Difference(value, float(low), float(high), p, len(a), persons, detectable)


def holm(p_values: Mapping[str, float], *, draws: int) -> dict[str, float]:
    """Holm's adjusted p values over one family of comparisons with one reference.

    Raises:
        ValueError: fewer permutation draws than 100 x family size: the smallest p they can give
            is too coarse for the first step.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03}, draws=10_000)
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    family = len(p_values)
    if draws < DRAWS_PER_TEST * family:
        raise ValueError(
            f"{draws} permutations for a family of {family}; needed are {DRAWS_PER_TEST * family}"
        )
    adjusted, floor = {}, 0.0
    for step, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        floor = max(floor, min(1.0, (family - step) * p))
        adjusted[name] = floor
    return {name: adjusted[name] for name in p_values}


@dataclass(frozen=True)
class McNemar:
    """Flips each way between two models' hits, with the exact two-sided binomial p value.

    `clustered` says that a patient has several queries: the test then treats dependent outcomes as
    independent and must be labelled so.
    """

    only_a: int
    only_b: int
    p: float
    clustered: bool


def mcnemar(
    hits_a: Bool[np.ndarray, " n"], hits_b: Bool[np.ndarray, " n"], patients: Int[np.ndarray, " n"]
) -> McNemar:
    """McNemar's exact test of two models' hits on the same queries."""
    only_a, only_b = int((hits_a & ~hits_b).sum()), int((hits_b & ~hits_a).sum())
    flipped = only_a + only_b
    p = float(stats.binomtest(only_a, flipped).pvalue) if flipped else 1.0
    return McNemar(only_a, only_b, p, clustered=len(np.unique(patients)) < len(patients))


def rank_ranges(
    drawn: Float[np.ndarray, "models draws"], *, higher_is_better: bool = True
) -> list[tuple[int, int]]:
    """The best and the worst rank each model can have.

    A model stands behind those that beat it (paired 95 % interval of the difference excludes
    zero) and before those it beats; models that cannot be told apart share a range.

    >>> steps = np.linspace(-0.1, 0.1, 201)
    >>> rank_ranges(np.stack([steps + 1, steps + 1.001 + 0.1 * steps, steps]))
    [(1, 2), (1, 2), (3, 3)]
    """
    sign = 1 if higher_is_better else -1
    low = np.array(
        [
            [np.quantile(sign * (a - b), (1 - LEVEL) / 2) for b in drawn]  # a surely above b
            for a in drawn
        ]
    )
    beats = low > 0
    return [
        (1 + int(beats[:, m].sum()), len(drawn) - int(beats[m].sum())) for m in range(len(drawn))
    ]
