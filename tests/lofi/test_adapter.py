"""The adapter keeps the harness's promises: protocols, frames, malformed answers, not taught."""

import json

import numpy as np
import PIL.Image
import pytest
import torch

from harness.images import Image
from harness.models import (
    Captioner,
    EmbeddingModel,
    GroundingModel,
    NotScorable,
    Query,
    TokenCounter,
)
from lofi.adapter import LofiAdapter
from lofi.card import describe
from lofi.inference import load
from tests.lofi.conftest import make, world


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model") / "m"
    seen = [{"dataset": "mimic-cxr-phantom", "split": "train", "modality": "boxes"}]
    make().save_pretrained(place, record={"trained_on": seen})
    return place


@pytest.fixture
def images(tmp_path):
    out = []
    for number, (square, _, _) in enumerate(world(3)):
        file = tmp_path / f"{number}.png"
        PIL.Image.fromarray(np.vstack([square, square[:16]])).save(file)  # 32 wide, 48 high
        out.append(Image(f"i{number}", file))
    return out


def test_it_fulfils_every_protocol(folder):
    model = load("cpu", checkpoint=str(folder))
    for protocol in (EmbeddingModel, GroundingModel, Captioner, TokenCounter):
        assert isinstance(model, protocol)


def test_its_card_is_read_without_weights_and_says_what_it_was_trained_on(folder):
    card = describe(str(folder))
    assert card.family == "lofi"
    assert card.max_tokens == 16
    assert [(one.dataset, one.modality) for one in card.trained_on] == [
        ("mimic-cxr-phantom", "boxes")
    ]
    assert card == load("cpu", checkpoint=str(folder)).card


def test_without_a_record_its_exposure_is_undisclosed(tmp_path):
    make().save_pretrained(tmp_path / "m")
    assert describe(str(tmp_path / "m")).trained_on is None


def test_embeddings_are_unit_rows_whatever_the_batch(folder, images):
    model = load("cpu", checkpoint=str(folder))
    prepared = [model.prepare_image(image) for image in images]
    whole = model.embed_images(prepared)
    single = np.concatenate([model.embed_images([one]) for one in prepared])
    assert np.abs(whole - single).max() < 1e-5
    assert np.linalg.norm(whole, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(model.embed_texts(["left nodule", "no"]), axis=1) == pytest.approx(
        1, abs=1e-5
    )


def test_boxes_come_back_in_the_original_frame(folder, images, monkeypatch):
    model = load("cpu", checkpoint=str(folder))
    # 32 x 48 in a square of 32: 21 wide (round), 5 pixels of padding on the left.
    told = [("```\n[[156,0,813,1000]]\n```", True)]
    monkeypatch.setattr("lofi.adapter.answer", lambda *_, **__: told)
    answer = model.ground([Query(images[0], "nodule")])[0]
    assert answer.status == "ok"
    assert answer.boxes == pytest.approx(np.float32([[0, 0, 1, 1]]), abs=2e-3)


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("```\n[]\n```", "empty"),
        ("```\n[[1,2", "malformed"),
        ("```\n[[0,0,100,1000]]\n```", "malformed"),  # on the padding alone
    ],
)
def test_an_answer_without_a_box_says_why(folder, images, monkeypatch, told, status):
    model = load("cpu", checkpoint=str(folder))
    monkeypatch.setattr("lofi.adapter.answer", lambda *_, **__: [(told, True)])
    answer = model.ground([Query(images[0], "nodule")])[0]
    assert answer.status == status
    assert len(answer.boxes) == 0
    assert answer.raw == told


def test_an_image_asked_about_twice_is_answered_twice(folder, images):
    model = load("cpu", checkpoint=str(folder))
    queries = [Query(images[0], "nodule"), Query(images[1], "nodule"), Query(images[0], "nodule")]
    answers = model.ground(queries)
    assert len(answers) == 3
    assert answers[0].raw == answers[2].raw


def test_it_writes_a_report_per_image_and_a_phrase_per_box_set(folder, images):
    model = load("cpu", checkpoint=str(folder))
    assert len(model.caption(images)) == 3
    assert len(model.describe(images[:2], [np.float32([[0, 0, 0.5, 0.5]])] * 2)) == 2


@pytest.mark.parametrize(
    ("loss", "ask"),
    [
        ("sigmoid", lambda model, _: model.embed_texts(["a"])),
        ("grounding", lambda model, image: model.ground([Query(image, "a")])),
        ("captioning", lambda model, image: model.caption([image])),
        (
            "dense_captioning",
            lambda model, image: model.describe([image], [np.float32([[0, 0, 1, 1]])]),
        ),
    ],
)
def test_what_was_not_taught_is_not_answered(tmp_path, images, loss, ask):
    model = make(losses={loss: 0.0})
    model.save_pretrained(tmp_path / "m")
    adapter = LofiAdapter(model, describe(str(tmp_path / "m")))
    with pytest.raises(NotScorable, match=f"not taught.*{loss}"):
        ask(adapter, images[0])


def test_tokens_are_counted_before_truncation(folder):
    model = load("cpu", checkpoint=str(folder))
    short, long = model.count_tokens(["left nodule", "left nodule " * 40])
    assert short < 16 < long


def test_shipped_checkpoints_are_small_and_say_how_they_were_made():
    from harness.registry import find_model, shipped_checkpoints
    from harness.suite_schema import ModelReference

    for name, place in shipped_checkpoints().items():
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
        assert size <= 10_000_000, name
        record = json.loads((place / "training.json").read_text())
        assert record["parameters"] <= 5_000_000, name
        assert {one["split"] for one in record["trained_on"]} == {"train"}, name
        model = find_model(ModelReference(name=name, use=name)).load("cpu")
        assert model.card.weights, name
        if isinstance(model, LofiAdapter):  # stored in bf16, computed in fp32
            assert next(model.model.parameters()).dtype == torch.float32, name


def test_an_answer_may_be_as_long_as_taught_ones(images, tmp_path, monkeypatch):
    # Six boxes of 19 tokens are more than an earlier limit of 96 left room for.
    make(decoder={"max_tokens": 160}).save_pretrained(tmp_path / "m", record={})
    model = load("cpu", checkpoint=str(tmp_path / "m"))
    boxes = ",".join(f"[{n}, {n}, {n + 500}, {n + 500}]" for n in range(100, 106))
    ids = model.model.tokenizer(f"```\n[{boxes}]\n```\n<end_of_turn>\n")["input_ids"]
    assert 96 < len(ids) < 160
    monkeypatch.setattr("lofi.generate._greedy", lambda *_, limit, **__: [ids[:limit]])
    (found,) = model.ground([Query(images[0], "nodule")])
    assert found.status == "ok"
    assert len(found.boxes) == 6


def test_threads_are_as_many_after_an_answer_as_before(folder, images, monkeypatch):
    model, seen = load("cpu", checkpoint=str(folder)), []

    def fails(*_, **__):
        seen.append(torch.get_num_threads())
        raise RuntimeError("out of memory")

    monkeypatch.setattr("lofi.generate._greedy", fails)
    torch.set_num_threads(2)
    with pytest.raises(RuntimeError, match="out of memory"):
        model.ground([Query(images[0], "nodule")])
    assert (seen, torch.get_num_threads()) == ([1], 2)
