"""A failure of one model on one item is a miss for it, in every task and whatever the batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from harness.boxes import boxes_from_unit
from harness.errors import BenchError
from harness.images import Image
from harness.models import Grounding, ModelCard, NotScorable, Query
from harness.samples import Dataset, ImageRef, ImageText, ProbeChoice
from harness.store import Store
from harness.tasks import find_task
from harness.tasks.misses import one_by_one
from harness.tasks.task import Asking, Scored

CARD = ModelCard("m", "test", weights="m")
N = 5


def halves(numbers: Sequence[int]) -> list[float]:
    """Half of each number; fails on odd ones."""
    if any(number % 2 for number in numbers):
        raise RuntimeError("odd")
    return [number / 2 for number in numbers]


def test_items_that_fail_alone_are_none_and_the_rest_are_answered() -> None:
    assert one_by_one(halves, [2, 3, 4]) == [1.0, None, 2.0]
    assert one_by_one(halves, [2, 4]) == [1.0, 2.0]


def test_a_batch_that_fails_whole_is_missed_if_the_model_answers_others() -> None:
    assert one_by_one(halves, [3], [5, 7, 2]) == [None]
    assert one_by_one(halves, [3, 5], [2]) == [None, None]
    with pytest.raises(RuntimeError, match="odd"):
        one_by_one(halves, [3, 5])
    with pytest.raises(RuntimeError, match="odd"):
        one_by_one(halves, [3], [5, 7, 9, 2])  # three others tell


@pytest.mark.parametrize("error", [MemoryError(), TimeoutError(), BenchError("x"), NotScorable()])
def test_what_is_no_failure_on_an_item_is_raised(error: Exception) -> None:
    asked = []

    def ask(items: Sequence[int]) -> list[int]:
        asked.append(items)
        raise error

    with pytest.raises(type(error)):
        one_by_one(ask, [1, 2], [3])
    assert len(asked) == 1


# --- tasks: five films whose text, choice and box tell their number; one cannot be looked at


@pytest.fixture
def films(tmp_path: Path) -> list[ImageRef]:
    for n in range(N):
        Pillow.fromarray(np.full((8, 8), 40 * n + 20, np.uint8)).save(tmp_path / f"film{n}.png")
    return [ImageRef(f"i{n}", tmp_path / f"film{n}.png", f"p{n}", f"s{n}", "PA") for n in range(N)]


class Eyes:
    """Knows each film's number, and fails on those it is told to, in preparing or in looking."""

    card = CARD

    def __init__(self, fails: Sequence[int] = (), preparing: bool = False):
        self.fails = fails
        self.preparing = preparing

    def prepare_image(self, image: Image) -> int:
        number = int((image.read().mean() - 20) / 40)
        if self.preparing and number in self.fails:
            raise RuntimeError("what is this?")
        return number

    def look(self, prepared: Sequence[int]) -> np.ndarray:
        if set(prepared) & set(self.fails):
            raise RuntimeError("what is this?")
        return np.eye(N, dtype=np.float32)[list(prepared)]


class Vectors(Eyes):
    def embed_images(self, prepared: Sequence[int]) -> np.ndarray:
        return self.look(prepared)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.eye(N, dtype=np.float32)[[int(text.split()[-1]) for text in texts]]


class Pairs(Eyes):
    def score(self, images: Sequence[int], texts: Sequence[str]) -> np.ndarray:
        columns = [int(text.split()[-1]) for text in texts]
        return self.look(images)[:, columns] - 7.0  # of a scale of its own


def asked(task: str, model: Any, samples: Sequence[Any], folder: Path, size: int) -> Scored:
    dataset = Dataset("d", task, "test", "frontal", "1", tuple(samples))
    cell = Store(folder / "runs").cell(task, "d", "test", "m", "0" * 64)
    known = find_task(task)
    question = Asking(model, CARD, dataset, cell, options=known.defaults, batch_size=size)
    counts = known.ask(question)
    found = known.score(dataset, cell, {**known.defaults, "draws": 2}, ())
    return Scored(found.scores, found.not_scored, {**found.counts, **counts})


@pytest.mark.parametrize("size", [1, 2, 32])
@pytest.mark.parametrize("kind", [Vectors, Pairs])
@pytest.mark.parametrize("preparing", [True, False])
def test_a_film_that_is_not_embedded_is_a_miss_in_both_directions_and_spoils_no_other(
    films: list[ImageRef], tmp_path: Path, kind: Any, size: int, preparing: bool
) -> None:
    samples = [ImageText(f"t{n}", film, f"film number {n}") for n, film in enumerate(films)]
    found = asked("retrieval", kind([2], preparing), samples, tmp_path, size)
    values = {
        (s.metric, s.direction): s.value
        for s in found.scores
        if s.group == "all" and s.relevance == "same_study"
    }
    for direction in ("image_to_text", "text_to_image"):
        assert values["recall@1", direction] == 4 / 5
        # its own text, or it for its text, is the last of five: a tie would not help it
        assert values["mean_rank", direction] == (4 * 1 + 5) / 5


def test_the_films_that_were_missed_are_counted(films: list[ImageRef], tmp_path: Path) -> None:
    samples = [ImageText(f"t{n}", film, f"film number {n}") for n, film in enumerate(films)]
    assert asked("retrieval", Vectors([2]), samples, tmp_path / "a", 2).counts["failed"] == 1
    assert "failed" not in asked("retrieval", Vectors(), samples, tmp_path / "b", 2).counts


@pytest.mark.parametrize("kind", [Vectors, Pairs])
def test_a_model_that_embeds_no_film_has_failed(
    films: list[ImageRef], tmp_path: Path, kind: Any
) -> None:
    samples = [ImageText(f"t{n}", film, f"film number {n}") for n, film in enumerate(films)]
    with pytest.raises(RuntimeError, match="what is this"):
        asked("retrieval", kind(range(N)), samples, tmp_path, 2)


class Points(Eyes):
    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        self.look([self.prepare_image(query.image) for query in queries])
        return [Grounding(boxes_from_unit([[0, 0, 0.5, 1]])) for _ in queries]


@pytest.mark.parametrize("size", [1, 32])
@pytest.mark.parametrize("kind", [Vectors, Pairs, Points])
def test_a_choice_on_a_film_that_cannot_be_looked_at_is_wrong(
    films: list[ImageRef], tmp_path: Path, kind: Any, size: int
) -> None:
    def side(left: bool) -> Any:
        boxes = boxes_from_unit([[0, 0, 0.5, 1] if left else [0.5, 0, 1, 1]])
        return boxes if kind is Points else None

    samples = [
        ProbeChoice(
            f"c{n}",
            film,
            f"film {n}",
            f"film {(n + 1) % N}",
            change="side",
            boxes=side(True),
            foil_boxes=side(False),
        )
        for n, film in enumerate(films)
    ]
    found = asked("probe", kind([2]), samples, tmp_path, size)
    (accuracy,) = [s.value for s in found.scores if (s.metric, s.group) == ("accuracy", "all")]
    assert accuracy == 4 / 5
