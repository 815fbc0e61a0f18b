"""Grounding as it is asked: who answers, what is refused, what a lone failure costs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from baselines.controls import load
from harness.boxes import boxes_from_unit
from harness.errors import BenchError
from harness.models import Grounding, ModelCard, NotScorable, Query, Shuffled
from harness.samples import Dataset, ImageRef, PhraseBoxes
from harness.store import Store
from harness.tasks.grounding import TASK
from harness.tasks.grounding_groups import grounding_groups
from harness.tasks.task import Asking, NonFinite, Scored

CARD = ModelCard("m", "test", weights="m")
BOX = [0.1, 0.2, 0.5, 0.6]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Four films of four patients, one phrase each; the last has no box."""
    samples = []
    for n in range(4):
        file = tmp_path / f"film{n}.png"
        Pillow.fromarray(np.full((8, 8), 60 * n, np.uint8)).save(file)
        image = ImageRef(f"i{n}", file, f"p{n}", f"s{n}", "PA")
        boxes = boxes_from_unit([BOX]) if n < 3 else boxes_from_unit([])
        samples.append(PhraseBoxes(f"q{n}", image, f"phrase {n}", boxes, finding="nodule"))
    return Dataset("d", "grounding", "test", "frontal", "1", tuple(samples), n_total=4)


class Says:
    """Gives the same answer to everything, and fails on the phrases named."""

    card = CARD

    def __init__(self, answer: Grounding, fails: Sequence[str] = ()):
        self.answer = answer
        self.fails = fails
        self.seen: list[tuple[str, str]] = []

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        self.seen += [(query.phrase, query.image.image_id) for query in queries]
        if any(query.phrase in self.fails for query in queries):
            raise RuntimeError("this one I cannot read")
        return [self.answer] * len(queries)


def right(**more: Any) -> Grounding:
    return Grounding(boxes_from_unit([BOX]), **more)


def asking(model: Any, dataset: Dataset, folder: Path, **more: Any) -> Asking:
    cell = Store(folder / "runs").cell("grounding", "d", "test", "m", "0" * 64)
    return Asking(model, CARD, dataset, cell, options=TASK.defaults, **more)


def scored(model: Any, dataset: Dataset, folder: Path, **more: Any) -> Scored:
    question = asking(model, dataset, folder, **more)
    TASK.ask(question)
    return TASK.score(dataset, question.sink, {**TASK.defaults, "draws": 2}, ())


def whole(found: Scored) -> dict[str, float]:
    return {s.metric: s.value for s in found.scores if s.group == "all"}


def test_answers_are_scored_and_counted(dataset: Dataset, tmp_path: Path) -> None:
    found = scored(Says(right()), dataset, tmp_path)
    assert whole(found)["miou"] == pytest.approx(1)
    assert found.counts["phrases"] == 4
    assert (found.counts["malformed"], found.counts["empty"]) == (0, 0)
    assert "needs a heat map" in found.not_scored["pointing"]


def test_one_phrase_that_fails_is_malformed_and_the_rest_of_its_batch_is_not(
    dataset: Dataset, tmp_path: Path
) -> None:
    model = Says(right(), fails=["phrase 1"])
    found = scored(model, dataset, tmp_path, batch_size=4)
    assert found.counts["malformed"] == 1
    assert whole(found)["miou"] == pytest.approx(2 / 3)
    assert [phrase for phrase, _ in model.seen[4:]] == [f"phrase {n}" for n in range(4)]


def test_a_model_that_fails_on_a_whole_batch_has_failed(dataset: Dataset, tmp_path: Path) -> None:
    every = [f"phrase {n}" for n in range(4)]
    for size in (4, 1):  # with one phrase to a batch, on the others that it is then asked
        question = asking(Says(right(), fails=every), dataset, tmp_path, batch_size=size)
        with pytest.raises(RuntimeError, match="cannot read"):
            TASK.ask(question)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_which_phrases_are_missed_does_not_depend_on_the_batch(
    dataset: Dataset, tmp_path: Path, size: int
) -> None:
    model = Says(right(), fails=["phrase 0", "phrase 1"])
    question = asking(model, dataset, tmp_path, batch_size=size)
    TASK.ask(question)
    stored = question.sink.read("boxes").set_index("sample_id")["status"]
    assert stored.to_dict() == {"q0": "malformed", "q1": "malformed", "q2": "ok", "q3": "ok"}


@pytest.mark.parametrize("error", [MemoryError("64 GiB"), BenchError("no such film")])
def test_memory_and_mistakes_of_the_user_are_never_a_malformed_answer(
    dataset: Dataset, tmp_path: Path, error: Exception
) -> None:
    class Fails(Says):
        def ground(self, queries: Sequence[Query]) -> list[Grounding]:
            del queries
            raise error

    with pytest.raises(type(error)):
        TASK.ask(asking(Fails(right()), dataset, tmp_path))


def test_too_few_answers_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    class Fewer(Says):
        def ground(self, queries: Sequence[Query]) -> list[Grounding]:
            return super().ground(queries)[1:]

    with pytest.raises(BenchError, match="m: 3 answers to 4 queries"):
        TASK.ask(asking(Fewer(right()), dataset, tmp_path))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Grounding(np.float32([[0, 0, np.nan, 1]])), "m on q0: a box has NaN or infinity"),
        (right(scores=np.float32([np.inf])), "m on q0: a score is NaN or infinity"),
        (right(heatmap=np.full((2, 2), np.inf, np.float32)), "m on q0: the heat map has an inf"),
    ],
)
def test_what_is_no_number_fails_the_cell_by_name(
    dataset: Dataset, tmp_path: Path, answer: Grounding, said: str
) -> None:
    with pytest.raises(NonFinite, match=said):
        TASK.ask(asking(Says(answer), dataset, tmp_path))


@pytest.mark.parametrize(
    "box", [[12, 40, 300, 200], [0.5, 0.2, 0.4, 0.6], [-0.2, 0, 0.5, 0.5], [0, 0.6, 0.5, 0.4]]
)
def test_boxes_in_other_units_are_refused_and_not_scored_as_misses(
    dataset: Dataset, tmp_path: Path, box: list[float]
) -> None:
    with pytest.raises(BenchError, match=r"m on q0: box \[.*is not x1, y1, x2, y2 in fractions"):
        TASK.ask(asking(Says(Grounding(np.float32([box]))), dataset, tmp_path))


def test_what_was_answered_is_not_asked_again(dataset: Dataset, tmp_path: Path) -> None:
    first = replace(dataset, samples=dataset.samples[:2])
    TASK.ask(asking(Says(right()), first, tmp_path))
    model = Says(Grounding(status="empty"))
    found = scored(model, dataset, tmp_path)
    assert [phrase for phrase, _ in model.seen] == ["phrase 2", "phrase 3"]
    assert found.counts["empty"] == 2


def test_a_phrase_without_a_stored_answer_is_told(dataset: Dataset, tmp_path: Path) -> None:
    question = asking(Says(right()), replace(dataset, samples=dataset.samples[:1]), tmp_path)
    TASK.ask(question)
    with pytest.raises(BenchError, match="3 of 4 phrases have no answer, the first is 'q1'"):
        TASK.score(dataset, question.sink, TASK.defaults, ())


def test_a_shuffled_model_is_asked_the_phrase_about_another_patients_film(
    dataset: Dataset, tmp_path: Path
) -> None:
    model = Says(right())
    TASK.ask(asking(Shuffled(model, CARD, 0), dataset, tmp_path))
    assert {phrase for phrase, _ in model.seen} == {f"phrase {n}" for n in range(4)}
    assert all(f"i{phrase[-1]}" != image for phrase, image in model.seen)


def test_a_model_that_locates_nothing_is_not_scored(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(NotScorable, match="it locates nothing"):
        TASK.ask(asking(object(), dataset, tmp_path))


def test_the_raw_answer_is_stored_only_if_text_may_be(dataset: Dataset, tmp_path: Path) -> None:
    for folder, allowed in (("a", False), ("b", True)):
        question = asking(
            Says(right(raw="a secret")), dataset, tmp_path / folder, store_text=allowed
        )
        TASK.ask(question)
        frame = question.sink.read("boxes")
        assert ("raw" in frame.columns and set(frame["raw"]) == {"a secret"}) == allowed


def test_the_oracle_is_right_and_needs_no_batches(dataset: Dataset, tmp_path: Path) -> None:
    assert whole(scored(load(name="oracle"), dataset, tmp_path))["miou"] == pytest.approx(1)


def test_what_anatomy_fixes_devices_and_comparisons_are_groups_of_their_own(
    dataset: Dataset,
) -> None:
    first, second, third, fourth = dataset.samples
    samples = [
        replace(first, fixed=True),  # type: ignore[type-var]
        replace(second, kind="device"),  # type: ignore[type-var]
        replace(third, comparison=True),  # type: ignore[type-var]
        fourth,
    ]
    groups = grounding_groups(samples)  # type: ignore[arg-type]
    members = {name: np.flatnonzero(mask).tolist() for name, mask in groups.items()}
    assert members["all"] == [2, 3]
    assert members["fixed"] == [0]
    assert members["kind=device"] == [1]
    assert members["no comparison"] == [3]
    assert "kind=anatomy" not in members
    assert all(set(rows) <= {2, 3} for name, rows in members.items() if name.startswith("view="))
