"""`data.negatives`: questions about what is not there, answered `[]`, from training to counting."""

import numpy as np
import PIL.Image
import pytest

from harness.commands.predict import said
from harness.images import Image
from harness.models import Query
from lofi.adapter import LofiAdapter
from lofi.card import describe
from lofi.config import preset_names, read_preset
from lofi.data import Batches
from lofi.location import boxes_answer, grounding_prompt, parse_boxes
from lofi.train import train
from lofi.validate import validate
from tests.lofi.conftest import make, studies_for

NONE = "```\n[]\n```"


def asked(negatives: float, steps: int = 30) -> list[tuple[int, list[tuple[str, str, str]]]]:
    """The location pairs of each study that was drawn, with its number."""
    model = make(data={"negatives": negatives, "phrases_per_image": 1})
    studies = studies_for(model)
    tools = (model.prompts, model.text_tokenizer)
    batches = Batches(studies, model.config, tokenizers=tools)
    return [
        (number, batches._location_pairs(studies.items[number], np.random.default_rng([7, n])))
        for n in range(steps)
        for number in range(len(studies))
    ]


def test_the_share_asked_for_is_asked_about_a_phrase_of_another_study():
    studies = studies_for(make())
    everything = {phrase for item in studies.items for phrase, _ in item.regions}
    none = positive = 0
    for number, pairs in asked(0.4):
        own = dict(studies.items[number].regions)
        for name, prompt, answer in pairs:
            if name == "grounding" and parse_boxes(answer).status == "empty":
                none += 1
                assert prompt in {grounding_prompt(phrase) for phrase in everything - set(own)}
            elif name == "grounding":
                positive += 1
                assert any(
                    prompt == grounding_prompt(phrase) and answer == boxes_answer(boxes)
                    for phrase, boxes in own.items()
                )
            else:  # what is described is always there
                assert answer in own
    # 240 questions; a phrase that is not the study's own is found in all but one of 256 tries.
    assert none / (none + positive) == pytest.approx(0.4, abs=0.1)


def test_without_the_option_nothing_is_answered_by_none_and_no_preset_sets_it():
    assert not any(NONE in answer for _, pairs in asked(0.0) for _, _, answer in pairs)
    assert {read_preset(name).data.negatives for name in preset_names()} == {0.0}


def test_the_answer_none_is_in_the_rows_that_are_trained_on():
    model = make(data={"negatives": 0.9}, training={"batch_size": 12})
    tools = (model.prompts, model.text_tokenizer)
    rows = Batches(studies_for(model), model.config, tokenizers=tools)(0).rows["grounding"]
    told = [
        model.tokenizer.decode([int(one) for one in labels if one >= 0])
        for labels in rows.sequences.labels
    ]
    assert sum(NONE in text for text in told) > len(told) / 2


@pytest.mark.parametrize(
    ("reply", "malformed"), [(NONE, 0.0), ("```\n[[1,2", 1.0), ("```\n[[]]\n```", 1.0)]
)
def test_validation_counts_none_as_a_miss_and_not_as_malformed(monkeypatch, reply, malformed):
    model = make()
    monkeypatch.setattr(
        "lofi.validate.answer", lambda *_, questions, **__: [(reply, True)] * len(questions)
    )
    found = validate(model, studies_for(model))
    assert found["grounding/malformed"] == malformed
    assert found["grounding/miou"] == 0


def test_a_model_that_was_taught_none_answers_none(tmp_path):
    model = make(
        data={"negatives": 0.95},
        losses={"sigmoid": 0, "captioning": 0, "dense_captioning": 0},
        training={"steps": 60, "learning_rate": 3e-3, "warmup": 5},
    )
    held_out = studies_for(model, 6, 1)
    progress = train(model, studies_for(model), held_out, folder=tmp_path, say=lambda _: None)
    assert progress.history[-1]["grounding/malformed"] == 0
    PIL.Image.fromarray(held_out.squares[0]).save(tmp_path / "film.png")
    film = Image("film", tmp_path / "film.png")
    adapter = LofiAdapter(model.eval(), describe(str(tmp_path / "model")))
    [answer] = adapter.ground([Query(film, "There is a right nodule.")])
    assert (answer.status, len(answer.boxes), said(answer)) == ("empty", 0, "none")
