"""A small training in one process or several, which may kill itself: FOLDER STEP MICRO.

Every process of it dies by SIGKILL right after the checkpoint of STEP; 0 is to the end.
MICRO samples go through the model at a time; 0 is all of the batch.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from lofi.train import Run, train
from tests.lofi.conftest import make, studies_for

STEPS = 8


def training(folder: Path, die_after: int = 0, micro: int = 0) -> list[dict[str, Any]]:
    """Train on, a checkpoint after each step; the sessions it took."""
    wanted = {"steps": STEPS, "batch_size": 6, "checkpoint_minutes": 0.0, "micro_batch": micro}
    model = make(training=wanted)
    data = studies_for(model), studies_for(model, 6, 1)
    accelerator = Accelerator(cpu=True)
    save = Run._save

    def save_and_die(run: Run) -> None:
        save(run)
        if run.progress.step == die_after:
            accelerator.wait_for_everyone()
            os.kill(os.getpid(), signal.SIGKILL)

    Run._save = save_and_die
    try:
        found = train(model, *data, folder=folder, say=lambda _: None, accelerator=accelerator)
    finally:
        Run._save = save
    return found.sessions


if __name__ == "__main__":
    torch.set_num_threads(1)
    training(Path(sys.argv[1]), *map(int, sys.argv[2:]))
