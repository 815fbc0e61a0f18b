"""Whether a checkpoint may be gone on from."""

import json
from pathlib import Path

from harness.errors import BenchError
from harness.suite_yaml import dotted
from lofi.config import LofiConfig, parse

# What may be changed on the way: how long, how fast, in which parts, and how often it is looked at.
SCHEDULE = frozenset(
    ("steps", "learning_rate", "final_rate", "warmup", "micro_batch", "activation_checkpointing")
) | {"checkpoint_minutes", "validate_every"}


def refuse_other_settings(last: Path, wanted: LofiConfig) -> None:
    """Do nothing if the run in `last` began with these settings, its schedule aside.

    The schedule may be changed on the way (the training record keeps each session's); nothing else:
    another seed or batch size would be another run under the same record.

    Raises:
        BenchError: something else differs; the settings are named.
    """
    stored = parse(json.loads((last / "config.json").read_text())["settings"], str(last))
    began, asked = (dotted(one.model_dump(mode="json")) for one in (stored, wanted))
    free = {f"training.{name}" for name in SCHEDULE}
    differing = [
        f"{name} {began[name]} (asked for: {asked[name]})"
        for name in began
        if name not in free and began[name] != asked[name]
    ]
    if differing:
        raise BenchError(
            f"{last} was trained with other settings: {', '.join(differing)}. Expected the "
            "same to resume. Use another --out folder, or the settings it began with."
        )
