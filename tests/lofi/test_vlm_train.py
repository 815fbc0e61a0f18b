"""Training of the small multi-image model: resuming, what it writes, and the shipped form."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from harness.errors import BenchError
from harness.images import Image
from harness.models import Demonstration, InContextGrounder, Query
from harness.registry import find_model, shipped_checkpoints
from harness.suite_schema import ModelReference
from lofi.vlm.build import build, lofi_folder
from lofi.vlm.save import export_vlm, load_vlm
from lofi.vlm.train import VlmRun
from tests.lofi.vlm_world import TOWER, config_of, maps_of, pool_of


def run_in(folder: Path, lofi, *, steps: int) -> VlmRun:
    config = config_of()
    training = config.training.model_copy(update={"steps": 4})
    config = config.model_copy(update={"training": training})
    run = VlmRun(
        build(lofi, TOWER, extra_layers=1),
        config,
        (pool_of(), pool_of(15, 1)),
        folder=folder,
        maps=maps_of(),
        say=lambda _: None,
    )
    run._resume()
    while run.progress.step < steps:
        run._step()
        run.progress.step += 1
    run._save()
    return run


def test_a_training_that_was_stopped_ends_with_the_same_bits(tmp_path, lofi) -> None:
    whole = run_in(tmp_path / "whole", lofi, steps=4)
    run_in(tmp_path / "parts", lofi, steps=2)
    resumed = run_in(tmp_path / "parts", lofi, steps=4)
    assert [one["from_step"] for one in resumed.progress.sessions] == [0, 2]
    for ours, theirs in zip(
        whole.trained.state_dict().values(), resumed.trained.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_other_settings_do_not_take_up_a_training(tmp_path, lofi) -> None:
    run_in(tmp_path, lofi, steps=1)
    run = VlmRun(
        build(lofi, TOWER, extra_layers=1),
        config_of(hints={**config_of().hints.model_dump(), "weight": 0.0}),
        (pool_of(), pool_of()),
        folder=tmp_path,
        maps=maps_of(),
    )
    with pytest.raises(BenchError, match="other settings: hints"):
        run._resume()


def test_training_writes_best_model_and_log(tmp_path, lofi) -> None:
    run = VlmRun(
        build(lofi, TOWER, extra_layers=1),
        config_of(training={**config_of().training.model_dump(), "steps": 2}),
        (pool_of(), pool_of(15, 1)),
        folder=tmp_path,
        maps=maps_of(),
        say=lambda _: None,
    )
    progress = run.to_the_end()
    wanted = {"made-up/0", "made-up/1", "made-up/4", "made-up/other", "familiar/0", "copy"}
    assert wanted <= set(progress.history[-1])
    assert {"best", "model", "checkpoint", "log.jsonl"} <= {f.name for f in tmp_path.iterdir()}
    record = json.loads((tmp_path / "best/training.json").read_text())
    assert record["step"] == 2


def test_the_shipped_form_is_small_and_runs_through_the_family_of_medgemma(tmp_path, lofi) -> None:
    run_in(tmp_path, lofi, steps=1)
    export_vlm(tmp_path / "checkpoint", tmp_path / "shipped")
    assert load_vlm(tmp_path / "shipped")[0].config.model_type == "gemma3"
    model = find_model(ModelReference(name=str(tmp_path / "shipped"))).load("cpu")
    assert isinstance(model, InContextGrounder)
    assert model.vlm.rules.trained_examples == 2  # conversations of three turns
    file = tmp_path / "film.png"
    PIL.Image.fromarray(np.full((40, 60), 90, np.uint8)).save(file)
    film = Image("film", file)
    example = Demonstration(film, "zorvit", np.float32([[0.1, 0.1, 0.5, 0.5]]))
    alone, after = model.ground([Query(film, "zorvit")])[0], None
    after = model.ground_with([Query(film, "zorvit")], [[example, example]])[0]
    assert alone.demonstrations == ()
    assert after.demonstrations == ("film", "film")


def test_the_shipped_record_names_no_folder_of_a_machine(tmp_path, lofi, monkeypatch) -> None:
    run_in(tmp_path, lofi, steps=1)
    record = json.loads((tmp_path / "checkpoint/training.json").read_text())
    for start, shown in {
        str(tmp_path / "runs/a/checkpoint"): "runs/a/checkpoint",
        "/home/ada/lofi/best": "lofi/best",
        "lofi/checkpoints/lofi-tiny": "lofi/checkpoints/lofi-tiny",
        "": "",
    }.items():
        record["settings"]["init"] = start
        (tmp_path / "checkpoint/training.json").write_text(json.dumps(record))
        monkeypatch.chdir(tmp_path)
        export_vlm(tmp_path / "checkpoint", tmp_path / "shipped")
        shipped = json.loads((tmp_path / "shipped/training.json").read_text())
        assert shipped["settings"]["init"] == shown


def test_hints_deeper_than_the_decoder_are_refused(tmp_path, lofi) -> None:
    layers = lofi.decoder.config.num_hidden_layers + 1
    hints = {**config_of().hints.model_dump(), "where_layer": layers + 1}
    with pytest.raises(BenchError, match=f"layer {layers + 1} is read, the decoder has {layers}"):
        VlmRun(
            build(lofi, TOWER, extra_layers=1),
            config_of(hints=hints),
            (pool_of(), pool_of()),
            folder=tmp_path,
            maps=maps_of(),
        )


def test_a_shipped_lofi_is_meant_by_its_name_and_any_other_by_its_folder(tmp_path) -> None:
    assert lofi_folder("lofi-tiny") == shipped_checkpoints()["lofi-tiny"]
    assert lofi_folder(str(tmp_path)) == tmp_path
