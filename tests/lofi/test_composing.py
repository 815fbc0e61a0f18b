"""Of what an in-context model is composed: what is refused before a model is loaded, its card."""

import numpy as np
import pytest

from baselines import codecs
from harness import registry
from harness.errors import BenchError, WeightsAbsent
from harness.plan import plan_cells
from harness.registry import find_model
from harness.suite_schema import Evaluation, ModelReference, Suite
from harness.tasks.supply import BankedGrounder
from lofi.composing import describe
from tests.lofi import context_models
from tests.lofi.context_models import ENCODER, TELLER, model_of, query, sample


def test_a_bank_of_a_test_split_is_refused() -> None:
    with pytest.raises(BenchError, match=r"demonstrations.split.*'test'.*never shown"):
        describe(ENCODER, TELLER, {"split": "test"})


@pytest.mark.parametrize(
    ("samples", "settings", "message"),
    [
        ([sample(3, boxes=np.zeros((0, 4), np.float32))], {}, "none has boxes"),
        ([sample(3, kind="device")], {}, "none has boxes"),
        ([sample(3, finding="edema")], {"filter": "same finding"}, "The bank has edema"),
    ],
)
def test_an_empty_bank_is_refused_before_any_model_is_loaded(samples, settings, message) -> None:
    with pytest.raises(BenchError, match=message):
        model_of(samples, [query(25)], demonstrations=settings)
    assert context_models.LOADED == []


def test_a_model_of_one_image_is_refused_with_the_alternatives() -> None:
    with pytest.raises(BenchError, match="one image only") as refused:
        describe(ENCODER, "paligemma2-3b-mix-448")
    for name in ("vlm-tiny", "medgemma-1.5-4b", "qwen3-vl-8b", "qwen2.5-vl-7b", "internvl3-8b"):
        assert name in str(refused.value)
    assert "siglip-tiny" not in str(refused.value)
    with pytest.raises(BenchError, match="hf_detector take no examples"):
        describe(ENCODER, "owlv2-base")
    with pytest.raises(BenchError, match="a control takes no examples"):
        describe(ENCODER, "centre-box")


def test_a_notation_that_cannot_be_written_is_refused(monkeypatch) -> None:
    silent = codecs.Codec(codecs.CODECS["gemma_json"].read, None)
    monkeypatch.setitem(codecs.CODECS, "gemma_json", silent)
    with pytest.raises(BenchError, match="cannot be written in its notation, gemma_json"):
        describe(ENCODER, "medgemma-1.5-4b")


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(BenchError, match=r"demonstrations.simmilarity"):
        describe(ENCODER, TELLER, {"simmilarity": "image"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retriever": "random", "grounder": TELLER, "demonstration": {}}, "Did you mean 'demonst"),
        ({"grounder": TELLER}, "missing a required argument: 'retriever'"),
    ],
)
def test_an_option_that_does_not_fit_is_named(options, message) -> None:
    handle = find_model(ModelReference(name="mine", use="in-context", options=options))
    with pytest.raises(BenchError, match=message):
        handle.card()
    with pytest.raises(BenchError, match=message):
        handle.load("cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"demonstrations": 3}, "demonstrations: Input should be a valid dictionary"),
        ({"grounder": 3}, "in-context grounder: found 3. Expected a model's name"),
        ({"retriever": {"nme": "x"}}, "in-context retriever: found .*nme"),
    ],
)
def test_what_is_no_model_or_no_settings_is_named(options, message) -> None:
    with pytest.raises(BenchError, match=message):
        describe(**{"retriever": "random", "grounder": TELLER, **options})


def test_a_retriever_may_be_written_as_a_suite_writes_a_model() -> None:
    reference = {"name": "mine", "use": ENCODER}
    model = model_of([sample(n) for n in (0, 30, 80)], [query(25)], retriever=reference)
    assert model.ground([query(25)])[0].demonstrations[-1] == "n30#1"
    assert model.card.name.endswith("after mine")


def test_a_suite_with_a_grounder_of_one_image_is_refused_before_anything_runs() -> None:
    options = {"retriever": "random", "grounder": "lofi-tiny"}
    models = [{"name": "oracle"}, {"name": "mine", "use": "in-context", "options": options}]
    evaluations = [{"task": "grounding", "dataset": "ms-cxr"}]
    suite = Suite.model_validate({"suite": "s", "models": models, "evaluations": evaluations})
    with pytest.raises(BenchError, match="LoFi's decoder reads one image"):
        plan_cells(suite)


def test_an_external_part_puts_the_whole_row_into_a_process_of_its_own() -> None:
    options = {"retriever": {"name": "mine", "use": "tests.lofi.context_models:load_encoder"}}
    options |= {"grounder": "vlm-tiny"}
    models = [{"name": "mine", "use": "in-context", "options": options}]
    evaluations = [{"task": "grounding", "dataset": "ms-cxr"}]
    suite = Suite.model_validate({"suite": "s", "models": models, "evaluations": evaluations})
    assert plan_cells(suite)[0].inner_families() == {"hf_vlm"}


def test_a_retriever_without_embeddings_is_refused() -> None:
    with pytest.raises(BenchError, match="has no embeddings"):
        model_of([sample(3)], [query(5)], retriever=TELLER)


def test_a_model_that_was_not_trained_yet_is_skipped_with_the_command(monkeypatch) -> None:
    monkeypatch.setattr(registry, "shipped_checkpoints", dict)
    with pytest.raises(WeightsAbsent, match="bench train lofi-tiny"):
        describe("lofi-tiny", TELLER)
    with pytest.raises(WeightsAbsent, match="bench train vlm-tiny"):
        find_model(ModelReference(name="vlm-tiny")).card()


# --- its card


def test_its_card_has_seen_whatever_its_parts_and_its_bank_have_seen() -> None:
    card = describe(ENCODER, TELLER, {"dataset": "padchest-gr", "split": "train"})
    seen = {(one.dataset, one.split, one.modality) for one in card.trained_on}
    assert ("padchest-gr", "train", "boxes") in seen
    assert ("padchest-gr-phantom", "train", "images") in seen
    assert card.family == "in-context"
    assert card.weights
    other = describe("random", TELLER)
    assert other.weights != card.weights


def test_more_examples_than_were_trained_are_said_to_be_extrapolation() -> None:
    told = {k: describe("random", "vlm-tiny", {"k": k}).preprocessing for k in (4, 5)}
    assert "extrapolation" not in told[4]
    assert told[5].endswith("extrapolation: 5 examples, trained with 4 at most")
    # What is not told is not judged: MedGemma's card names no number, a control was not trained.
    assert "extrapolation" not in describe(ENCODER, "copy-nearest", {"k": 99}).preprocessing
    assert "extrapolation" not in describe(ENCODER, TELLER, {"k": 99}).preprocessing


def test_it_is_composed_in_a_suite() -> None:
    options = {"retriever": ENCODER, "grounder": TELLER, "demonstrations": {"k": 1}}
    reference = ModelReference(name="mine", use="in-context", options=options)
    handle = find_model(reference)
    assert handle.card().name == "mine"
    assert isinstance(handle.load("cpu"), BankedGrounder)
    control = find_model(
        ModelReference(name="copied", use="copy-nearest", options={"retriever": ENCODER})
    )
    assert control.card().family == "control"


def test_draws_are_repeated_for_each_seed_of_a_suite() -> None:

    def reference(name, retriever):
        options = {"retriever": retriever, "grounder": TELLER}
        return ModelReference(name=name, use="in-context", options=options)

    suite = Suite(
        suite="s",
        models=[reference("drawn", "random"), reference("found", ENCODER)],
        evaluations=[Evaluation(task="grounding", dataset="ms-cxr")],
        seeds=[0, 1],
    )
    names = [plan.handle.reference.name for plan in plan_cells(suite)]
    assert names == ["drawn-seed0", "drawn-seed1", "found"]
