"""Patient-clustered intervals: all draws of all metrics are one matrix product.

Random numbers come from Philox, a counter-based generator whose raw output NumPy keeps stable, in
blocks of draws of fixed size: a draw depends on (seed, its index, number of patients) only. Sums
are taken on a grid coarse enough to be exact in float64, so that neither the order of summation
nor the machine changes an interval.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from harness.metrics.metric import FromSums, Metric, contributions, scored, value_of_rows

MIN_PATIENTS = 20  # protocol.md §6: below it no interval and no ranking
LEVEL = 0.95
BLOCK = 64  # draws that share one counter block; part of what a seed means
STREAMS = {"bootstrap": 0, "permutation": 1}


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval over patients.

    `low` and `high` are None where none is given, and `note` says why. `n` counts the outcomes the
    metric speaks of, `patients` the persons they come from.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    patients: int
    note: str = ""


def raw_words(seed: int, stream: str, block: int, count: int) -> np.ndarray:
    """`count` random uint32 of one counter block, (count,)."""
    generator = np.random.Philox(key=[seed, STREAMS[stream]], counter=[0, block, 0, 0])
    words = generator.random_raw((count + 1) // 2).astype("<u8", copy=False)
    return words.view("<u4")[:count]  # the low half first


def patient_draws(patients: int, draws: int, seed: int) -> Iterator[Int[np.ndarray, "block p"]]:
    """How often each patient is drawn, in blocks of up to `BLOCK` draws, (draws, patients) float64.

    Each draw takes as many patients as there are, with replacement.
    """
    place = np.repeat(np.arange(BLOCK) * patients, patients)
    for block in range(math.ceil(draws / BLOCK)):
        drawn = raw_words(seed, "bootstrap", block, BLOCK * patients).astype(np.uint64)
        # Multiply-shift: a bias of at most patients / 2**32, and no generator-specific rejection.
        drawn *= np.uint64(patients)
        drawn >>= np.uint64(32)
        counts = np.bincount(drawn.view(np.int64) + place, minlength=BLOCK * patients)
        yield counts.reshape(BLOCK, patients)[: draws - block * BLOCK].astype(np.float64)


def on_grid(sums: np.ndarray, weight: float) -> np.ndarray:
    """`sums` rounded so that any sum of them of total weight `weight` is exact in float64."""
    largest = np.abs(sums).max(axis=0, initial=0.0) * max(weight, 1.0)
    exponent = 52 - np.ceil(np.log2(np.maximum(largest, 2.0**-900)))
    return np.asarray(
        np.ldexp(np.rint(np.ldexp(sums, exponent.astype(int))), -exponent.astype(int))
    )


def patient_sums(
    reduce: FromSums, rows: np.ndarray, patients: np.ndarray, count: int
) -> np.ndarray:
    """Column sums per patient and, last, the number of rows, (count, k + 1)."""
    keep = scored(rows)
    columns = reduce.columns(rows[keep])
    sums = np.zeros((count, columns.shape[1] + 1))
    np.add.at(sums[:, :-1], patients[keep], columns)
    np.add.at(sums[:, -1], patients[keep], 1.0)
    return sums


@dataclass(frozen=True)
class _Cell:
    """One number to be drawn: its sums per patient, or its rows where sums do not suffice."""

    metric: Metric
    sums: np.ndarray | None
    rows: np.ndarray
    patients: np.ndarray


def _cell(metric: Metric, rows: np.ndarray, patients: np.ndarray, count: int) -> _Cell:
    if isinstance(metric.reduce, FromSums):
        none = np.zeros(0)
        return _Cell(metric, patient_sums(metric.reduce, rows, patients, count), none, none)
    keep = scored(rows)
    return _Cell(metric, None, rows[keep], patients[keep])


def _draw(cells: Sequence[_Cell], count: int, draws: int, seed: int) -> np.ndarray:
    """The value of each cell in each draw, (cells, draws)."""
    blocks = [cell.sums for cell in cells if cell.sums is not None]
    stacked = on_grid(np.column_stack(blocks), float(count)) if blocks else np.zeros((count, 0))
    values = np.full((len(cells), draws), np.nan)
    for number, counts in enumerate(patient_draws(count, draws, seed)):
        here = slice(number * BLOCK, number * BLOCK + len(counts))
        sums, end = counts @ stacked, 0
        for row, cell in zip(values, cells, strict=True):
            if cell.sums is None:
                weights = np.take(counts, cell.patients, axis=1)
                row[here] = cell.metric.reduce(cell.rows, weights)
            elif isinstance(cell.metric.reduce, FromSums):
                begin, end = end, end + cell.sums.shape[1]
                part = sums[:, begin:end]
                row[here] = cell.metric.reduce.of_sums(part[:, :-1], part[:, -1])
    return values


def draw_values(
    cells: Sequence[tuple[Metric, np.ndarray]],
    patients: Int[np.ndarray, " n"],
    draws: int,
    seed: int,
) -> Float[np.ndarray, "cells draws"]:
    """The value of each (metric, rows) in each draw, all cells resampled together."""
    codes, index = np.unique(patients, return_inverse=True)
    made = [_cell(metric, rows, index, len(codes)) for metric, rows in cells]
    return _draw(made, len(codes), draws, seed)


def binomial_bounds(value: float, units: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a proportion that came out at 0 or 1.

    >>> low, high = binomial_bounds(0.0, 20)
    >>> low, round(high, 4)
    (0.0, 0.1684)
    """
    bound = float(((1 - level) / 2) ** (1 / units))
    return (0.0, 1.0 - bound) if value == 0 else (bound, 1.0)


def _without_interval(metric: Metric, rows: np.ndarray, patients: np.ndarray) -> Interval:
    """The value with its counts; the note says why there can be no interval, if so."""
    keep = scored(rows)
    persons = len(np.unique(patients[keep]))
    note = ""
    if not metric.interval:
        note = "no interval: not a sum over patients"
    elif not persons:
        note = "nothing to score"
    elif persons < MIN_PATIENTS:
        note = f"fewer than {MIN_PATIENTS} patients"
    point = value_of_rows(metric, rows)
    return Interval(point, None, None, int(keep.sum()), persons, note)


def _with_interval(metric: Metric, point: Interval, drawn: np.ndarray) -> Interval:
    if metric.bounded and point.value in (0.0, 1.0):
        low, high = binomial_bounds(point.value, point.patients)
        return replace(point, low=low, high=high, note="exact binomial bound over patients")
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return replace(point, note="no draw could be scored")
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return replace(point, low=float(low), high=float(high))


def score(
    metrics: Mapping[str, Metric],
    outcomes: Any,
    *,
    draws: int = 1000,
    seed: int = 0,
    groups: Mapping[str, np.ndarray] | None = None,
) -> dict[str, dict[str, Interval]]:
    """The value and interval of each metric in each group: ``result[group][metric]``.

    Args:
        metrics: by name, of the kind that fits the outcomes.
        outcomes: anything with `patients`, (n,) integer codes.
        draws: bootstrap draws, the same ones for all metrics and groups.
        seed: of the draws.
        groups: group -> (n,) mask; default one group, ``all``, of every outcome.
    """
    codes, index = np.unique(np.asarray(outcomes.patients), return_inverse=True)
    masks = groups if groups is not None else {"all": np.ones(len(index), bool)}
    result: dict[str, dict[str, Interval]] = {group: {} for group in masks}
    cells: dict[tuple[str, str], _Cell] = {}
    for name, metric in metrics.items():
        rows = contributions(metric, outcomes)
        for group, mask in masks.items():
            chosen = np.where(mask[:, None], rows, np.nan)
            result[group][name] = _without_interval(metric, chosen, index)
            if not result[group][name].note:
                cells[group, name] = _cell(metric, chosen, index, len(codes))
    drawn = _draw(list(cells.values()), len(codes), draws, seed)
    for (group, name), values in zip(cells, drawn, strict=True):
        result[group][name] = _with_interval(metrics[name], result[group][name], values)
    return result
