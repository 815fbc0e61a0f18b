"""Location probes: does the model prefer the true text to one with a single thing changed?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from harness.metrics.metric import Metric, mean

CHANGES = ("side", "zone", "finding", "negation", "severity", "counterfactual", "mirror")


@dataclass(frozen=True)
class ProbeOutcomes:
    """Two-way choices: the score of what is true, and of what is not, for one image each.

    `change` says what differs between the two (one of `CHANGES`, or a word of the task's own).
    """

    patients: Int[np.ndarray, " n"]
    change: np.ndarray  # (n,) str
    true_score: Float[np.ndarray, " n"]
    false_score: Float[np.ndarray, " n"]

    def __post_init__(self) -> None:
        """Check the columns.

        Raises:
            ValueError: other lengths, or a score that is NaN or infinite (which side, how many).
        """
        columns = (self.patients, self.change, self.true_score, self.false_score)
        if len({len(column) for column in columns}) > 1:
            raise ValueError(f"probe outcomes: columns of length {[len(c) for c in columns]}")
        for name in ("true_score", "false_score"):
            bad = int((~np.isfinite(getattr(self, name))).sum())
            if bad:
                raise ValueError(f"probe outcomes: {bad} values of {name} are NaN or infinite")


def probe_outcomes(
    *,
    patients: Sequence[str],
    change: Sequence[str],
    true_score: Sequence[float] | np.ndarray,
    false_score: Sequence[float] | np.ndarray,
) -> ProbeOutcomes:
    """The outcomes from ids and scores."""
    return ProbeOutcomes(
        patients=np.unique(np.array(patients, dtype=str), return_inverse=True)[1],
        change=np.array(change, dtype=str),
        true_score=np.asarray(true_score, np.float64),
        false_score=np.asarray(false_score, np.float64),
    )


def _chosen(outcomes: ProbeOutcomes, population: np.ndarray) -> np.ndarray:
    right = outcomes.true_score > outcomes.false_score  # a tie is no choice: wrong
    return np.where(population, right, np.nan)[:, None].astype(np.float64)


def _all(outcomes: ProbeOutcomes) -> np.ndarray:
    return _chosen(outcomes, np.ones(len(outcomes.change), bool))


def _tied(outcomes: ProbeOutcomes) -> np.ndarray:
    return np.asarray((outcomes.true_score == outcomes.false_score)[:, None].astype(np.float64))


def _of(change: str) -> Metric:
    return Metric(
        name=f"accuracy/{change}",
        contribute=lambda outcomes: _chosen(outcomes, outcomes.change == change),
        reduce=mean,
        definition=f"Share of probes ({change} changed) where the true text scores higher; a tie "
        "is wrong, chance is 0.5.",
    )


PROBE_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in [
        Metric(
            "accuracy",
            _all,
            mean,
            "Share of probes where the true text scores higher; a tie is wrong, chance is 0.5.",
        ),
        *map(_of, CHANGES),
        Metric("tied", _tied, mean, "Share of probes where both texts score the same.", False),
    ]
}
