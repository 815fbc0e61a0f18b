"""What the full arm has more than another, on one number: difference, interval, verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.metrics.bootstrap import MIN_PATIENTS
from harness.metrics.compare import permutation_p
from harness.metrics.metric import FromSums, Metric, value_of_rows
from harness.metrics.seeds import SeedInterval, pseudo_values, seed_interval
from reports.ablation_training import UNDER_TRAINED
from reports.definitions import PRIMARY
from reports.paired import Question

PERMUTATIONS = 10_000
NOT_TAUGHT = "not taught"
BETTER, WORSE = "full better", "arm better"

# The one number of each table that is drawn and stands in the overview; retrieval has two.
HEADLINES = {
    "retrieval": (("image_to_text", "recall@10"), ("text_to_image", "recall@10")),
    "probe": (("", "accuracy"),),
    "grounding": (("", "miou"),),
    "captioning": (("", "finding_f1"),),
}


@dataclass(frozen=True)
class Place:
    """Which weights were asked what: the table that a number stands in."""

    measure: str
    share: int
    task: str
    dataset: str
    split: str
    cohort: str
    text_policy: str
    phantom: bool = True


@dataclass(frozen=True)
class Worth:
    """What the full arm has more than another, on one number.

    Attributes:
        full: mean over seeds; None where the full arm has no such number.
        without: the other arm's; None likewise.
        interval: of full - without over seeds and patients; None where it cannot be given.
        p: two-sided, over patients, for these checkpoints only; None where not asked.
        adjusted: p after Holm's correction over the arms, on the primary metric only.
        status: "ok", "not_taught", "failed" or "no_interval".
        note: why there is no difference or no interval.
        seeds: that the numbers are of; 0 where a seed failed, which then is named in `note`.
        under_trained: an arm of the pair still rises, so only the direction may be read.
    """

    arm: str
    place: Place
    question: Question
    group: str = "all"
    full: float | None = None
    without: float | None = None
    difference: float | None = None
    interval: SeedInterval | None = None
    p: float | None = None
    adjusted: float | None = None
    n: int = 0
    seeds: int = 0
    patients: int = 0
    status: str = "ok"
    note: str = ""
    under_trained: bool = False
    higher_is_better: bool = True

    @property
    def primary(self) -> bool:
        """Whether this is the number a table is read by first."""
        named = (self.question.direction, self.question.metric)
        return self.group == "all" and named == PRIMARY.get(self.place.task)

    @property
    def verdict(self) -> str:
        """What may be said: full better, arm better, not told apart, or why nothing may."""
        if self.status == "not_taught":
            return NOT_TAUGHT
        if self.difference is None:
            return self.note or self.status
        told = self._told(self.difference)
        return f"{UNDER_TRAINED} ({told})" if self.under_trained else told

    def _told(self, difference: float) -> str:
        found = self.interval
        if found is None or not math.isfinite(found.low):
            return self.note or "no interval"
        if found.low <= 0 <= found.high:
            return "not told apart"
        return BETTER if (difference > 0) == self.higher_is_better else WORSE


def interval_of(
    metric: Metric,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    patients: np.ndarray,
) -> tuple[SeedInterval | None, str]:
    """The t interval of the metric's mean difference over seeds and patients, or why there is none.

    The patients' shares are jackknife pseudo-values; the interval stands around the plain
    difference of the metric, so that the columns of a table add up.

    Args:
        metric: reduced by sums.
        pairs: per seed the rows of the full arm and of the other, all scored, aligned.
        patients: (n,) codes.
    """
    persons = len(np.unique(patients))
    if persons < MIN_PATIENTS:
        return None, f"fewer than {MIN_PATIENTS} patients"
    if not isinstance(metric.reduce, FromSums) or not metric.interval:
        return None, "no interval: not a sum over patients"
    apart = [
        pseudo_values(metric, one, patients) - pseudo_values(metric, other, patients)
        for one, other in pairs
    ]
    if not np.isfinite(apart).all():
        return None, "undefined without one of its patients"
    if not np.any(apart):
        return None, "no outcome differs"
    found = seed_interval(np.stack(apart))
    if found.seeds == 1:
        return replace(found, value=plain_difference(metric, pairs)), "one seed: no interval"
    value = plain_difference(metric, pairs)
    shift = value - found.value
    return replace(found, value=value, low=found.low + shift, high=found.high + shift), ""


def plain_difference(metric: Metric, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Mean over seeds of the metric of the full arm minus that of the other."""
    apart = [value_of_rows(metric, one) - value_of_rows(metric, other) for one, other in pairs]
    return float(np.mean(apart))


def checkpoints_p(
    metric: Metric,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    patients: np.ndarray,
    draws: int = PERMUTATIONS,
) -> float:
    """The permutation p over patients for these trained models, all seeds swapped together."""
    one, other = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    return permutation_p(metric, (one, other), np.tile(patients, len(pairs)), draws=draws)
