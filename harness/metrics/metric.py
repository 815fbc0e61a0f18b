"""A metric is two functions: what each outcome contributes, and how contributions become a number.

`contribute(outcomes)` gives one row of numbers per outcome, NaN where the metric does not speak of
that outcome. `reduce(rows, weights)` turns rows into one number per row of weights; the weights say
how often each outcome counts, so that 10,000 bootstrap draws are one matrix product.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

Rows = Float[np.ndarray, "n k"]
Weights = Float[np.ndarray, "draws n"]
Values = Float[np.ndarray, " draws"]


@dataclass(frozen=True)
class FromSums:
    """A reduction that needs only the weighted sums of the columns and the total weight.

    Means, ratios of sums and means of ratios are of this kind. Rows of one patient can then be
    added up once, before any draw. Also computes with `0 / 0 = nan`, without a warning.

    Attributes:
        finish: column sums (draws, k) and total weight (draws,) -> (draws,).
        columns: what is summed, made from the rows; default the rows themselves.
    """

    finish: Callable[[np.ndarray, np.ndarray], np.ndarray]
    columns: Callable[[np.ndarray], np.ndarray] = lambda rows: rows

    def __call__(self, rows: Rows, weights: Weights) -> Values:
        """One number per row of weights."""
        return self.of_sums(weights @ self.columns(rows), weights.sum(axis=1))

    def of_sums(self, sums: Float[np.ndarray, "draws k"], total: Values) -> Values:
        """One number per row of column sums, `total` being the weight they stand on."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.finish(sums, total), np.float64)


@dataclass(frozen=True)
class Metric:
    """A named number with its definition.

    Attributes:
        name: as in suites and in the leaderboard, e.g. ``acc@0.5``.
        contribute: outcomes -> (n, k) float64; a NaN in a row leaves that outcome out.
        reduce: (n, k) rows without NaN and (draws, n) weights -> (draws,) values.
        higher_is_better: False for ranks and rates of error.
        needs: what a model must give for it, e.g. "a heat map"; the reason in an empty cell.
        definition: one sentence for the reader of a table.
        interval: False where no interval is given (COCO AP).
        bounded: whether it lies in [0, 1], so that exactly 0 or 1 gets an exact binomial
            bound.
    """

    name: str
    contribute: Callable[[Any], np.ndarray]
    reduce: Callable[[np.ndarray, np.ndarray], np.ndarray]
    definition: str
    higher_is_better: bool = True
    needs: str = ""
    interval: bool = True
    bounded: bool = True


mean = FromSums(lambda sums, total: sums[:, 0] / total)
ratio = FromSums(lambda sums, _: sums[:, 0] / sums[:, 1])


def _macro(sums: np.ndarray, _: np.ndarray) -> np.ndarray:
    classes = sums.shape[1] // 2
    numerator, denominator = sums[:, :classes], sums[:, classes:]
    present = denominator > 0
    shares = np.where(present, numerator / np.where(present, denominator, 1), 0)
    return np.asarray(shares.sum(axis=1) / present.sum(axis=1))


def class_columns(rows: Rows) -> Float[np.ndarray, "n spread"]:
    """Rows (numbers..., class, number of classes) with each number in the column of its class.

    >>> class_columns(np.array([[5.0, 1.0, 0, 2], [7.0, 1.0, 1, 2]])).tolist()
    [[5.0, 0.0, 1.0, 0.0], [0.0, 7.0, 0.0, 1.0]]
    """
    numbers, code = rows[:, :-2], rows[:, -2].astype(np.int64)
    classes = int(rows[:, -1].max(initial=0))
    spread = np.zeros((len(rows), numbers.shape[1], classes))
    spread[np.arange(len(rows)), :, code] = numbers
    return spread.reshape(len(rows), numbers.shape[1] * classes)


macro_mean = FromSums(_macro, class_columns)  # of rows (value, 1, class, number of classes)


def weighted_median(rows: Rows, weights: Weights) -> Values:
    """The median of the first column if each row is repeated as often as its weight says.

    Weights are whole numbers.

    >>> weighted_median(np.array([[1.0], [2.0], [10.0]]), np.array([[1.0, 1, 1], [1, 0, 1]]))
    array([2. , 5.5])
    """
    order = np.argsort(rows[:, 0], kind="stable")
    values = rows[order, 0]
    cumulative = np.cumsum(np.take(weights, order, axis=1), axis=1, dtype=np.int32)
    if not len(values):
        return np.full(len(weights), np.nan)
    half = cumulative[:, -1:] / 2
    lower = np.argmax(cumulative >= half, axis=1)
    upper = np.argmax(cumulative > half, axis=1)
    middle = (values[lower] + values[upper]) / 2
    return np.where(half[:, 0] > 0, middle, np.nan)


def scored(rows: Rows) -> np.ndarray:
    """Which outcomes the metric speaks of: rows without NaN, (n,) bool."""
    return np.asarray(~np.isnan(rows).any(axis=1))


def contributions(metric: Metric, outcomes: Any) -> Rows:
    """The metric's rows, (n, k) float64.

    Raises:
        ValueError: they are not two-dimensional or hold an infinity.
    """
    rows = np.asarray(metric.contribute(outcomes), np.float64)
    if rows.ndim != 2:
        raise ValueError(f"{metric.name}: contribute gave shape {rows.shape}, expected (n, k)")
    if np.isinf(rows).any():
        raise ValueError(f"{metric.name}: {int(np.isinf(rows).sum())} contributions are infinite")
    return rows


def value_of_rows(metric: Metric, rows: Rows) -> float:
    """The metric over all scored rows, each counted once; NaN if there is none.

    Sums are correctly rounded (`math.fsum`), so that the value depends neither on the order of
    the outcomes nor on the machine.
    """
    kept = rows[scored(rows)]
    if not len(kept):
        return math.nan
    if isinstance(metric.reduce, FromSums):
        columns = metric.reduce.columns(kept)
        sums = np.array([[math.fsum(column) for column in columns.T.tolist()]])
        return float(metric.reduce.of_sums(sums, np.array([float(len(kept))]))[0])
    return float(metric.reduce(kept, np.ones((1, len(kept))))[0])


def value(metric: Metric, outcomes: Any) -> float:
    """The metric of these outcomes; NaN if it speaks of none of them."""
    return value_of_rows(metric, contributions(metric, outcomes))
