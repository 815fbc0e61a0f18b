"""Retrieval as it is asked of vectors, chunks and pair scores, and read back from the store."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from baselines.controls import load
from harness.images import Image
from harness.metrics.ranking import Embeddings, rank_pairs
from harness.models import ModelCard, NotScorable
from harness.samples import Dataset, ImageRef, ImageText
from harness.store import Store
from harness.tasks.retrieval import TASK, ranked, retrieval_pool
from harness.tasks.task import Asking, NonFinite, Scored

CARD = ModelCard("m", "test", weights="m", max_tokens=3)
TEXTS = ("One two. Three four five.", "Six.", "Seven eight.", "Six.", "Nine ten eleven twelve.")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Five films, each brighter than the one before; the second and fourth have one text."""
    samples = []
    for n, text in enumerate(TEXTS):
        file = tmp_path / f"film{n}.png"
        Pillow.fromarray(np.full((8, 8), 40 * n + 20, np.uint8)).save(file)
        samples.append(ImageText(f"t{n}", ImageRef(f"i{n}", file, f"p{n}", f"s{n}", "PA"), text))
    return Dataset("d", "retrieval", "test", "frontal", "1", tuple(samples))


def number(image: Image) -> int:
    return int((image.read().mean() - 20) / 40)


def vector(text: str) -> np.ndarray:
    """A unit vector that depends on the text alone."""
    row = np.random.default_rng(sum(map(ord, text))).normal(size=8)
    return np.float32(row / np.linalg.norm(row))


class Words:
    """Vectors of texts and films; counts words as tokens and notes the texts it was given."""

    card = CARD

    def __init__(self) -> None:
        self.asked: list[str] = []

    def prepare_image(self, image: Image) -> int:
        return number(image)

    def embed_images(self, prepared: Sequence[int]) -> np.ndarray:
        return np.stack([vector(f"film {n}") for n in prepared])

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.stack([vector(text) for text in texts])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


class Pairs:
    """Knows which film has which text, and says so pair by pair; notes the sizes of its batches."""

    card = CARD

    def __init__(self) -> None:
        self.batches: list[int] = []

    def prepare_image(self, image: Image) -> int:
        return number(image)

    def score(self, images: Sequence[int], texts: Sequence[str]) -> np.ndarray:
        self.batches.append(len(images))
        wanted = [TEXTS[n].lower() for n in images]
        return np.array([[float(text.lower() == own) for text in texts] for own in wanted])


def asking(model: Any, dataset: Dataset, folder: Path, **more: Any) -> Asking:
    cell = Store(folder / "runs").cell("retrieval", "d", "test", "m", "0" * 64)
    return Asking(model, CARD, dataset, cell, options=TASK.defaults, **more)


def scored(question: Asking, **options: Any) -> Scored:
    return TASK.score(question.dataset, question.sink, {**TASK.defaults, "draws": 2, **options}, ())


def recall(found: Scored, direction: str, k: int = 1) -> float:
    (value,) = (
        s.value
        for s in found.scores
        if (s.metric, s.direction, s.group) == (f"recall@{k}", direction, "all")
    )
    return value


def test_pair_scores_rank_as_their_matrix_does(dataset: Dataset, tmp_path: Path) -> None:
    model = Pairs()
    question = asking(model, dataset, tmp_path, batch_size=2)
    assert TASK.ask(question) == {}  # it counts no tokens
    assert sum(model.batches) == 5
    assert max(model.batches) <= 2
    found = scored(question, relevance="same_text")
    assert recall(found, "image_to_text") == 1.0
    assert recall(found, "text_to_image") == 1.0
    by_study = scored(question, relevance="same_study")
    # the two texts that are one wording tie, and the tie counts against the model
    assert recall(by_study, "image_to_text") == 3 / 5
    assert recall(by_study, "text_to_image") == 3 / 5
    # two queries of five tie in each direction; under same_text those ties are no rivals
    assert (by_study.counts["tied"], found.counts["tied"]) == (4 / 10, 0)


def test_pair_scores_have_no_chunks_to_average(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(NotScorable, match="no vectors of chunks"):
        TASK.ask(asking(Pairs(), dataset, tmp_path, text_policy="chunk-mean"))


def test_pair_scores_of_another_shape_or_no_numbers_are_refused(
    dataset: Dataset, tmp_path: Path
) -> None:
    class Flat(Pairs):
        def score(self, images: Sequence[int], texts: Sequence[str]) -> np.ndarray:
            return super().score(images, texts)[:, :-1]

    class Broken(Pairs):
        def score(self, images: Sequence[int], texts: Sequence[str]) -> np.ndarray:
            return np.where(super().score(images, texts) > 0, np.inf, 0.0)

    with pytest.raises(ValueError, match=r"m: scores of shape \(5, 3\) for 5 images and 4 texts"):
        TASK.ask(asking(Flat(), dataset, tmp_path / "a"))
    with pytest.raises(NonFinite, match="m: NaN or infinity in 5 scores"):
        TASK.ask(asking(Broken(), dataset, tmp_path / "b"))


def test_a_model_without_vectors_or_pair_scores_is_not_scored(
    dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(NotScorable, match="neither embeddings nor pair scores"):
        TASK.ask(asking(object(), dataset, tmp_path))


def test_tokens_beyond_the_limit_are_counted_under_the_official_policy(
    dataset: Dataset, tmp_path: Path
) -> None:
    model = Words()
    counts = TASK.ask(asking(model, dataset, tmp_path))
    assert counts == {"tokens_cut": 3.0, "texts_cut": 2.0}  # five words and four, of three
    assert sorted(model.asked) == sorted(set(TEXTS))


def test_a_long_text_is_the_unit_mean_of_its_chunks(dataset: Dataset, tmp_path: Path) -> None:
    model = Words()
    question = asking(model, dataset, tmp_path, text_policy="chunk-mean")
    assert TASK.ask(question) == {}
    chunks = (("One two.", "Three four five."), ("Six.",), ("Seven eight.",))
    chunks += (("Nine ten eleven", "twelve."),)
    assert model.asked == [chunk for parts in chunks for chunk in parts]
    means = [np.mean([vector(chunk) for chunk in parts], axis=0) for parts in chunks]
    texts = np.stack([mean / np.linalg.norm(mean) for mean in means])
    images = np.stack([vector(f"film {n}") for n in range(5)])
    samples = [s for s in dataset.samples if isinstance(s, ImageText)]
    expected = rank_pairs(retrieval_pool(samples)[0], Embeddings(images, np.float32(texts)))
    for direction, outcomes in ranked(dataset, question.sink).items():
        np.testing.assert_array_equal(outcomes.ranks, expected[direction].ranks)


def test_chunks_need_a_model_that_counts_and_has_a_limit(dataset: Dataset, tmp_path: Path) -> None:
    class Uncounted(Words):
        count_tokens = None  # type: ignore[assignment]

    uncounted = asking(Uncounted(), dataset, tmp_path, text_policy="chunk-mean")
    unlimited = replace(uncounted, model=Words(), card=replace(CARD, max_tokens=None))
    for question in (uncounted, unlimited):
        with pytest.raises(NotScorable, match="counts tokens and has a limit"):
            TASK.ask(question)


def test_vectors_that_are_too_few_or_not_unit_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    class Few(Words):
        def embed_images(self, prepared: Sequence[int]) -> np.ndarray:
            return super().embed_images(prepared)[:-1]

    class Long(Words):
        def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
            return 2 * super().embed_texts(texts)

    with pytest.raises(ValueError, match=r"m: embeddings of shape \(4, 8\) for 5 inputs"):
        TASK.ask(asking(Few(), dataset, tmp_path / "a"))
    with pytest.raises(ValueError, match=r"m: 4 embeddings are not unit .*, e\.g\. length 2\."):
        TASK.ask(asking(Long(), dataset, tmp_path / "b"))


def test_nearly_unit_vectors_are_made_exactly_unit(dataset: Dataset, tmp_path: Path) -> None:
    class Rounded(Words):
        def embed_images(self, prepared: Sequence[int]) -> np.ndarray:
            lengths = 1 + 0.009 * np.cos(np.arange(len(prepared)))[:, None]
            return np.float32(super().embed_images(prepared) * lengths)

    plain, rounded = (asking(m(), dataset, tmp_path / m.__name__) for m in (Words, Rounded))
    for question in (plain, rounded):
        TASK.ask(question)
    for direction, outcomes in ranked(dataset, rounded.sink).items():
        expected = ranked(dataset, plain.sink)[direction]
        np.testing.assert_array_equal(outcomes.ranks, expected.ranks)
        np.testing.assert_allclose(outcomes.top_scores, expected.top_scores, atol=1e-6)


def test_an_unknown_convention_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    question = asking(load(name="oracle"), dataset, tmp_path)
    TASK.ask(question)
    with pytest.raises(ValueError, match=r"relevance \['same'\]: known are instance, same_study"):
        scored(question, relevance=["same_study", "same"])
