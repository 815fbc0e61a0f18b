"""Patient-clustered intervals: all draws of all metrics are one matrix product.

Random numbers come from Philox, a counter-based generator whose raw output NumPy keeps stable, in
blocks of draws of fixed size: a draw depends on (seed, its index, number of patients) only. Sums
are taken on a grid coarse enough to be exact in float64, so that neither the order of summation
nor the machine changes an interval.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


def patient_sums(rows: np.ndarray, patients: np.ndarray, count: int) -> np.ndarray:
    """Column sums per patient and, last, the number of rows, (count, k + 1)."""
    keep = scored(rows)
    columns = np.column_stack([rows[keep], np.ones(int(keep.sum()))])
    sums = np.zeros((count, columns.shape[1]))
    np.add.at(sums, patients[keep], columns)
    return sums


def _general_draws(
    metric: Metric, rows: np.ndarray, patients: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    keep = scored(rows)
    return metric.reduce(rows[keep], np.take(counts, patients[keep], axis=1))


def draw_values(
    cells: list[tuple[Metric, np.ndarray]], patients: Int[np.ndarray, " n"], draws: int, seed: int
) -> Float[np.ndarray, "cells draws"]:
    """The value of each (metric, rows) in each draw, all cells resampled together."""
    codes, index = np.unique(patients, return_inverse=True)
    count = len(codes)
    linear = [c for c, (metric, _) in enumerate(cells) if isinstance(metric.reduce, FromSums)]
    blocks = [patient_sums(cells[c][1], index, count) for c in linear]
    stacked = on_grid(np.column_stack(blocks), count) if blocks else np.zeros((count, 0))
    edges = np.cumsum([0, *(block.shape[1] for block in blocks)])
    values = np.full((len(cells), draws), np.nan)
    for number, counts in enumerate(patient_draws(count, draws, seed)):
        here = slice(number * BLOCK, number * BLOCK + len(counts))
        sums = counts @ stacked
        for position, c in enumerate(linear):
            part = sums[:, edges[position] : edges[position + 1]]
            values[c, here] = cells[c][0].reduce.of_sums(part[:, :-1], part[:, -1])  # type: ignore[attr-defined]
        for c in set(range(len(cells))) - set(linear):
            values[c, here] = _general_draws(*cells[c], index, counts)
    return values


def binomial_bounds(value: float, units: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a proportion that came out at 0 or 1.

    >>> low, high = binomial_bounds(0.0, 20)
    >>> low, round(high, 4)
    (0.0, 0.1684)
    """
    bound = float(((1 - level) / 2) ** (1 / units))
    return (0.0, 1.0 - bound) if value == 0 else (bound, 1.0)


def _interval(
    metric: Metric, rows: np.ndarray, patients: np.ndarray, drawn: np.ndarray
) -> Interval:
    keep = scored(rows)
    persons = len(np.unique(patients[keep]))
    point = value_of_rows(metric, rows)
    base = (int(keep.sum()), persons)
    if not metric.interval:
        return Interval(point, None, None, *base, "no interval: not a sum over patients")
    if not persons:
        return Interval(point, None, None, *base, "nothing to score")
    if persons < MIN_PATIENTS:
        return Interval(point, None, None, *base, f"fewer than {MIN_PATIENTS} patients")
    if metric.bounded and point in (0.0, 1.0):
        note = "exact binomial bound over patients"
        return Interval(point, *binomial_bounds(point, persons), *base, note)
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return Interval(point, None, None, *base, "no draw could be scored")
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(point, float(low), float(high), *base)


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
    patients = np.asarray(outcomes.patients)
    masks = groups if groups is not None else {"all": np.ones(len(patients), bool)}
    names, cells = [], []
    for name, metric in metrics.items():
        rows = contributions(metric, outcomes)
        for group, mask in masks.items():
            names.append((group, name))
            cells.append((metric, np.where(mask[:, None], rows, np.nan)))
    with_interval = [c for c, (metric, _) in enumerate(cells) if metric.interval]
    drawn = np.full((len(cells), draws), np.nan)
    drawn[with_interval] = draw_values([cells[c] for c in with_interval], patients, draws, seed)
    result: dict[str, dict[str, Interval]] = {group: {} for group in masks}
    for (group, name), (metric, rows), values in zip(names, cells, drawn, strict=True):
        result[group][name] = _interval(metric, rows, patients, values)
    return result
