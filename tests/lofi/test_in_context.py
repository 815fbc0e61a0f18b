"""In-context grounding: which examples a query is shown, and what stays with its answer."""

from pathlib import Path

import numpy as np
import pytest

from harness.errors import BenchError
from harness.images import Image
from harness.models import Query
from harness.tasks.supply import BankedGrounder
from lofi.demonstrations import Demonstrations, drawn, joined, nearest, shown, usable
from lofi.in_context import load
from tests.lofi import context_models
from tests.lofi.context_models import ENCODER, TELLER, Given, bank_of, model_of, query, sample

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
