"""Is an arm trained to its end, and what did its training cost?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.ablation import FULL, ArmRecord

RISE = 0.10  # of all that was gained: the most that the second half of the steps may add
LEARNED = 0.05  # above chance: less is nothing learned, however flat
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
        return f"{name} ended {gained:+.3f} from chance"
    if late > RISE * gained:
        return f"{name} gained {late:.3f} of {gained:.3f} in the second half"
    return ""


def _chance(data: Mapping[str, Mapping[str, float]]) -> float:
    """Recall@10 of guessing, on the validation studies."""
    pool = float(data.get("validation", {}).get("images", 0))
    return min(1.0, 10 / pool) if pool else 0.0


@dataclass(frozen=True)
class Cost:
    """What an arm costs, mean over its seeds, and how much more the full arm costs.

    Seconds per step (validation not counted) and peak memory in bytes; `more_seconds` is a share
    of the arm's own seconds, NaN where one of the two was not trained.
    """

    arm: str
    seeds: int
    step_seconds: float
    peak_memory: float
    memory: str
    more_seconds: float
    more_memory: float


def costs(records: Sequence[ArmRecord]) -> list[Cost]:
    """The cost of each arm, the full one first; what is left out costs the difference."""
    arms = list(dict.fromkeys(record.arm for record in records))
    full = _mean_cost(records, FULL)
    out = []
    for arm in arms:
        seconds, memory = _mean_cost(records, arm)
        trained = [r for r in records if r.arm == arm and r.training is not None]
        kinds = sorted({r.training.memory for r in trained if r.training is not None})
        out.append(
            Cost(
                arm=arm,
                seeds=len(trained),
                step_seconds=seconds,
                peak_memory=memory,
                memory=" and ".join(kinds),
                more_seconds=full[0] / seconds - 1 if seconds else math.nan,
                more_memory=full[1] - memory,
            )
        )
    return out


def _mean_cost(records: Sequence[ArmRecord], arm: str) -> tuple[float, float]:
    found = [r.training for r in records if r.arm == arm and r.training is not None]
    if not found:
        return math.nan, math.nan
    seconds = [t.step_seconds / max(t.steps, 1) for t in found]
    return sum(seconds) / len(found), sum(t.peak_memory for t in found) / len(found)
