"""Two-way choices as they are asked: by vectors, by pairs, by boxes, and by nobody at all."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from baselines.controls import load
from harness.boxes import boxes_from_unit
from harness.datasets import load_dataset
from harness.errors import BenchError
from harness.images import Image
from harness.models import Grounding, ModelCard, NotScorable, Query, Shuffled
from harness.samples import Dataset, ImageRef, ProbeChoice
from harness.store import Store
from harness.tasks.probe import TASK
from harness.tasks.task import Asking, NonFinite, Scored

CARD = ModelCard("m", "test", weights="m")
SIDES = ("left", "right")


@pytest.fixture
def films(tmp_path: Path) -> list[ImageRef]:
    """Six films of six patients, even ones dark and odd ones bright."""
    refs = []
    for n in range(6):
        file = tmp_path / f"film{n}.png"
        Pillow.fromarray(np.full((8, 8), 200 if n % 2 else 50, np.uint8)).save(file)
        refs.append(ImageRef(f"i{n}", file, f"p{n}", f"s{n}", "PA"))
    return refs


def choices(films: Sequence[ImageRef]) -> Dataset:
    """Dark films show the left nodule, bright ones the right one; changes take turns."""
    samples = tuple(
        ProbeChoice(
            f"c{n}",
            film,
            f"{SIDES[n % 2]} nodule",
            f"{SIDES[1 - n % 2]} nodule",
            change=("side", "zone", "finding")[n % 3],
            finding="nodule" if n < 4 else "",
            visibility=None if n == 5 else n / 10,
        )
        for n, film in enumerate(films)
    )
    return Dataset("probe", "probe", "test", "frontal", "1", samples)


class Sees:
    """A vector per film and per side; `knows` says which films it reads rightly."""

    card = CARD

    def __init__(self, knows: Sequence[int] = range(6)):
        self.knows = knows

    def prepare_image(self, image: Image) -> np.ndarray:
        bright = image.read().mean() > 100
        if int(image.image_id[1:]) not in self.knows:
            bright = not bright
        return np.float32([0, 1] if bright else [1, 0])

    def embed_images(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(prepared)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.float32([[1, 0] if text.startswith("left") else [0, 1] for text in texts])


class Pairs:
    """Scores pairs and has no vectors."""

    card = CARD
    worst = -1.0

    def prepare_image(self, image: Image) -> Image:
        return image

    def score(self, images: Sequence[Image], texts: Sequence[str]) -> np.ndarray:
        side = ["right" if image.read().mean() > 100 else "left" for image in images]
        return np.array([[1.0 if t.startswith(s) else self.worst for t in texts] for s in side])


class Points:
    """Answers with a box on the side that the phrase names, as the film is seen."""

    card = CARD

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        x = [0.55 if query.phrase.startswith("left") else 0.05 for query in queries]
        return [Grounding(boxes_from_unit([[v, 0.1, v + 0.4, 0.9]])) for v in x]


def asking(model: Any, dataset: Dataset, folder: Path) -> Asking:
    cell = Store(folder / "runs").cell("probe", "probe", "test", "m", "0" * 64)
    return Asking(model, CARD, dataset, cell, options=TASK.defaults)


def scored(model: Any, dataset: Dataset, folder: Path, metrics: Sequence[str] = ()) -> Scored:
    question = asking(model, dataset, folder)
    assert TASK.ask(question) == {}
    return TASK.score(dataset, question.sink, TASK.defaults, metrics)


def values(found: Scored) -> dict[tuple[str, str], tuple[float, int]]:
    return {(s.metric, s.group): (s.value, s.n) for s in found.scores}


def test_vectors_choose_the_nearer_text(films: list[ImageRef], tmp_path: Path) -> None:
    found = scored(Sees(knows=[0, 1, 2]), choices(films), tmp_path)
    numbers = values(found)
    assert numbers["accuracy", "all"] == (1 / 2, 6)
    assert numbers["accuracy/side", "all"] == (1 / 2, 2)  # 0 rightly, 3 wrongly
    assert numbers["accuracy", "finding=nodule"] == (3 / 4, 4)
    assert numbers["accuracy", "visibility=low"] == (1.0, 2)  # 0.0 and 0.1 of 0.0 to 0.4
    assert numbers["accuracy", "visibility=high"] == (0.0, 2)
    assert numbers["tied", "all"] == (0.0, 6)
    assert found.counts == {"probes": 6}
    absent = {"negation", "severity", "counterfactual", "mirror"}
    assert found.not_scored == {f"accuracy/{change}": "no such probe here" for change in absent}


def test_only_the_metrics_asked_for_are_scored(films: list[ImageRef], tmp_path: Path) -> None:
    found = scored(Sees(), choices(films), tmp_path, ["accuracy/side", "accuracy/mirror"])
    assert {s.metric for s in found.scores} == {"accuracy/side"}
    assert set(found.not_scored) == {"accuracy/mirror"}


def test_pair_scores_choose_the_higher_one(films: list[ImageRef], tmp_path: Path) -> None:
    assert values(scored(Pairs(), choices(films), tmp_path))["accuracy", "all"] == (1.0, 6)


def test_a_tie_is_wrong_and_is_counted(films: list[ImageRef], tmp_path: Path) -> None:
    model = Pairs()
    model.worst = 1.0
    numbers = values(scored(model, choices(films), tmp_path))
    assert numbers["accuracy", "all"] == (0.0, 6)
    assert numbers["tied", "all"] == (1.0, 6)


@pytest.mark.parametrize(("side", "place"), [("true text", 0), ("foil", 1)])
def test_a_score_that_is_no_number_fails_by_side_and_sample(
    films: list[ImageRef], tmp_path: Path, side: str, place: int
) -> None:
    class Broken(Pairs):
        def score(self, images: Sequence[Image], texts: Sequence[str]) -> np.ndarray:
            scores = super().score(images, texts)
            if images[0].image_id == "i4":
                scores[0, place] = np.nan
            return scores

    with pytest.raises(NonFinite, match=f"m: NaN or infinity for the {side} of c4"):
        TASK.ask(asking(Broken(), choices(films), tmp_path))


def test_boxes_choose_the_side_they_lie_nearer_to(films: list[ImageRef], tmp_path: Path) -> None:
    left, right = ([[0.6, 0.1, 0.9, 0.9]], [[0.1, 0.1, 0.4, 0.9]])
    one = ProbeChoice("a", films[0], "left lung", "right lung", "side")
    samples = (
        replace(one, boxes=boxes_from_unit(left), foil_boxes=boxes_from_unit(right)),
        replace(
            one,
            sample_id="b",
            boxes=boxes_from_unit(right),  # the truth contradicts the word: wrong for `Points`
            foil_boxes=boxes_from_unit(left),
        ),
    )
    dataset = replace(choices(films), samples=samples)
    assert values(scored(Points(), dataset, tmp_path))["accuracy", "all"] == (1 / 2, 2)
    with pytest.raises(NotScorable, match="locates nothing"):
        TASK.ask(asking(Sees(), dataset, tmp_path / "other"))


def test_a_model_without_scores_of_texts_is_not_scored(
    films: list[ImageRef], tmp_path: Path
) -> None:
    with pytest.raises(NotScorable, match="scores no texts"):
        TASK.ask(asking(Points(), choices(films), tmp_path))


def test_the_oracle_is_right_and_the_collapsed_one_never(
    films: list[ImageRef], tmp_path: Path
) -> None:
    dataset = choices(films)
    oracle = scored(load(name="oracle"), dataset, tmp_path / "oracle")
    assert values(oracle)["accuracy", "all"] == (1.0, 6)
    collapsed = scored(load(name="collapsed"), dataset, tmp_path / "collapsed")
    assert values(collapsed)["accuracy", "all"] == (0.0, 6)


def test_chance_is_one_half_and_asks_nothing(films: list[ImageRef], tmp_path: Path) -> None:
    found = scored(load(name="chance"), choices(films), tmp_path)
    assert values(found) == {("accuracy", "all"): (0.5, 6)}


def test_a_shuffled_model_sees_another_patients_film(films: list[ImageRef], tmp_path: Path) -> None:
    two = replace(choices(films), samples=choices(films).samples[:2])  # one dark, one bright film
    assert values(scored(Sees(), two, tmp_path / "own"))["accuracy", "all"] == (1.0, 2)
    shuffled = Shuffled(Sees(), CARD, 0)
    assert values(scored(shuffled, two, tmp_path / "other"))["accuracy", "all"] == (0.0, 2)


def test_stored_rows_may_stand_in_any_order(films: list[ImageRef], tmp_path: Path) -> None:
    dataset = choices(films)
    question = asking(Sees(knows=[0]), dataset, tmp_path)
    TASK.ask(question)
    backward = asking(None, dataset, tmp_path / "back")
    backward.sink.append("choices", question.sink.read("choices")[::-1])
    found = TASK.score(dataset, backward.sink, TASK.defaults, ())
    assert found.scores == TASK.score(dataset, question.sink, TASK.defaults, ()).scores
    assert isinstance(backward.sink.read("choices"), pd.DataFrame)


def row(**changes: Any) -> str:
    one = {
        "pair_id": "q1",
        "image": "film.png",
        "image_id": "i1",
        "patient_id": "p1",
        "study_id": "s1",
        "view": "PA",
        "source": "text",
        "change": "side",
        "text": " Left  nodule. ",
        "foil": "Right nodule.",
        "finding": "nodule",
        "visibility": 0.5,
    }
    return json.dumps({**one, **changes}) + "\n"


def read(folder: Path) -> Dataset:
    return load_dataset("probe", task="probe", split="test", roots={"probe": folder}, phantom=True)


def test_lines_of_the_probe_folder_are_choices(tmp_path: Path) -> None:
    second = row(source="mirror", image_id="i2")
    (tmp_path / "pairs.jsonl").write_text(row() + second, "utf-8")
    one, mirrored = read(tmp_path).samples
    assert isinstance(one, ProbeChoice)
    assert isinstance(mirrored, ProbeChoice)
    assert (one.sample_id, one.text, one.change) == ("q1/i1", "Left nodule.", "side")
    assert (one.image.patient_id, one.image.file) == ("p1", tmp_path / "film.png")
    assert (mirrored.sample_id, mirrored.change) == ("q1/i2", "mirror")


def test_a_line_without_a_key_and_a_folder_without_lines_are_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"pairs\.jsonl: no such file"):
        read(tmp_path)
    (tmp_path / "pairs.jsonl").write_text(row() + json.dumps({"image": "a.png"}) + "\n", "utf-8")
    with pytest.raises(BenchError, match=r"pairs\.jsonl line 2: the key 'image_id' is missing"):
        read(tmp_path)


def test_a_probe_of_other_boxes_or_words_has_another_fingerprint(films: list[ImageRef]) -> None:
    whole = choices(films)
    first, *rest = whole.samples
    boxed = replace(first, boxes=boxes_from_unit([[0, 0, 0.5, 0.5]]))
    moved = replace(first, boxes=boxes_from_unit([[0, 0, 0.5, 0.6]]))
    said = replace(first, foil="Left mass.")
    marks = {replace(whole, samples=(x, *rest)).fingerprint() for x in (first, boxed, moved, said)}
    assert len(marks) == 4
