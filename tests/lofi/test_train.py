"""Training: it learns, resumes to the same bits after a kill, and stops where it must."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import BenchError
from lofi.schedule import optimizer_of, rate
from lofi.train import train
from tests.lofi.conftest import make, settings, studies_for

ROOT = Path(__file__).parents[2]


def silent(_: str) -> None:
    """Says nothing."""


def run(folder: Path, **training):
    model = make(training=training)
    studies = studies_for(model)
    progress = train(model, studies, studies_for(model, 6, 1), folder=folder, say=silent)
    return model, progress


def test_the_rate_warms_up_peaks_and_ends_at_its_final_share():
    training = settings(
        training={"steps": 110, "warmup": 10, "learning_rate": 1.0, "final_rate": 0.1}
    ).training
    assert rate(0, training) == pytest.approx(0.1)
    assert rate(9, training) == pytest.approx(1.0)
    assert rate(60, training) == pytest.approx(0.55)  # half way down the cosine
    assert rate(110, training) == pytest.approx(0.1)


def test_norms_biases_and_the_scale_are_not_decayed():
    model = make()
    decayed, spared = optimizer_of(model, model.config.training).param_groups
    assert decayed["weight_decay"] > 0
    assert spared["weight_decay"] == 0
    assert any(p is model.towers.logit_scale for p in spared["params"])
    assert all(p.ndim >= 2 for p in decayed["params"])


def test_muon_takes_the_matrices_between_vectors_and_adamw_the_rest():
    model = make(training={"optimizer": "muon"}, towers={"stem": "convolutions"})
    adamw, muon = optimizer_of(model, model.config.training).optimizers
    both = optimizer_of(model, model.config.training)
    both.set_rate(0.01)
    assert [group["lr"] for group in both.param_groups] == [0.01, 0.01, 0.05]
    turned = {id(p) for group in muon.param_groups for p in group["params"]}
    rest = {id(p) for group in adamw.param_groups for p in group["params"]}
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert turned | rest == trained
    assert not turned & rest
    assert id(model.decoder.model.layers[0].mlp.up_proj.weight) in turned
    assert id(model.towers.text_model.encoder.layers[0].self_attn.q_proj.weight) in turned
    for table in (
        model.decoder.get_input_embeddings().weight,  # tied to the layer that gives logits
        model.towers.vision_model.embeddings.position_embedding.weight,
        model.towers.vision_model.head.probe,
        model.pooling.probe,
        model.pooling.in_weight,
    ):
        assert id(table) in rest


def test_a_muon_run_goes_on_to_the_same_bits(tmp_path):
    muon = {"optimizer": "muon", "validate_every": 1000}
    run(tmp_path / "two", steps=6, **muon, final_rate=1.0)
    run(tmp_path / "two", steps=10, **muon, final_rate=1.0)
    run(tmp_path / "one", steps=10, **muon, final_rate=1.0)
    two, one = (load_file(tmp_path / n / "model" / "model.safetensors") for n in ("two", "one"))
    assert all(torch.equal(two[name], one[name]) for name in one)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_it_learns_its_small_world(tmp_path, optimizer):
    _, progress = run(
        tmp_path, steps=60, learning_rate=3e-3, validate_every=60, optimizer=optimizer
    )
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [row for row in rows if "loss/captioning" in row]
    assert losses[-1]["loss/captioning"] < 0.6 * losses[0]["loss/captioning"]
    assert losses[-1]["loss/grounding"] < 0.8 * losses[0]["loss/grounding"]
    assert 0 <= progress.history[-1]["grounding/miou"] <= 1
    assert (tmp_path / "best" / "training.json").is_file()


SCRIPT = """
import sys
from pathlib import Path
from tests.lofi.test_train import run
run(Path(sys.argv[1]), steps=100, checkpoint_minutes=0.0, validate_every=1000)
"""


def test_fifty_steps_a_kill_and_fifty_more_end_in_the_same_bits_as_a_hundred(tmp_path):
    # A checkpoint after every step, so that the kill strikes in the midst of writing, too.
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / "killed")], env=env)
    file = tmp_path / "killed" / "checkpoint" / "progress.json"
    while process.poll() is None and _step_of(file) < 50:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 50 <= _step_of(file) < 100
    _, progress = run(tmp_path / "killed", steps=100, validate_every=1000)
    assert len(progress.sessions) == 2
    run(tmp_path / "whole", steps=100, validate_every=1000)
    killed = load_file(tmp_path / "killed" / "model" / "model.safetensors")
    whole = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    assert killed.keys() == whole.keys()
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


def _step_of(file: Path) -> int:
    try:
        return int(json.loads(file.read_text())["step"])
    except (OSError, ValueError):
        return 0


def test_a_loss_that_is_not_finite_stops_with_the_last_good_checkpoint(tmp_path):
    run(tmp_path, steps=4)
    model = make(training={"steps": 8})
    studies = studies_for(model)
    original = model.image_tokens
    model.image_tokens = lambda patches: original(patches) * math.nan
    with pytest.raises(BenchError, match=r"step 5.*not finite.*checkpoint") as caught:
        train(model, studies, studies, folder=tmp_path, say=silent)
    assert str(tmp_path / "checkpoint") in str(caught.value)
    stored = load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in stored.values())


def test_a_broken_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    run(tmp_path, steps=2)
    before = (tmp_path / "checkpoint" / "progress.json").read_text()
    monkeypatch.setattr(torch, "save", _fail)
    with pytest.raises(OSError, match="disk full"):
        run(tmp_path, steps=4, checkpoint_minutes=0.0)
    assert (tmp_path / "checkpoint" / "progress.json").read_text() == before


def _fail(*_args, **_options):
    raise OSError("disk full")
