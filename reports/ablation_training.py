"""Is an arm trained to its end, and what did its training cost?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.ablation import ALL_SESSIONS, FULL, ArmRecord

RISE = 0.10  # of all that was gained: the most that the second half of the steps may add
LEARNED = 0.05  # above chance: an arm with less has hardly begun, however flat its curve
UNDER_TRAINED = "under-trained: direction only"


@dataclass(frozen=True)
class Flatness:
    """Whether the validation curve of an arm is flat, and if not, why."""

    flat: bool
    reason: str = ""


def flatness(record: ArmRecord) -> Flatness:
    """Whether more steps would hardly have changed the arm, by one rule on its validation scores.

    Flat: each validation score (recall@10 in both directions, grounding mIoU, as far as taught) has
    risen above chance by at least 0.05, and at most a tenth of that rise came in the second half of
    the steps. Chance is 10 of the pool for recall@10 and 0 for mIoU. The learning rate falls to
    nothing in every run, so a flat curve says that this schedule was long enough, not that a longer
    one would end in the same place. Without a validation score an arm is not flat.
    """
    if record.training is None:
        return Flatness(False, "not trained")
    rows = record.training.validation
    names = [name for name in (rows[-1] if rows else {}) if is_score(name)]
    if not names:
        return Flatness(False, "no validation score to judge by")
    why = [_rising(name, record) for name in names]
    reasons = [reason for reason in why if reason]
    return Flatness(not reasons, "; ".join(reasons))


def is_score(name: str) -> bool:
    """Whether an entry of the validation curve is a score that rises while an arm learns."""
    return name.endswith("recall@10") or name == "grounding/miou"


def _rising(name: str, record: ArmRecord) -> str:
    """Why the curve of a score is not flat, or ''."""
    training = record.training
    assert training is not None  # `flatness` has looked
    points = {int(row["step"]): row[name] for row in training.validation if name in row}
    halves = [step for step in points if step <= training.steps / 2]
    if not halves:
        return f"{name} was not validated before half of the steps"
    start = _chance(training.data) if name.endswith("recall@10") else 0.0
    half, last = points[max(halves)], points[max(points)]
    gained, late = last - start, last - half
    if gained < LEARNED:
        return f"{name} ended {gained:+.3f} from chance: less than {LEARNED} above chance"
    if late > RISE * gained:
        return f"{name} gained {late:.3f} of {gained:.3f} in the second half"
    return ""


def _chance(data: Mapping[str, Mapping[str, float]]) -> float:
    """Recall@10 of guessing, on the validation studies."""
    pool = float(data.get("validation", {}).get("images", 0))
    return min(1.0, 10 / pool) if pool else 0.0


@dataclass(frozen=True)
class Spread:
    """Seconds per step over the seeds of an arm: mean, least, most; NaN where none was trained."""

    mean: float
    low: float
    high: float
    seeds: int

    def apart(self, other: "Spread") -> bool:
        """Whether the ranges do not overlap; one seed has no range."""
        if min(self.seeds, other.seeds) < 2:
            return False
        return self.low > other.high or self.high < other.low


@dataclass(frozen=True)
class Cost:
    """What an arm costs over its seeds, and how much more the full arm costs.

    Seconds and processor seconds per step (validation not counted), peak memory in bytes.
    `more_time` is a share of the arm's own time, by `judged`. Other work on the machine is in both
    kinds of seconds, in processor seconds by the caches and the memory that are shared; so it is
    NaN where the ranges over seeds overlap or one of the two has fewer than two seeds. Memory is
    NaN where an arm was stopped on the way and only its last session was measured.
    """

    arm: str
    seeds: int
    step_seconds: Spread
    step_processor: Spread
    peak_memory: float
    memory: str
    more_time: float = math.nan
    more_memory: float = math.nan

    @property
    def judged(self) -> Spread:
        """What `more_time` compares: seconds on a GPU, else processor seconds."""
        return self.step_seconds if "cuda" in self.memory.split(" and ") else self.step_processor


def costs(records: Sequence[ArmRecord]) -> list[Cost]:
    """The cost of each arm, the full one first; what is left out costs the difference."""
    full = _cost(FULL, records)
    found = [_cost(arm, records) for arm in dict.fromkeys(record.arm for record in records)]
    return [_beside(one, full) for one in found]


def _beside(own: Cost, full: Cost) -> Cost:
    """The cost with how much more the full arm takes."""
    time = math.nan
    if own.judged.mean and full.judged.apart(own.judged):
        time = full.judged.mean / own.judged.mean - 1
    return replace(own, more_time=time, more_memory=full.peak_memory - own.peak_memory)


def _cost(arm: str, records: Sequence[ArmRecord]) -> Cost:
    trained = [r.training for r in records if r.arm == arm and r.training is not None]
    peaks = [one.peak_memory for one in trained if one.whole_memory]
    return Cost(
        arm=arm,
        seeds=len(trained),
        step_seconds=_spread([one.step_seconds / max(one.steps, 1) for one in trained]),
        step_processor=_spread([one.step_processor / max(one.steps, 1) for one in trained]),
        peak_memory=sum(peaks) / len(peaks) if peaks else math.nan,
        memory=" and ".join(sorted({one.memory.removesuffix(ALL_SESSIONS) for one in trained})),
    )


def _spread(values: Sequence[float]) -> Spread:
    if not values:
        return Spread(math.nan, math.nan, math.nan, 0)
    return Spread(sum(values) / len(values), min(values), max(values), len(values))
