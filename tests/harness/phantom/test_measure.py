"""The measuring itself: numbers small enough to check on paper, and probes with known answers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.box_tables import build_box_table, read_box_table
from harness.phantom.cache import training_table
from harness.phantom.measure_film import (
    auc,
    floor_of,
    mean_union_iou,
    measure_boxes,
    probe_auc,
    thumbnail,
)
from harness.phantom.measure_text import (
    measure_studies,
    overlap_of_words,
    recall_ceiling,
    recall_expected,
    same_findings_share,
)
from harness.phantom.tables import DATASETS, make_tables
from harness.phantom.version import VERSION
from harness.samples import ImageRef, PhraseBoxes


def studies(**columns: list) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    table = {
        "patient_id": [f"p{k}" for k in range(count)],
        "prior_study_id": [None] * count,
        "masked_text": ["normal"] * count,
        "content": ["normal"] * count,
        "retrieval_text": ["Clear."] * count,
        "view": ["PA"] * count,
        "sex": ["F"] * count,
        "devices": [""] * count,
        **{name: [False] * count for name in ("denied", "possible", "compared")},
    }
    return pd.DataFrame({**table, **columns})


def test_a_key_borne_by_more_than_k_is_never_found() -> None:
    keys = ["normal"] * 11 + ["mass"] * 10 + ["nodule"]
    assert recall_ceiling(keys) == 11 / 22
    assert recall_expected(keys) == pytest.approx((11 * 10 / 11 + 11) / 22)


def test_alike_but_for_place_counts_others_that_lie_elsewhere() -> None:
    table = studies(
        masked_text=["nodule"] * 10 + ["mass"] * 10,
        content=[f"nodule {k}" for k in range(10)] + ["mass left"] * 10,
    )
    # Each nodule has nine others elsewhere; the masses all lie in one place.
    assert same_findings_share(table) == 0.5


def test_the_table_says_what_is_there() -> None:
    table = studies(
        patient_id=["a", "a", "b"],
        prior_study_id=[None, "1", None],
        retrieval_text=["Clear.", "clear", "Mass."],
        masked_text=["normal", "normal", "mass"],
        content=["normal", "normal", "mass left"],
    )
    found = {what: value for what, value, _ in measure_studies(table)}
    assert found["studies per patient"] == 1.5
    assert found["share with a prior"] == pytest.approx(1 / 3)
    assert found["identical texts"] == pytest.approx(2 / 3)
    assert found["share of normals"] == pytest.approx(2 / 3)


def test_a_nuisance_that_gives_the_text_away_is_caught() -> None:
    count = 400
    sexes = ["F" if k % 2 else "M" for k in range(count)]
    devices = [f"device {k % 20}" for k in range(count)]
    told = studies(
        retrieval_text=[f"{d} {s}" for d, s in zip(devices, sexes, strict=True)],
        sex=sexes,
        devices=devices,
    )
    silent = studies(retrieval_text=[f"text {k}" for k in range(count)], sex=sexes)
    name = "R@10 knowing nuisance only"
    chance = 10 / count
    assert {w: v for w, v, _ in measure_studies(told)}[name] > 10 * chance
    assert {w: v for w, v, _ in measure_studies(silent)}[name] == pytest.approx(chance)


def test_words_are_compared_as_normalized() -> None:
    assert overlap_of_words(["Small LEFT effusion."], ["left effusion,", "hydrothorax"]) == 2 / 3


def test_auc_of_a_perfect_and_of_a_blind_score() -> None:
    positive = np.array([True, True, False, False])
    assert auc(np.array([4.0, 3, 2, 1]), positive) == 1.0
    assert auc(np.zeros(4), positive) == 0.5


def test_the_probe_finds_what_is_there_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((600, 1)) < 0.3).astype(float)
    noise = rng.normal(size=(600, 8))
    patients = np.arange(600)
    assert probe_auc(noise, labels, patients)[0] < 0.6
    told = np.column_stack([noise, labels[:, 0] + 0.3 * rng.normal(size=600)])
    assert probe_auc(told, labels, patients)[0] > 0.9
    mean, high = floor_of(told, labels, patients)
    assert 0.4 < mean < high < 0.6


def test_a_thumbnail_holds_no_exposure() -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (64, 64)).astype(np.uint8)
    brighter = pixels.astype(np.uint16) * 257 + 1000
    assert np.allclose(thumbnail(pixels), thumbnail(brighter), atol=1e-3)


def phrase(boxes: list[list[float]], text: str = "left nodule", **more: object) -> PhraseBoxes:
    image = ImageRef("i", "f.jpg", "p", "s")  # type: ignore[arg-type]
    return PhraseBoxes("x", image, text, np.array(boxes, np.float32), finding="nodule", **more)


def test_controls_are_measured_on_movable_boxed_phrases() -> None:
    whole, half = [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]
    reader = np.array([half], np.float32)
    samples = [
        phrase([whole], second_reader=reader, region_boxes=reader),
        phrase([half], second_reader=reader, region_boxes=reader),
        phrase([half], fixed=True),
    ]
    table = build_box_table([phrase([whole])] * 6)
    found = {what: value for what, value, _ in measure_boxes(samples, table, "t")}
    assert found["t: movable boxed phrases"] == 2
    assert found["t: mIoU text-only"] == pytest.approx(0.75)
    assert found["t: mIoU second-reader"] == pytest.approx(0.75)
    assert mean_union_iou([reader], [samples[1]]) == pytest.approx(1.0)


def test_a_table_is_made_from_training_studies_through_the_loaders(tmp_path: Path) -> None:
    (path,) = make_tables("padchest", 12, tmp_path, workers=1)
    table = read_box_table(path)
    assert path.name == "padchest-gr.json"
    assert table.sums["|||"].phrases() > 4
    assert "padchest-gr" in table.source
    assert "first 12 training studies" in table.source


@pytest.mark.parametrize("dataset", [name for names in DATASETS.values() for name in names])
def test_a_table_of_this_generator_is_shipped(dataset: str) -> None:
    table = read_box_table(training_table(dataset))
    assert table.source.startswith(f"phantom {VERSION}-")
    assert table.sums["|||"].phrases() > 5000
