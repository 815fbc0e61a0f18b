"""An arm as a Slurm job of the tests trains it: on the small world, once a file is there."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from harness.ablation import FULL


def run_arm(tell: Callable[[Any], None], order: Any) -> str:
    """What `lofi.ablate_arm.run_arm` does; arms other than the full one wait for $ARM_GO."""
    from lofi.ablate_arm import run_arm as real
    from tests.lofi.conftest import training_set

    folder = order.folder / "world"
    folder.mkdir(parents=True, exist_ok=True)
    made = {split: training_set(folder, split, 12) for split in ("train", "validation")}
    while order.arm.name != FULL and not Path(os.environ["ARM_GO"]).exists():
        threading.Event().wait(0.1)
    with mock.patch("lofi.fit.training_set", lambda _, split, *__, **___: made[split]):
        return real(tell, order)
