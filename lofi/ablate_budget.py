"""How many steps fit into a budget of time: measured on the full arm before any arm is trained."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BenchError
from harness.isolate import run_isolated
from lofi.ablate import Arm
from lofi.fit import Fit, fit

TRAINING_SHARE = 0.5  # of an arm's time; the rest is for questions and the frozen-encoder decoder
FIRST = 12  # steps that are timed
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Speed:
    """Seconds of one step of the full arm, and of reading the data before the first."""

    per_step: float
    start: float


def seconds_of(budget: str) -> float:
    """The seconds of `20m`, `90s` or `8h`.

    >>> seconds_of("20m"), seconds_of("1.5h")
    (1200.0, 5400.0)

    Raises:
        BenchError: something else.
    """
    number, unit = budget[:-1], budget[-1:]
    try:
        seconds = float(number) * UNITS[unit]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BenchError(f"--budget {budget!r}: expected a time such as 90s, 20m or 8h.")
    return seconds


def steps_within(seconds: float, speed: Speed, *, arms: int, at_a_time: int = 1) -> int:
    """The steps that each of `arms` can take, all of them within `seconds`.

    >>> steps_within(1200, Speed(per_step=1.0, start=20.0), arms=2)
    290

    Raises:
        BenchError: not even ten.
    """
    for_one = seconds * min(at_a_time, arms) / arms
    steps = int(TRAINING_SHARE * (for_one - speed.start) / speed.per_step)
    if steps < 10:
        raise BenchError(
            f"--budget: {seconds:.0f} s for {arms} arms leave {max(steps, 0)} steps to each, at "
            f"{speed.per_step:.2f} s a step and {speed.start:.0f} s to start. Expected 10 or more. "
            "Take a longer budget, fewer seeds or arms, or a smaller preset."
        )
    return steps


def measure(arm: Arm, roots: Mapping[str, Path], *, limit: int | None, device: str) -> Speed:
    """The speed of the full arm, timed in a process of its own over a dozen steps.

    Raises:
        BenchError: it cannot be trained at all, and why.
    """
    settings = arm.config.model_dump(mode="json")
    ended = run_isolated(timed, settings, dict(roots), limit, device)
    if ended.status != "ok":
        raise BenchError(f"--budget: timing the full arm: {ended.status}: {ended.reason}")
    per_step, start = ended.value
    return Speed(per_step, start)


def timed(
    tell: Callable[[Any], None],
    settings: Mapping[str, Any],
    roots: Mapping[str, Path],
    limit: int | None,
    device: str,
) -> tuple[float, float]:
    """Seconds per step and seconds of everything else, of a run that is thrown away."""
    import yaml

    del tell
    brief = {"steps": FIRST, "validate_every": FIRST, "validation_studies": 8}
    training = {**settings["training"], **brief}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "settings.yaml"
        file.write_text(yaml.safe_dump({**settings, "training": training}), "utf-8")
        begun = time.monotonic()
        wanted = Fit(str(file), Path(folder) / "run", roots=roots, limit=limit, device=device)
        progress = fit(wanted, say=_silent)
        whole = time.monotonic() - begun
    return progress.step_seconds / FIRST, whole - progress.step_seconds


def _silent(text: str) -> None:
    del text
