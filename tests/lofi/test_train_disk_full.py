"""A training whose disk fills up at any of its writes goes on, given room, to the same bits.

The room is taken by the system itself (RLIMIT_FSIZE: no file may grow beyond so many bytes), so the
writers that are not Python's fail as they would.
"""

import os
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lofi.train import Progress, Run, train
from tests.lofi.conftest import make, studies_for

STEPS, FULL_AT = 6, 3


def training(folder: Path) -> Progress:
    model = make(training={"steps": STEPS, "checkpoint_minutes": 0.0, "validate_every": 2})
    data = studies_for(model), studies_for(model, 6, 1)
    return train(model, *data, folder=folder, say=lambda _: None)


def fills_up(folder: Path, room: int) -> bool:
    """Train in a process that from its third checkpoint on has so much room; whether it failed."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    save = Run._save

    def save_with_little_room(run: Run) -> None:
        if run.progress.step >= FULL_AT:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        save(run)

    Run._save = save_with_little_room
    try:
        training(folder)
    except Exception:
        os._exit(3)
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_training_whose_disk_was_full_ends_in_the_same_bits(tmp_path: Path) -> None:
    training(tmp_path / "whole")
    saved = tmp_path / "whole" / "checkpoint"
    files = sorted(path.stat().st_size for path in saved.rglob("*") if path.is_file())
    rooms = sorted({10, files[0] - 1, files[len(files) // 2] - 1, files[-2] - 1, files[-1] - 1})
    whole = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    for room in rooms:
        folder = tmp_path / str(room)
        assert fills_up(folder, room), room
        assert not (folder / "model").exists()
        assert training(folder).sessions[-1]["from_step"] == FULL_AT - 1
        found = load_file(folder / "model" / "model.safetensors")
        assert all(torch.equal(found[name], whole[name]) for name in whole), room
