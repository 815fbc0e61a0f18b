"""Controls have known answers, on pools small enough to count by hand."""

from pathlib import Path

import numpy as np
import pytest

from baselines.controls import load
from harness.box_tables import build_box_table
from harness.boxes import boxes_from_unit
from harness.metrics.box_metrics import BOX_METRICS
from harness.metrics.grounding import from_samples
from harness.metrics.metric import value
from harness.metrics.pool import CONVENTIONS, pool_of
from harness.metrics.ranking import Embeddings, rank_pairs
from harness.metrics.retrieval import RETRIEVAL_METRICS
from harness.models import NotScorable
from harness.samples import ImageRef, ImageText, PhraseBoxes
from harness.tasks.retrieval import rank_control, retrieval_pool
from harness.tasks.retrieval_chance import chance_recall, chance_scores, relevant_counts


def sample(number: int, text: str, *, study: str = "", asked: bool = True) -> ImageText:
    image = ImageRef(f"i{number}", Path("x"), f"p{number}", study or f"s{number}", "PA")
    return ImageText(f"q{number}", image, text, asked=asked)


# two studies say "normal", one says "effusion", one study has two images; one distractor
POOL = [
    sample(0, "Normal."),
    sample(1, "normal"),
    sample(2, "Effusion."),
    sample(3, "Mass.", study="m"),
    sample(4, "Nodule.", study="m"),
    sample(5, "", asked=False),
]


def recall(name: str, k: int, direction: str, convention: str) -> float:
    pool, bearers = retrieval_pool(POOL)
    ranked = rank_control(load(name=name), POOL, pool, bearers)
    return value(RETRIEVAL_METRICS[f"recall@{k}"], ranked[direction].under(convention))


@pytest.mark.parametrize("direction", ["image_to_text", "text_to_image"])
@pytest.mark.parametrize("convention", ["instance", "same_study", "same_text", "unique_text"])
def test_the_oracle_is_exactly_one_under_every_convention(direction: str, convention: str) -> None:
    assert recall("oracle", 1, direction, convention) == 1


def test_the_content_ceiling_cannot_tell_two_identical_reports_apart() -> None:
    # the two "normal" images tie with each other's text: rank 2; the other three are first
    assert recall("content-ceiling", 1, "image_to_text", "same_study") == 3 / 5
    assert recall("content-ceiling", 5, "image_to_text", "same_study") == 1
    assert recall("content-ceiling", 1, "image_to_text", "same_text") == 1


def test_a_collapsed_model_finds_nothing_that_ties_can_hide() -> None:
    # every candidate ties, so the rank is 1 + the number of irrelevant ones: 5 of 5 texts
    assert recall("collapsed", 1, "image_to_text", "instance") == 0
    assert recall("collapsed", 5, "image_to_text", "instance") == 1


def test_the_commonest_text_is_right_where_two_share_it() -> None:
    assert recall("commonest-text", 1, "image_to_text", "same_text") == 2 / 5
    assert recall("commonest-text", 1, "text_to_image", "same_study") == 0


def test_findings_only_needs_masked_texts() -> None:
    pool, bearers = retrieval_pool(POOL)
    with pytest.raises(NotScorable, match="only phantoms"):
        rank_control(load(name="findings-only"), POOL, pool, bearers)


@pytest.mark.parametrize(
    ("n", "m", "k", "expected"),
    [
        (10, 1, 1, 1 / 10),
        (10, 1, 5, 5 / 10),
        (4, 2, 1, 2 / 4),
        (4, 2, 2, 1 - 1 / 6),  # one of the C(4, 2) = 6 pairs avoids both
        (4, 3, 2, 1.0),
        (3, 1, 10, 1.0),  # k > N
    ],
)
def test_chance_is_the_share_of_rankings_with_a_hit(
    n: int, m: int, k: int, expected: float
) -> None:
    assert chance_recall(n, np.array([m]), k) == pytest.approx(expected, abs=1e-12)


def test_chance_counts_what_each_convention_calls_relevant() -> None:
    pool, _ = retrieval_pool(POOL)
    found = {
        (s.direction, s.relevance): s
        for s in chance_scores(pool, ["instance", "same_study", "same_text", "unique_text"])
        if s.metric == "recall@1"
    }
    # image to text: 5 texts; relevant per query 1,1,1,2,2 by study, 2,2,1,2,2 by text
    assert found["image_to_text", "instance"].value == pytest.approx(1 / 5)
    assert found["image_to_text", "same_study"].value == pytest.approx(7 / 5 / 5)
    assert found["image_to_text", "same_text"].value == pytest.approx(9 / 5 / 5)
    # four unique texts; text to image ranks all six images
    assert found["image_to_text", "unique_text"].value == pytest.approx(1 / 4)
    assert found["text_to_image", "instance"].value == pytest.approx(1 / 6)
    assert found["text_to_image", "unique_text"].value == pytest.approx((2 + 1 + 1 + 1) / 4 / 6)
    assert found["text_to_image", "unique_text"].n == 4


@pytest.mark.parametrize("seed", range(8))
def test_chance_counts_the_same_relevant_candidates_as_the_ranking(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = 60
    pool, bearers = pool_of(
        studies=[f"s{i}" for i in random.integers(0, 30, n)],
        patients=[f"p{i}" for i in random.integers(0, 20, n)],
        texts=[f"t{i}" for i in random.integers(0, 25, n)],
        groups=[f"g{i}" if i < 9 else "" for i in random.integers(0, 18, n)],
        asked=list(random.random(n) < 0.7),
    )
    vectors = random.normal(size=(n + len(bearers), 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ranked = rank_pairs(pool, Embeddings(vectors[:n], vectors[n:]))
    for direction, outcomes in ranked.items():
        for convention in CONVENTIONS:
            queries = outcomes.under(convention)
            candidates, relevant, _ = relevant_counts(pool, direction, convention)
            assert candidates == queries.candidates
            np.testing.assert_array_equal(
                np.sort(queries.relevant[queries.rank > 0]), np.sort(relevant)
            )


def phrase(number: int, boxes: list[list[float]], **more: object) -> PhraseBoxes:
    image = ImageRef(f"i{number}", Path("x"), f"p{number}", f"s{number}", "PA")
    return PhraseBoxes(
        f"q{number}", image, "left effusion", boxes_from_unit(boxes), finding="effusion", **more
    )  # type: ignore[arg-type]


PHRASES = [
    phrase(0, [[0.5, 0.5, 1.0, 1.0]]),
    phrase(1, [[0.5, 0.5, 0.9, 0.9]]),
    phrase(2, [[0.6, 0.6, 1.0, 1.0]]),
]


def miou(name: str, table: object = None) -> float:
    answers = load(name=name).ground_samples(PHRASES, lambda: table)
    return value(BOX_METRICS["miou"], from_samples(PHRASES, answers))


def test_grounding_controls_answer_as_they_are_called() -> None:
    assert miou("oracle") == 1
    assert miou("nothing") == 0
    answer = load(name="centre-box").ground_samples(PHRASES[:1], lambda: None)[0]
    np.testing.assert_allclose(answer.boxes, [[0.25, 0.25, 0.75, 0.75]])
    # 0.25 x 0.25 shared, 0.25 + 0.25 - 0.0625 painted
    assert value(BOX_METRICS["miou"], from_samples(PHRASES[:1], [answer])) == pytest.approx(
        0.0625 / 0.4375
    )


def test_the_mean_box_leaves_the_asked_patient_out_where_there_is_no_train_split() -> None:
    answers = load(name="mean-box").ground_samples(PHRASES, lambda: None)
    expected = (PHRASES[1].boxes + PHRASES[2].boxes) / 2
    np.testing.assert_allclose(answers[0].boxes, expected, atol=1e-6)


def test_the_mean_box_of_a_train_split_ignores_the_test_phrases() -> None:
    train = [phrase(n, [[0.0, 0.0, 0.2, 0.2]]) for n in range(10, 16)]
    answers = load(name="mean-box").ground_samples(PHRASES, lambda: build_box_table(train))
    np.testing.assert_allclose(answers[0].boxes, [[0, 0, 0.2, 0.2]], atol=1e-6)


def test_text_only_answers_a_denial_with_none_by_its_words_and_nothing_else() -> None:
    image = ImageRef("i9", Path("x"), "p9", "s9", "PA")
    train = build_box_table([phrase(n, [[0.0, 0.0, 0.2, 0.2]]) for n in range(10, 16)])
    asked = [
        PhraseBoxes("no", image, "No left effusion.", negated=True),
        PhraseBoxes("clear", image, "The lungs are clear.", negated=True),
        PhraseBoxes("absent", image, "Left effusion."),
        PhraseBoxes("boxed", image, "Left effusion.", boxes=boxes_from_unit([[0, 0, 0.2, 0.2]])),
    ]
    said = [a.status for a in load(name="text-only").ground_samples(asked, lambda: train)]
    assert said == ["empty", "ok", "ok", "ok"]
    # The mean box of a finding reads no words, so it cannot know.
    assert load(name="mean-box").ground_samples(asked[:1], lambda: train)[0].status == "ok"
    # Answers that were stored before are another model's: they are never taken for these.
    assert [load(name=name).card.version for name in ("text-only", "mean-box")] == [2, 1]


def test_a_control_that_the_data_cannot_feed_says_so() -> None:
    for name in ("second-reader", "region-oracle"):
        with pytest.raises(NotScorable):
            load(name=name).ground_samples(PHRASES, lambda: None)
    with_reader = [phrase(0, [[0, 0, 1, 1]], second_reader=boxes_from_unit([[0, 0, 1, 0.5]]))]
    answer = load(name="second-reader").ground_samples(with_reader, lambda: None)[0]
    np.testing.assert_allclose(answer.boxes, [[0, 0, 1, 0.5]])
