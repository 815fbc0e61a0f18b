"""A training that was killed goes on with other processes, or in other parts, to the same weights.

As in `test_two_processes`, the towers have no batch normalization; the bound is that of sums that
are added in another order. Another batch size would be another training: its losses are over pairs
within a batch. The same batch in smaller parts (`training.micro_batch`) is the same training.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.lofi import resumed_elsewhere
from tests.lofi.test_two_processes import LAUNCH

ROOT = Path(__file__).parents[2]


def run(folder: Path, processes: int, die_after: int = 0, micro: int = 0) -> int:
    """The training in processes of its own; the exit code of the launcher, or of the process."""
    launch = ["-m", *LAUNCH.split()] * (processes > 1)
    command = [sys.executable, *launch, resumed_elsewhere.__file__, str(folder)]
    command += [str(die_after), str(micro)]
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True).returncode


@pytest.mark.slow
def test_a_killed_training_goes_on_with_other_processes_or_parts(tmp_path: Path) -> None:
    resumed_elsewhere.training(tmp_path / "whole")
    whole = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    for first, then, died_at, micro in ((1, 2, 3, 0), (2, 1, 5, 0), (1, 1, 4, 2), (1, 2, 6, 2)):
        folder = tmp_path / f"{first}-{then}-{micro}"
        code = run(folder, first, died_at)
        assert code == -signal.SIGKILL if first == 1 else code != 0
        assert not (folder / "model").exists()
        assert run(folder, then, micro=micro) == 0
        sessions = resumed_elsewhere.training(folder)  # nothing is left to do
        assert [session["from_step"] for session in sessions] == [0, died_at, 8]
        assert [session["settings"]["micro_batch"] for session in sessions] == [0, micro, 0]
        found = load_file(folder / "model" / "model.safetensors")
        for name, value in whole.items():
            assert torch.allclose(found[name], value, atol=1e-4), (folder.name, name)
