"""`accelerate launch` with two processes on a CPU gives the loss curve of one.

The towers have SigLIP's patch embedding. Batch normalization (`stem: convolutions`) takes the
statistics of a process's own pictures, so with it the curves differ as those of two batch sizes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import BenchError
from lofi.data import Batches
from lofi.exchange import average
from tests.lofi import two_processes
from tests.lofi.conftest import make, settings, studies_for

ROOT = Path(__file__).parents[2]
LAUNCH = (
    "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 "
    "--mixed_precision no --dynamo_backend no --main_process_port 0"
)


def launched(folder: Path) -> dict[str, object]:
    command = [sys.executable, "-m", *LAUNCH.split(), two_processes.__file__, str(folder)]
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "curve.json").read_text())


def test_two_launched_processes_give_the_loss_curve_of_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    alone, together = two_processes.training(one), launched(two)
    assert (alone["processes"], together["processes"]) == (1, 2)
    assert len(together["curve"]) == two_processes.STEPS
    for step, (expected, found) in enumerate(
        zip(alone["curve"], together["curve"], strict=True), start=1
    ):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5), f"step {step}"
    assert alone["curve"][-1]["captioning"] < 0.9 * alone["curve"][0]["captioning"]
    models = [load_file(folder / "run" / "model" / "model.safetensors") for folder in (one, two)]
    for name, value in models[0].items():
        assert torch.allclose(models[1][name], value, atol=1e-4), name
    logs = [(folder / "run" / "log.jsonl").read_text().splitlines() for folder in (one, two)]
    assert len(logs[0]) == len(logs[1])  # one process writes


def test_a_gradient_that_only_another_process_has_counts_in_the_mean():
    """This process had no boxed phrase, the other one had: reduced values are twice its half."""
    model = torch.nn.ParameterDict({name: torch.nn.Parameter(torch.ones(2)) for name in "abc"})
    model["a"].grad = torch.tensor([2.0, 4.0])
    told = []

    def reduce(value: torch.Tensor, reduction: str) -> torch.Tensor:
        told.append(value)
        if reduction == "sum":  # who has a gradient: the other one has that of b as well
            return value + torch.tensor([1.0, 1.0, 0.0])
        return (value + torch.tensor([3.0, 0.0, 0.0, 8.0, 6.0])) / 2

    both = SimpleNamespace(num_processes=2, device="cpu", reduce=reduce)
    trained, values = average(model, {"loss": 1.0}, both)
    assert [value is model[name] for value, name in zip(trained, "ab", strict=True)] == [True] * 2
    assert values == {"loss": 2.0}
    assert model["a"].grad.tolist() == [1.0, 2.0]
    assert model["b"].grad.tolist() == [4.0, 3.0]
    assert model["c"].grad is None
    assert told[1].tolist() == [1.0, 2.0, 4.0, 0.0, 0.0]


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    model = make()
    config = settings(training={"batch_size": 5})
    with pytest.raises(BenchError, match="batch_size 5 for 2 processes"):
        Batches(
            studies_for(model),
            config,
            tokenizers=(model.prompts, model.text_tokenizer),
            share=(0, 2),
        )
