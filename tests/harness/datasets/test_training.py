from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.datasets import load_dataset
from harness.datasets.training import TrainingSet, load_training
from harness.errors import BenchError
from tests.harness.datasets.conftest import (
    MimicTrees,
    PadChestTree,
    answer,
    dicom_id,
    sentence,
    write_qba,
)

A, B = ("10000001", "50000001"), ("10000002", "50000002")
BOX = (8, 30, 40, 60)
RIGHT = [0.05, 0.5, 0.45, 0.93]


@pytest.fixture
def roots(tmp_path: Path, mimic: MimicTrees) -> dict[str, Path]:
    mimic.add(*A, 1, split="train")
    mimic.add(*A, 2, split="train", view="AP")
    mimic.add(*A, 3, split="train", view="LATERAL")
    mimic.add(*B, 4, split="train")
    mimic.add("10000003", "50000003", 5, split="test")
    mimic.label(*A, **{"Pleural Effusion": "1.0"})
    top = tmp_path / "cxr-qba"
    write_qba(top, *A, [answer("Right effusion.", dicom_id(1), BOX)])
    return {**mimic.write(), "cxr-qba": top}


def load(name: str, roots: dict[str, Path], split: str = "train", **more: Any) -> TrainingSet:
    found = load_training(name, split, roots, **more)
    assert found.n_total == len(found) + sum(found.excluded.values())
    return found


def test_every_frontal_image_comes_with_its_report_and_its_own_boxes(
    roots: dict[str, Path],
) -> None:
    found = load("mimic-cxr", roots)
    assert [s.image.image_id for s in found] == [dicom_id(1), dicom_id(2), dicom_id(4)]
    first, second, _ = found
    assert first.text == "Small right pleural effusion. No pneumothorax is seen. Right effusion."
    assert first.findings == "Small right pleural effusion. No pneumothorax is seen."
    assert first.impression == "Right effusion."
    assert first.sentences[1] == "No pneumothorax is seen."
    assert first.labels == ("Pleural Effusion",)
    assert [phrase for phrase, _ in first.regions] == ["Right effusion."]
    np.testing.assert_allclose(first.regions[0][1], [[0.1, 0.5, 0.5, 1.0]])
    assert second.regions == ()
    assert found.excluded == {"not a PA or AP view": 1}


def test_patients_of_the_test_splits_given_are_left_out_with_a_count(
    roots: dict[str, Path],
) -> None:
    judged = load_dataset("mimic-cxr", task="retrieval", split="train", roots=roots, limit=1)
    found = load("mimic-cxr", roots, keep_out=[judged])
    assert {s.image.patient_id for s in found} == {B[0]}
    assert found.excluded["patient of a test split"] == 2


def test_a_test_split_of_another_population_keeps_nobody_out(
    roots: dict[str, Path], padchest: PadChestTree
) -> None:
    padchest.add(1, sentence("x", RIGHT), patient=A[0])  # the same number, another person
    judged = load_dataset("padchest-gr", task="retrieval", split="test", roots=padchest.write())
    assert len(load("mimic-cxr", roots, keep_out=[judged])) == 3


@pytest.mark.parametrize("split", ["test", "all", "pooled-eval"])
def test_a_test_split_is_never_trained_on(roots: dict[str, Path], split: str) -> None:
    with pytest.raises(BenchError, match="only train and validation"):
        load("mimic-cxr", roots, split)


def test_a_limit_caps_studies(roots: dict[str, Path]) -> None:
    found = load("mimic-cxr", roots, limit=1)
    assert {s.image.study_id for s in found} == {A[1]}
    assert found.excluded["beyond --limit 1"] == 1


def test_without_boxes_no_tree_of_boxes_is_needed(roots: dict[str, Path]) -> None:
    del roots["cxr-qba"]
    assert all(s.regions == () for s in load("mimic-cxr", roots, variant="none"))
    with pytest.raises(BenchError, match="no cxr-qba folder is set"):
        load("mimic-cxr", roots)


def test_an_unknown_variant_or_source_is_refused(roots: dict[str, Path]) -> None:
    with pytest.raises(BenchError, match="Did you mean 'region'"):
        load("mimic-cxr", roots, variant="regions")
    with pytest.raises(BenchError, match="unknown training dataset 'open-i'"):
        load("open-i", roots)


def test_padchest_gives_its_sentences_and_the_boxes_of_reader_1(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("Effusion.", RIGHT), sentence("No nodule."), split="train")
    padchest.add(2, split="train")
    padchest.add(3, sentence("x", RIGHT), split="test")
    found = load("padchest-gr", padchest.write())
    study = found.studies[0]
    assert study.sentences == ("Effusion.", "No nodule.")
    assert [phrase for phrase, _ in study.regions] == ["Effusion."]
    assert study.labels == ("pleural effusion",)
    assert found.excluded == {"no sentence": 1}


def test_the_same_folder_gives_the_same_set(roots: dict[str, Path]) -> None:
    one, two = load("mimic-cxr", roots), load("mimic-cxr", roots)
    assert [s.text for s in one] == [s.text for s in two]
    assert one.version == two.version == "2.1.0 jpg"
