"""`bench train` and `bench predict` from end to end on a small world."""

import json
from itertools import pairwise

import numpy as np
import PIL.Image
import pytest
import torch
import yaml
from accelerate import Accelerator
from click.testing import CliRunner

from harness.commands.predict import command as predict
from harness.commands.predict import draw, said
from harness.commands.train import command as train
from harness.errors import BenchError
from harness.images import Image
from harness.models import Grounding
from lofi.card import describe
from lofi.checkpoint import from_pretrained
from lofi.fit import Fit, export, fit
from tests.lofi.conftest import SIZE, TINY, make, training_set, world


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A preset file and studies that stand in for the twin."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    made = {split: training_set(tmp_path, split, 9) for split in ("train", "validation")}
    monkeypatch.setattr("lofi.fit.training_set", lambda _, split, *__, **___: made[split])
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({**TINY, "name": "small"}))
    return file


def test_train_leaves_a_directory_that_says_what_it_was_trained_on(small, tmp_path):
    out = tmp_path / "run"
    result = CliRunner().invoke(
        train,
        [str(small), "--out", str(out), "--device", "cpu", "-o", "training.steps=3"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    assert f"bench run suites/retrieval.yaml --models {out / 'best'}" in result.output
    card = describe(str(out / "best"))
    seen = {(one.dataset, one.split, one.modality) for one in card.trained_on}
    assert seen == {("mimic-cxr-phantom", "train", what) for what in ("images", "reports", "boxes")}
    record = json.loads((out / "best" / "training.json").read_text())
    assert record["step"] == 3
    assert record["data"]["source"]["version"] == "phantom 1"
    assert record["data"]["train"]["images"] == 9


@pytest.mark.parametrize(
    ("taught", "suite"), [("grounding", "grounding"), ("captioning", "captioning")]
)
def test_the_suite_that_is_named_at_the_end_asks_for_what_was_taught(
    small, tmp_path, taught, suite
):
    losses = dict.fromkeys(("sigmoid", "captioning", "grounding", "dense_captioning"), 0)
    losses[taught] = 1
    given = [f"-olosses.{name}={weight}" for name, weight in losses.items()]
    more = ["--out", str(tmp_path / "run"), "--device", "cpu", "-o", "training.steps=1"]
    result = CliRunner().invoke(train, [str(small), *more, *given], catch_exceptions=False)
    assert f"bench run suites/{suite}.yaml" in result.output


def test_the_same_command_goes_on_where_it_stopped(small, tmp_path):
    wanted = Fit(str(small), tmp_path / "run", {"training.steps": 2}, device="cpu")
    fit(wanted, say=lambda _: None)
    more = Fit(str(small), tmp_path / "run", {"training.steps": 4}, device="cpu")
    progress = fit(more, say=lambda _: None)
    assert [one["from_step"] for one in progress.sessions] == [0, 2]
    anew = Fit(str(small), tmp_path / "run", {"training.steps": 2}, device="cpu", restart=True)
    assert len(fit(anew, say=lambda _: None).sessions) == 1


def test_another_size_or_device_than_there_is_is_refused(small, tmp_path):
    out = tmp_path / "run"
    fit(Fit(str(small), out, {"training.steps": 2}, device="cpu"), say=lambda _: None)
    larger = {"training.steps": 4, "towers.image_size": 64}
    with pytest.raises(BenchError, match=r"towers\.image_size 32 \(asked for: 64\)"):
        fit(Fit(str(small), out, larger, device="cpu"), say=lambda _: None)
    with pytest.raises(BenchError, match=r"--device tpu-9: found c"):
        fit(Fit(str(small), tmp_path / "b", {"training.steps": 2}, device="tpu-9"), str)


def test_a_trained_model_is_trained_on_with_its_own_parts_words_and_exposure(small, tmp_path):
    first = tmp_path / "first"
    fit(Fit(str(small), first, {"training.steps": 2}, device="cpu"), say=lambda _: None)
    record = json.loads((first / "model" / "training.json").read_text())
    record["trained_on"] = [{"dataset": "elsewhere", "split": "train", "modality": "images"}]
    (first / "model" / "training.json").write_text(json.dumps(record))
    # The preset says 9 tokens; the stored model has 4, and keeps them.
    nine = tmp_path / "nine.yaml"
    nine.write_text(yaml.safe_dump({"extends": str(small), "tokens": {"count": 9}}))
    other = {
        "init": str(first / "model"),
        "losses.sigmoid": 0,
        "training.steps": 1,
        "training.learning_rate": 1e-9,
        "training.weight_decay": 0.0,
    }
    wanted = Fit(str(nine), tmp_path / "second", other, device="cpu")
    fit(wanted, say=lambda _: None)
    one, two = (from_pretrained(folder / "model") for folder in (first, tmp_path / "second"))
    assert two.config.tokens.count == 4
    assert two.config.losses.sigmoid == 0
    assert two.tokenizer.get_vocab() == one.tokenizer.get_vocab()
    for name, value in one.state_dict().items():
        assert torch.allclose(two.state_dict()[name], value, atol=1e-6), name
    seen = {entry.dataset for entry in describe(str(tmp_path / "second" / "model")).trained_on}
    assert seen == {"elsewhere", "mimic-cxr-phantom"}
    longer = {**other, "training.steps": 2}
    again = fit(Fit(str(nine), tmp_path / "second", longer, device="cpu"), say=lambda _: None)
    assert [one["from_step"] for one in again.sessions] == [0, 1]


def test_towers_whose_training_is_undisclosed_leave_it_undisclosed(small, tmp_path):
    make().save_pretrained(tmp_path / "m", record={})
    start = {"towers.pretrained": str(tmp_path / "m"), "training.steps": 1}
    fit(Fit(str(small), tmp_path / "run", start, device="cpu"), say=lambda _: None)
    assert describe(str(tmp_path / "run" / "model")).trained_on is None


def test_another_tracker_of_accelerate_hears_of_each_logged_step(small, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(Accelerator, "init_trackers", lambda *_, config: told.append(config))
    monkeypatch.setattr(Accelerator, "log", lambda _, row, step: told.append((step, row)))
    monkeypatch.setattr("accelerate.accelerator.filter_trackers", lambda *_: ["mine"])
    wanted = Fit(str(small), tmp_path / "run", {"training.steps": 2}, device="cpu", tracker="mine")
    fit(wanted, say=lambda _: None)
    assert told[0]["training.steps"] == 2
    assert {type(value) for value in told[0].values()} <= {int, float, str, bool}
    assert told[1][0] == 2
    assert {"loss/grounding", "samples_per_second"} <= told[1][1].keys()


def test_an_unknown_preset_and_a_malformed_override_say_what_is_known(tmp_path):
    with pytest.raises(BenchError, match="Did you mean 'lofi-tiny'"):
        fit(Fit("lofi-tinny", tmp_path))
    with pytest.raises(BenchError, match=r"found no '='"):
        CliRunner().invoke(train, ["lofi-tiny", "-o", "steps"], catch_exceptions=False)


def test_an_export_is_in_half_precision_and_keeps_the_record(tmp_path):
    make().save_pretrained(tmp_path / "m", record={"step": 7})
    export(tmp_path / "m", tmp_path / "shipped")
    whole, half = (
        (tmp_path / name / "model.safetensors").stat().st_size for name in ("m", "shipped")
    )
    assert half < 0.6 * whole
    assert json.loads((tmp_path / "shipped" / "training.json").read_text()) == {"step": 7}


def test_predict_draws_boxes_and_prints_the_nearest_reports(tmp_path):
    make().save_pretrained(tmp_path / "m", record={})
    film = tmp_path / "film.png"
    PIL.Image.fromarray(world(1)[0][0]).save(film)
    reports = tmp_path / "reports.txt"
    reports.write_text("Left nodule.\nNo effusion.\n\nThe lungs are clear.\n")
    named = ["--model", str(tmp_path / "m"), "--reports", str(reports)]
    result = CliRunner().invoke(
        predict,
        [str(film), "left nodule", "--device", "cpu", "--nearest", "2", *named],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    assert "left nodule: " in result.output
    assert "nearest of 3 reports" in result.output
    with PIL.Image.open(tmp_path / "film-boxes.png") as drawn:
        assert drawn.size == (512, 512)


def test_a_box_is_drawn_where_it_is(tmp_path):
    file = tmp_path / "black.png"
    PIL.Image.fromarray(np.zeros((SIZE, 2 * SIZE), np.uint8)).save(file)
    answer = Grounding(boxes=np.float32([[0.5, 0.25, 0.75, 0.75]]))
    film = np.asarray(draw(Image("black", file), [("", answer)])).astype(int)
    assert film.shape == (256, 512, 3)
    rows, columns = np.nonzero(film.sum(-1))
    assert abs(columns.min() - 256) <= 2
    assert abs(columns.max() - 384) <= 2
    assert abs(rows.min() - 64) <= 2
    assert abs(rows.max() - 192) <= 2


def test_each_phrase_is_named_in_its_color_and_why_it_has_no_box(tmp_path, monkeypatch):
    file = tmp_path / "white.png"
    PIL.Image.fromarray(np.full((600, 800), 255, np.uint8)).save(file)
    lines = []
    text = PIL.ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        PIL.ImageDraw.ImageDraw,
        "text",
        lambda pen, at, line, fill, font: (
            lines.append((line, fill, at[1])) or text(pen, at, line, fill=fill, font=font)
        ),
    )
    answers = [
        ("left effusion", Grounding(boxes=np.float32([[0.5, 0.5, 0.75, 0.75]]))),
        ("mass", Grounding(status="empty")),
        ("large heart", Grounding(status="malformed", raw="[[1,")),
        ("a phrase that goes on " * 20, Grounding(boxes=np.float32([[0.1, 0.5, 0.2, 0.6]]))),
    ]
    film = np.asarray(draw(Image("white", file), answers))
    told = [line for line, _, _ in lines]
    assert told[:3] == ["left effusion", "mass: none", "large heart: unreadable answer"]
    assert told[3].startswith("a phrase that goes on")
    assert told[3].endswith("...")
    assert len({color for _, color, _ in lines}) == 4
    tops = [top for _, _, top in lines]
    assert all(below - above >= 14 for above, below in pairwise(tops))
    assert (film[tops[0] + 12, 8:60] == 0).all(-1).any()  # letters on black
    assert (film[tops[-1] + 60 :, -40:] == 255).all()


def test_an_answer_is_said_in_one_line():
    assert said(Grounding(status="empty")) == "none"
    assert said(Grounding(status="malformed", raw="[[1,")) == "unreadable answer '[[1,'"
