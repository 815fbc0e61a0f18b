"""A small training, and a driver that kills it: `python killed_training.py ROOT POINT...`.

Each training is forked into ROOT/POINT and kills itself with SIGKILL at its POINT-th event: before
a file or folder is opened for writing, made, moved or removed, or within a step, before or after
the gradients. The driver prints `POINT: killed 9`, or `POINT: EVENTS` if the training ended before;
ROOT/POINT.steps holds one letter for each step whose gradients were computed.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lofi.train import Progress, train
from tests.lofi.conftest import make, studies_for

STEPS = 60
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}


def training(folder: Path) -> Progress:
    """Train to the last step, with a checkpoint after each and a validation after every 20th."""
    model = make(training={"steps": STEPS, "checkpoint_minutes": 0.0, "validate_every": 20})
    studies, held_out = studies_for(model), studies_for(model, 6, 1)
    return train(model, studies, held_out, folder=folder, say=lambda _: None)


def die_at(point: int, folder: Path) -> Callable[[], int]:
    """Kill this process at its `point`-th event; gives the events so far."""
    counter, last = itertools.count(1), [0]

    def event() -> None:
        last[0] = next(counter)
        if last[0] == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(name: str, args: tuple[Any, ...]) -> None:
        written = name == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
        if (written or name in CHANGES) and str(args[0]).startswith(str(folder)):
            event()

    clip = torch.nn.utils.clip_grad_norm_
    steps = os.open(folder / f"{point}.steps", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def clip_or_die(*args: Any, **kwargs: Any) -> Any:
        event()
        norm = clip(*args, **kwargs)
        event()
        os.write(steps, b"x")
        return norm

    sys.addaudithook(audit)
    torch.nn.utils.clip_grad_norm_ = clip_or_die
    return lambda: last[0]


def fork(root: Path, point: int) -> int:
    """How a training ended that was to die at the point: the status of its process."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    events = die_at(point, root)
    training(root / str(point))
    print(f"{point}: {events()}", flush=True)
    os._exit(0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number in map(int, sys.argv[2:]):
        status = fork(Path(sys.argv[1]), number)
        if status:
            print(f"{number}: killed {os.WTERMSIG(status)}", flush=True)
