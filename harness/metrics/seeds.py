"""Is a loss worth something? Differences between arms trained from the same seeds.

With few seeds the spread between them decides, and resampling three values tells little about it:
a hierarchical bootstrap over three seeds covers about 74 %, not 95 %. A t interval with the
degrees of freedom that the data carry is honest.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from harness.metrics.bootstrap import LEVEL, patient_sums
from harness.metrics.compare import smallest_detectable
from harness.metrics.metric import FromSums, Metric, scored


@dataclass(frozen=True)
class SeedInterval:
    """A mean difference over seeds with its 95 % t interval.

    Attributes:
        value: mean over seeds of the paired difference.
        low: lower end; -inf with a single seed.
        high: upper end.
        df: Satterthwaite's degrees of freedom.
        seeds: training seeds.
        patients: test patients.
        seed_variance: estimated variance between seeds.
        patient_variance: estimated variance between patients.
        detectable: the smallest true difference found with 80 % power by a study of this size.
    """

    value: float
    low: float
    high: float
    df: float
    seeds: int
    patients: int
    seed_variance: float
    patient_variance: float
    detectable: float


def pseudo_values(
    metric: Metric, rows: Float[np.ndarray, "n k"], patients: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " p"]:
    """What each patient adds to a metric: the jackknife's P * all - (P - 1) * without the patient.

    Patients in the order of their codes. For a mean with one outcome per patient these are the
    outcomes themselves.

    Raises:
        ValueError: the metric is not a function of sums (a median).
    """
    if not isinstance(metric.reduce, FromSums):
        raise ValueError(f"{metric.name} has no pseudo-values: it is not a function of sums")
    codes = np.unique(patients, return_inverse=True)[1]
    keep = scored(rows)
    codes = np.unique(codes[keep], return_inverse=True)[1]
    count = int(codes.max(initial=-1)) + 1
    sums = patient_sums(metric.reduce, rows[keep], codes, count)
    every = sums.sum(axis=0, keepdims=True)
    whole = metric.reduce.of_sums(every[:, :-1], every[:, -1])
    rest = every - sums
    return np.asarray(
        count * whole - (count - 1) * metric.reduce.of_sums(rest[:, :-1], rest[:, -1])
    )


def seed_interval(differences: Float[np.ndarray, "seeds patients"]) -> SeedInterval:
    """The t interval of a mean over seeds and patients, both random.

    Two-way layout without replication: the variance of the grand mean is (MS_seed + MS_patient -
    MS_rest) / (seeds * patients), its degrees of freedom are Satterthwaite's. A negative estimate
    of the patient component counts as 0. Never narrower than the t interval of the seeds alone, nor
    than that of the patients with these seeds: where seeds dominate, Satterthwaite's promises too
    much (92.8 % in simulation), and three seeds that happen to agree more than their patients allow
    would otherwise make a difference of nothing certain.

    Args:
        differences: per seed and patient, e.g. `pseudo_values` of one arm minus the other's.

    Source: Dorfman, Berbaum and Metz (1992) analyse readers and cases in the same way.

    Raises:
        ValueError: fewer than two patients, or a value that is not finite.
    """
    seeds, patients = differences.shape
    if patients < 2 or not seeds or not np.isfinite(differences).all():
        raise ValueError(f"{seeds} seeds x {patients} patients, or a value that is not finite")
    value = float(differences.mean())
    if seeds == 1:
        spread, nan = float(differences.var(ddof=1)), math.nan
        return SeedInterval(value, -math.inf, math.inf, nan, 1, patients, nan, spread, nan)
    ms_seed, ms_patient, ms_rest = squares = _mean_squares(differences)
    extra = max(ms_patient - ms_rest, 0.0)
    df = _satterthwaite(squares, seeds, patients)
    # Standard error and degrees of freedom: of both, of the seeds alone, of the patients alone.
    bounds = [
        (math.sqrt(square / differences.size), freedom)
        for square, freedom in (
            (ms_seed + extra, df),
            (ms_seed, float(seeds - 1)),
            (max(ms_patient, ms_rest), float(patients - 1)),
        )
    ]
    half = max(_half(*bound) for bound in bounds)
    return SeedInterval(
        value,
        value - half,
        value + half,
        df,
        seeds,
        patients,
        seed_variance=max(ms_seed - ms_rest, 0.0) / patients,
        patient_variance=extra / seeds,
        detectable=max(smallest_detectable(*bound) for bound in bounds),
    )


def _mean_squares(differences: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of seeds, of patients and of the rest."""
    seeds, patients = differences.shape
    by_seed, by_patient = differences.mean(axis=1), differences.mean(axis=0)
    rest = differences - by_seed[:, None] - by_patient[None] + differences.mean()
    return (
        float(patients * by_seed.var(ddof=1)),
        float(seeds * by_patient.var(ddof=1)),
        float((rest**2).sum() / ((seeds - 1) * (patients - 1))),
    )


def _half(error: float, df: float) -> float:
    return float(stats.t.ppf((1 + LEVEL) / 2, df)) * error


def _satterthwaite(squares: tuple[float, float, float], seeds: int, patients: int) -> float:
    ms_seed, ms_patient, ms_rest = squares
    total = ms_seed + max(ms_patient - ms_rest, 0.0)
    if total == 0:
        return float(seeds - 1)
    parts = ms_seed**2 / (seeds - 1)
    if ms_patient > ms_rest:
        parts += ms_patient**2 / (patients - 1) + ms_rest**2 / ((seeds - 1) * (patients - 1))
    return max(float(total**2 / parts), float(seeds - 1)) if parts else float(seeds - 1)
