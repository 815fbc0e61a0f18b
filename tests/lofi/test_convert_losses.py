"""What a converted checkpoint is asked: only what its losses taught, as it shows or one says."""

import json

import pytest
from click.testing import CliRunner

from harness.commands.convert import command
from harness.errors import BenchError
from harness.models import NotScorable
from lofi.adapter import load
from lofi.config import LOSSES
from lofi.convert import Released, read_released
from lofi.convert_directory import shown_losses
from tests.lofi.test_convert import base_models, changed, released


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_models(tmp_path_factory.mktemp("base"))


MEDG = {"medg_dir": "./data", "dataset": "medg", "concat_dataset": "mimic"}


def test_a_medg_checkpoint_is_not_asked_what_its_trainer_does_not_teach(base, tmp_path):
    file = changed(base, tmp_path / "last.pt", lambda s: s["args"].update(MEDG))
    out = tmp_path / "out"
    result = CliRunner().invoke(command, [str(file), str(out)], catch_exceptions=False)
    last = result.stdout.splitlines()[-1]
    assert "Taught grounding, dense-captioning (its args are LoFi-MedG's" in last
    assert f"bench run suites/grounding.yaml --models {out}" in last
    assert "retrieval" not in last
    stored = json.loads((out / "config.json").read_text())["settings"]["losses"]
    assert {name for name, weight in stored.items() if weight} == {"grounding", "dense_captioning"}
    assert "LoFi-MedG" in json.loads((out / "training.json").read_text())["losses_from"]
    model = load(checkpoint=str(out))
    with pytest.raises(NotScorable, match="not taught: embeddings"):
        model.embed_texts(["left effusion"])
    with pytest.raises(NotScorable, match="not taught: reports"):
        model.caption([])


def test_losses_that_are_named_stand_above_what_the_file_shows(base, tmp_path):
    file = changed(base, tmp_path / "last.pt", lambda s: s["args"].update(MEDG))
    arguments = [str(file), str(tmp_path / "out"), "--losses", "captioning,sigmoid"]
    last = CliRunner().invoke(command, arguments, catch_exceptions=False).stdout.splitlines()[-1]
    assert "Taught sigmoid, captioning (as --losses says)" in last
    assert "suites/retrieval.yaml" in last
    assert "suites/captioning.yaml" in last
    assert "grounding.yaml" not in last


def test_an_unknown_loss_is_answered_with_the_nearest_before_anything_is_read(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"")
    arguments = [str(tmp_path / "last.pt"), str(tmp_path / "out"), "--losses", "sigmoid,grouding"]
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, BenchError)
    assert "--losses: unknown loss 'grouding'. Did you mean 'grounding'?" in str(result.exception)


@pytest.mark.parametrize(
    ("args", "losses"),
    [
        ({}, LOSSES),
        ({"dataset": "mimic"}, LOSSES),  # LoFi reads MIMIC-CXR too, for all four
        (MEDG, LOSSES[2:]),
        ({**MEDG, "dataset": "padchest"}, LOSSES[2:]),
        ({**MEDG, "dataset": "padchest", "concat_dataset": ""}, ("grounding",)),
    ],
)
def test_the_losses_a_file_shows(args, losses):
    assert shown_losses(Released({}, {}, {}, {}, args))[0] == losses


def test_a_file_trained_on_questions_alone_asks_what_it_was_taught_before():
    args = {"medg_dir": "./data", "dataset": "slake"}
    with pytest.raises(BenchError, match=r"'slake', whose answers teach none .*--losses"):
        shown_losses(Released({}, {}, {}, {}, args))


def test_a_text_tower_that_no_gradient_reached_was_taught_no_sigmoid_loss(base, tmp_path):
    def still(stored):
        for name, value in stored["state_dict"].items():
            if name.startswith("text_model") and name.endswith("lora_b"):
                value.zero_()

    assert shown_losses(read_released(changed(base, tmp_path / "a.pt", still)))[0] == LOSSES[1:]
    released(base, tmp_path / "b.pt")
    assert shown_losses(read_released(tmp_path / "b.pt"))[0] == LOSSES
