"""In-context grounding: which examples a query is shown, what is refused, what stays with it."""

from pathlib import Path

import numpy as np
import pytest

from baselines import codecs
from harness import registry
from harness.errors import BenchError, WeightsAbsent
from harness.images import Image
from harness.models import Query
from harness.plan import plan_cells
from harness.registry import find_model
from harness.samples import Dataset, ImageRef, PhraseBoxes
from harness.suite_schema import ModelReference, Suite
from harness.tasks.supply import BankedGrounder
from lofi.composing import describe
from lofi.demonstrations import Bank, Demonstrations, drawn, joined, nearest, shown, usable
from lofi.in_context import load
from tests.lofi import context_models

ENCODER = "tests.lofi.context_models:load_encoder"
TELLER = "tests.lofi.context_models:load_teller"


def sample(number: int, patient: str = "", finding: str = "mass", **changes) -> PhraseBoxes:
    """An example whose image points to `number` degrees."""
    image = ImageRef(f"n{number}", Path(f"n{number}.png"), patient or f"p{number}", f"s{number}")
    boxes = np.float32([[0.0, 0.0, 0.5, (number % 50 + 1) / 100]])
    values = {"phrase": f"at {number}", "boxes": boxes, "finding": finding, **changes}
    return PhraseBoxes(f"n{number}#1", image, **values)


def query(number: int, patient: str = "q", finding: str = "mass") -> Query:
    return Query(Image(f"n{number}", Path(f"n{number}.png")), f"at {number}", patient, finding)


def bank_of(samples: list[PhraseBoxes]) -> Bank:
    images = context_models._directions([one.image.image_id for one in samples])
    return Bank(samples, joined(images, None))


class Given:
    """A supply of a few samples, without a cache."""

    phantom, device = True, "cpu"

    def __init__(self, samples):
        self.samples, self.asked = samples, []

    def bank(self, evaluation, limit):
        self.asked.append((evaluation, limit))
        return Dataset("cxr-qba", "grounding", "train", "lesion", "1", tuple(self.samples))

    def embed_images(self, model, images, handle):
        del handle
        return model.embed_images([model.prepare_image(image) for image in images])

    def embed_texts(self, model, texts, handle):
        del handle
        return model.embed_texts(texts)


def model_of(samples, queries, **options):
    """A composed model with its examples chosen."""
    context_models.LOADED.clear()
    settings = {"k": 2, "similarity": "image", **options.pop("demonstrations", {})}
    wanted = {"retriever": ENCODER, "grounder": TELLER, **options}
    model = load("cpu", **wanted, demonstrations=settings)
    context_models.LOADED.clear()
    model.equip(queries, Given(samples))
    return model


# --- which examples


def test_the_nearest_examples_come_last_and_their_ids_stay_with_the_answer() -> None:
    samples = [sample(number) for number in (0, 30, 80)]
    asked = [query(25)]
    answer = model_of(samples, asked).ground(asked)[0]
    assert answer.demonstrations == ("n0#1", "n30#1")
    cosines = (np.cos(np.radians(25)), np.cos(np.radians(5)))
    assert answer.similarities == pytest.approx(cosines, abs=1e-6)
    assert np.array_equal(answer.boxes, samples[1].boxes)
    assert answer.left_out == 0


def test_the_nearest_can_stand_first() -> None:
    asked = [query(25)]
    model = model_of(
        [sample(n) for n in (0, 30, 80)], asked, demonstrations={"order": "nearest first"}
    )
    assert model.ground(asked)[0].demonstrations == ("n30#1", "n0#1")


def test_no_example_is_of_the_querys_patient_however_near() -> None:
    own = [sample(number, patient="q") for number in range(24, 40)]
    samples = [*own, sample(70, patient="a"), sample(80, patient="b")]
    asked = [query(25, patient="q")]
    answer = model_of(samples, asked).ground(asked)[0]
    assert answer.demonstrations == ("n80#1", "n70#1")
    random = model_of(samples, asked, retriever="random", seed=3).ground(asked)[0]
    assert set(random.demonstrations) == {"n70#1", "n80#1"}


def test_a_query_image_is_never_its_own_example_and_no_image_comes_twice() -> None:
    twice = sample(30, phrase="again")
    samples = [sample(25), sample(30), twice, sample(60)]
    asked = [query(25, patient="")]
    answer = model_of(samples, asked).ground(asked)[0]
    assert [name.split("#")[0] for name in answer.demonstrations] == ["n60", "n30"]


def test_search_is_exact() -> None:
    draw = np.random.default_rng(0)
    numbers = draw.permutation(360)[:200].tolist()
    samples = [sample(n, patient=f"p{n % 17}", finding=("mass", "nodule")[n % 2]) for n in numbers]
    bank = bank_of(samples)
    queries = [query(n, f"p{n % 17}", ("mass", "nodule")[n % 3 % 2]) for n in range(0, 360, 7)]
    vectors = context_models._directions([one.image.image_id for one in queries])
    for rule in ("any", "same finding"):
        settings = Demonstrations(k=5, similarity="image", filter=rule)
        found = nearest(bank, queries, vectors, settings)
        for asked, vector, chosen in zip(queries, vectors, found, strict=True):
            allowed = [
                (float(bank.vectors[place] @ vector), place)
                for place, one in enumerate(samples)
                if one.image.patient_id != asked.patient_id
                and one.image.image_id != asked.image.image_id
                and (rule == "any" or one.finding == asked.finding)
            ]
            best = sorted(allowed, reverse=True)[:5]
            assert [score for _, score in chosen] == pytest.approx([s for s, _ in best], abs=1e-6)


def test_the_mean_similarity_is_the_mean_of_both_cosines() -> None:
    images, texts = np.eye(3, dtype=np.float32)[:2], np.eye(3, dtype=np.float32)[[0, 0]]
    both = joined(images, texts)
    assert both @ both.T == pytest.approx(np.array([[1.0, 0.5], [0.5, 1.0]]))


def test_phrases_and_images_can_be_compared_alone_or_together() -> None:
    samples = [
        sample(10, phrase="at 80"),
        sample(80, phrase="at 10"),
        sample(40, phrase="at 40"),
    ]
    asked = [Query(Image("n12", Path("n12.png")), "at 12", "q")]
    nearest_by = {}
    for kind in ("image", "phrase", "mean"):
        model = model_of(samples, asked, demonstrations={"k": 1, "similarity": kind})
        nearest_by[kind] = model.ground(asked)[0].demonstrations[0]
    assert nearest_by == {"image": "n10#1", "phrase": "n80#1", "mean": "n40#1"}


def test_the_filter_lets_only_the_same_finding_through() -> None:
    samples = [sample(25, finding="nodule"), sample(26, finding="edema"), sample(90)]
    asked = [query(24)]
    for retriever in (ENCODER, "random", "fixed"):
        model = model_of(
            samples, asked, retriever=retriever, demonstrations={"filter": "same finding"}
        )
        assert model.ground(asked)[0].demonstrations == ("n90#1",)


def test_a_random_draw_depends_on_seed_and_query_and_not_on_the_batch() -> None:
    bank, settings = usable([sample(n) for n in range(90)], Demonstrations(k=3)), Demonstrations()
    queries = [query(n) for n in (100, 200, 300)]
    first = drawn(bank, queries, settings, seed=0, fixed=False)
    assert drawn(bank, queries[1:2], settings, seed=0, fixed=False) == first[1:2]
    assert drawn(bank, queries, settings, seed=1, fixed=False) != first
    assert first[0] != first[1]
    fixed = drawn(bank, queries, settings, seed=0, fixed=True)
    assert fixed[0] == fixed[1] == fixed[2]


def test_swapped_images_or_boxes_are_those_of_another_patient_and_all_else_stays() -> None:
    samples = [sample(n) for n in range(0, 40)]
    bank, asked = usable(samples, Demonstrations()), query(50)
    chosen = [(3, 0.9), (4, 0.8)]
    plain, images, boxes = (
        shown(bank, asked, chosen, settings=Demonstrations(swap=swap), seed=0)
        for swap in ("", "images", "boxes")
    )
    assert [one.phrase for one in plain] == ["at 4", "at 3"]
    for old, image, box in zip(plain, images, boxes, strict=True):
        assert image.image.image_id != old.image.image_id
        assert (image.phrase, image.boxes.tolist()) == (old.phrase, old.boxes.tolist())
        assert box.boxes.tolist() != old.boxes.tolist()
        assert (box.phrase, box.image) == (old.phrase, old.image)
    again = shown(bank, asked, chosen, settings=Demonstrations(swap="images"), seed=0)
    assert again == images


def test_what_the_context_had_no_room_for_is_counted_and_the_nearest_are_kept() -> None:
    asked = [query(25)]
    model = model_of([sample(n) for n in (0, 30, 80)], asked)
    model.grounder = context_models.Teller(room=1)
    answer = model.ground(asked)[0]
    assert answer.demonstrations == ("n30#1",)
    assert answer.left_out == 1


def test_the_nearest_are_kept_where_they_stand_first_too() -> None:
    asked = [query(25), query(79)]
    first = {"order": "nearest first", "k": 3}
    model = model_of([sample(n) for n in (0, 30, 80)], asked, demonstrations=first)
    model.grounder = context_models.Teller(room=2)
    answers = model.ground(asked)
    assert [answer.demonstrations for answer in answers] == [
        ("n30#1", "n0#1"),
        ("n80#1", "n30#1"),
    ]
    assert [answer.left_out for answer in answers] == [1, 1]
    last = [[example.image.image_id for example in shown] for shown in model.grounder.shown[-2:]]
    assert last == [["n30", "n0"], ["n80", "n30"]]  # what the answers are really from


def test_no_example_at_all_is_asked_as_plain_grounding_is() -> None:
    asked = [query(25)]
    answer = model_of([sample(0)], asked, demonstrations={"k": 0}).ground(asked)[0]
    assert answer.status == "empty"
    assert answer.demonstrations == ()


def test_copy_nearest_answers_with_the_nearest_examples_boxes() -> None:
    samples = [sample(number) for number in (0, 30, 80)]
    asked = [query(25), query(79)]
    model = model_of(samples, asked, grounder="copy-nearest")
    found = model.ground(asked)
    assert [a.boxes.tolist() for a in found] == [
        samples[1].boxes.tolist(),
        samples[2].boxes.tolist(),
    ]
    assert model.card.family == "control"
    first = {"order": "nearest first"}
    model = model_of(samples, asked, grounder="copy-nearest", demonstrations=first)
    assert [a.boxes.tolist() for a in model.ground(asked)] == [a.boxes.tolist() for a in found]


def test_a_grounder_that_no_one_gave_examples_says_so() -> None:
    model = load("cpu", retriever=ENCODER, grounder=TELLER)
    assert isinstance(model, BankedGrounder)
    with pytest.raises(BenchError, match="Run it in a suite"):
        model.ground([query(3)])


# --- the default bank


def test_the_default_bank_is_the_first_2000_training_studies_with_lesion_boxes_on_phantoms() -> (
    None
):
    model = load("cpu", retriever="random", grounder=TELLER)
    given = Given([sample(3)])
    model.equip([query(5)], given)
    given.phantom = False
    model.equip([query(5)], given)
    asked = [(e.dataset, e.split, e.cohort, limit) for e, limit in given.asked]
    assert asked == [
        ("cxr-qba", "train", "lesion", 2000),
        ("cxr-qba", "train", "region", 2000),
    ]


# --- what is refused before a model is loaded


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
    from harness.plan import plan_cells
    from harness.suite_schema import Evaluation, Suite

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


def test_answers_say_in_thirds_how_near_their_example_was() -> None:
    from harness.models import Grounding
    from harness.tasks.grounding_context import nearness_groups

    answers = [Grounding(similarities=(0.0, value)) for value in (0.1, 0.5, 0.9)]
    groups = nearness_groups([*answers, Grounding()], np.array([True, True, True, True]))
    assert {name: mask.tolist() for name, mask in groups.items()} == {
        "nearest example=far": [True, False, False, False],
        "nearest example=middle": [False, True, False, False],
        "nearest example=near": [False, False, True, False],
    }
    assert nearness_groups([Grounding()], np.array([True])) == {}
