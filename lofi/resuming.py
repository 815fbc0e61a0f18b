"""Whether a checkpoint may be gone on from."""

import json
from pathlib import Path

from harness.errors import BenchError
from lofi.config import LofiConfig, differing_keys, parse


def refuse_other_settings(last: Path, wanted: LofiConfig) -> None:
    """Do nothing if the run in `last` began with these settings, its schedule aside.

    The schedule may be changed on the way (the training record keeps each session's); nothing else.

    Raises:
        BenchError: something else differs; the settings are named.
    """
    stored = parse(json.loads((last / "config.json").read_text())["settings"], str(last))
    differing = differing_keys(stored, wanted, but="training")
    if differing:
        raise BenchError(
            f"{last} was trained with other settings: {', '.join(differing)}. Expected the "
            "same to resume. Use another --out folder, or the settings it began with."
        )
    began, asked = stored.training.optimizer, wanted.training.optimizer
    if began != asked:
        raise BenchError(
            f"{last} was trained with training.optimizer {began}, and {asked} is asked for. "
            "Expected the same to resume. Use another --out folder, or the optimizer it began with."
        )
