"""Is an arm trained to its end, and what did its training cost?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.ablation import ALL_SESSIONS, FULL, ArmRecord

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
        return f"{name} ended {gained:+.3f} from chance: nothing learned"
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

    Seconds and processor seconds per step (validation not counted), peak memory in bytes.
    `more_time` is a share of the arm's own: of its seconds on a GPU, else of its processor seconds,
    which other work on the machine hardly moves. NaN where one of the two was not trained; memory
    also where an arm was stopped on the way and only its last session was measured.
    """

    arm: str
    seeds: int
    step_seconds: float
    step_processor: float
    peak_memory: float
    memory: str
    more_time: float
    more_memory: float


def costs(records: Sequence[ArmRecord]) -> list[Cost]:
    """The cost of each arm, the full one first; what is left out costs the difference."""
    full = _mean_cost(records, FULL)
    return [_cost(arm, records, full) for arm in dict.fromkeys(record.arm for record in records)]


def _cost(arm: str, records: Sequence[ArmRecord], full: tuple[float, float, float]) -> Cost:
    seconds, processor, memory = _mean_cost(records, arm)
    trained = [r.training for r in records if r.arm == arm and r.training is not None]
    kinds = sorted({one.memory.removesuffix(ALL_SESSIONS) for one in trained})
    on_gpu = "cuda" in kinds
    own, whole = (seconds, full[0]) if on_gpu else (processor, full[1])
    return Cost(
        arm=arm,
        seeds=len(trained),
        step_seconds=seconds,
        step_processor=processor,
        peak_memory=memory,
        memory=" and ".join(kinds),
        more_time=whole / own - 1 if own else math.nan,
        more_memory=full[2] - memory,
    )


def _mean_cost(records: Sequence[ArmRecord], arm: str) -> tuple[float, float, float]:
    found = [r.training for r in records if r.arm == arm and r.training is not None]
    if not found:
        return math.nan, math.nan, math.nan
    rows = [(t.step_seconds / max(t.steps, 1), t.step_processor / max(t.steps, 1)) for t in found]
    seconds, processor = (sum(column) / len(found) for column in zip(*rows, strict=True))
    peaks = [t.peak_memory for t in found if t.whole_memory]
    return seconds, processor, sum(peaks) / len(peaks) if peaks else math.nan
