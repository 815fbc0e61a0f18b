"""A training that is killed at any moment goes on to the bits of one that nobody killed."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lofi.train import Progress, Run
from tests.lofi import killed_training

ROOT = Path(__file__).parents[2]
POINTS = 20


def kill(folder: Path, points: list[int]) -> dict[int, str]:
    """Fate of each training: "killed 9", or the number of its events if it came to its end."""
    command = [sys.executable, killed_training.__file__, str(folder), *map(str, points)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return {int(point): fate for point, fate in (x.split(": ") for x in done.stdout.splitlines())}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{name} {key}": value
        for name in ("model", "best", "checkpoint")
        for key, value in load_file(folder / name / "model.safetensors").items()
    }


def last_checkpoint(folder: Path) -> int:
    """The step of the newest whole checkpoint a killed training left; 0 without one."""
    for name in ("checkpoint", "checkpoint.old"):
        if (folder / name).is_dir():
            step: int = json.loads((folder / name / "progress.json").read_text())["step"]
            return step
    return 0


def resumed(folder: Path, patch: pytest.MonkeyPatch) -> tuple[Progress, int]:
    """The training gone on to its end, and how many steps it still took."""
    taken = []
    step = Run._step
    patch.setattr(Run, "_step", lambda run: (taken.append(1), step(run))[1])
    progress = killed_training.training(folder)
    patch.undo()
    return progress, len(taken)


@pytest.mark.slow
def test_a_training_killed_at_twenty_points_ends_in_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = int(kill(tmp_path, [0])[0])  # no event is number 0
    points = random.Random(20261123).sample(range(1, events + 1), POINTS)
    assert set(kill(tmp_path, points).values()) == {f"killed {signal.SIGKILL.value}"}
    whole, begun = weights(tmp_path / "0"), []
    for point in points:
        folder = tmp_path / str(point)
        kept, done = last_checkpoint(folder), (tmp_path / f"{point}.steps").stat().st_size
        assert done - 1 <= kept <= done, f"event {point}: more than the step at hand was lost"
        progress, taken = resumed(folder, monkeypatch)
        begun.append(progress.sessions[-1]["from_step"])
        assert begun[-1] == kept, f"event {point}"
        assert taken == killed_training.STEPS - kept, f"event {point}: not the missing steps alone"
        found = weights(folder)
        assert found.keys() == whole.keys()
        assert all(torch.equal(found[name], whole[name]) for name in whole), f"event {point}"
        assert [row["step"] for row in progress.history] == [20, 40, 60]
    print(f"{events} events; resumed from steps {sorted(begun)}")
