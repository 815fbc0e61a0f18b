"""A small training in one process or several: `two_processes.py FOLDER`, started by a launcher.

The leading process writes FOLDER/curve.json: the losses and the gradient norm of each step.
"""

import json
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from lofi.train import Run, train
from tests.lofi.conftest import make, studies_for

STEPS = 12


def training(folder: Path) -> dict[str, object]:
    """The curve of a training of this process's share, whose model is in `folder/run/model`."""
    accelerator = Accelerator(cpu=True)
    model = make(
        data={"brightness": 0.2, "shift": 0.1},
        training={"steps": STEPS, "batch_size": 6, "learning_rate": 3e-3},
    )
    data = (studies_for(model), studies_for(model, 6, 1))
    run = Run(model, data, folder=folder, say=print, accelerator=accelerator)
    curve = []
    for _ in range(STEPS):
        values, norm = run._step()
        run.progress.step += 1
        curve.append({**values, "norm": norm})
    again = make(training={"steps": 4, "batch_size": 6})  # the whole loop: who writes, who waits
    train(again, *data, folder=folder / "run", say=lambda _: None, accelerator=accelerator)
    out = {"processes": accelerator.num_processes, "curve": curve}
    if accelerator.is_main_process:
        (folder / "curve.json").write_text(json.dumps(out))
    return out


if __name__ == "__main__":
    torch.set_num_threads(1)
    training(Path(sys.argv[1]))
