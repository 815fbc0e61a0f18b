"""The loaders read the phantom twins as they read the real trees."""

import re
from pathlib import Path

import numpy as np
import pytest

from harness.datasets import load_dataset
from harness.datasets.ms_cxr import read_pairs
from harness.datasets.training import load_training
from harness.phantom.cache import ensure_phantom
from harness.samples import Dataset, ImageText, PhraseBoxes

ASKED = [
    ("mimic-cxr", "retrieval", ""),
    ("mimic-cxr", "retrieval", "impression"),
    ("ms-cxr", "grounding", ""),
    ("cxr-qba", "grounding", ""),
    ("cxr-qba", "grounding", "lesion"),
    ("padchest-gr", "retrieval", ""),
    ("padchest-gr", "retrieval", "spanish"),
    ("padchest-gr", "grounding", ""),
    ("padchest-gr", "grounding", "spanish"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("phantom")


def trees(cache: Path, name: str, split: str = "test") -> tuple[dict[str, Path], Path]:
    roots = dict(ensure_phantom(name, split, cache, workers=1, limit=24, size=64))
    truth = roots.pop("truth")
    return roots, truth


def twin(cache: Path, name: str, task: str, cohort: str = "") -> Dataset:
    roots, truth = trees(cache, name)
    kind = {"split": "test", "cohort": cohort or None, "phantom": True, "truth": truth}
    return load_dataset(name, task=task, roots=roots, **kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "task", "cohort"), ASKED)
def test_every_twin_is_read_and_accounted_for(
    cache: Path, name: str, task: str, cohort: str
) -> None:
    dataset = twin(cache, name, task, cohort)
    assert dataset.n_used > 10
    assert dataset.n_total == dataset.n_used + sum(dataset.excluded.values())
    assert dataset.phantom
    assert not dataset.restricted
    assert re.fullmatch(r"phantom \d+-[0-9a-f]{8}", dataset.version)
    assert all(sample.image.file.is_file() for sample in dataset.samples)
    assert len({sample.sample_id for sample in dataset.samples}) == dataset.n_used


def test_masked_texts_say_what_and_not_where(cache: Path) -> None:
    for name in ("mimic-cxr", "padchest-gr"):
        samples = [s for s in twin(cache, name, "retrieval").samples if isinstance(s, ImageText)]
        assert any(sample.masked_text for sample in samples)
        words = {word for sample in samples for word in sample.masked_text.split()}
        assert not words & {"left", "right", "upper", "lower", "bilateral"}


@pytest.mark.parametrize("name", ["ms-cxr", "padchest-gr"])
def test_readers_regions_and_visibility_come_from_the_truth(cache: Path, name: str) -> None:
    samples = [s for s in twin(cache, name, "grounding").samples if isinstance(s, PhraseBoxes)]
    boxed = [sample for sample in samples if len(sample.boxes)]
    assert all(sample.visibility is not None for sample in boxed)
    assert all(sample.second_reader is not None for sample in boxed)
    assert any(sample.region_boxes is not None and len(sample.region_boxes) for sample in boxed)
    assert {sample.groups["visibility"] for sample in boxed} <= {"low", "middle", "high", "diffuse"}


def test_findings_on_the_patients_left_lie_right_in_the_image(cache: Path) -> None:
    for name in ("ms-cxr", "padchest-gr"):
        for sample in twin(cache, name, "grounding").samples:
            assert isinstance(sample, PhraseBoxes)
            sides = set(re.findall(r"\b(left|right)\b", sample.phrase.lower()))
            if len(sides) != 1 or not len(sample.boxes) or sample.fixed:
                continue
            middle = float(np.mean(sample.boxes[:, [0, 2]]))
            assert (middle > 0.5) == (sides == {"left"}), sample.phrase


def test_the_csv_and_the_coco_file_of_the_twin_agree(cache: Path) -> None:
    top = trees(cache, "ms-cxr")[0]["ms-cxr"]
    table, coco = (read_pairs(next(top.glob(f"*.{ending}"))) for ending in ("csv", "json"))
    assert len(table) == len(coco) > 0
    for one, other in zip(table, coco, strict=True):
        assert (one.dicom, one.category, one.phrase) == (other.dicom, other.category, other.phrase)
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_patients_of_train_and_test_are_disjoint(cache: Path) -> None:
    for name in ("mimic-cxr", "padchest-gr"):
        judged = twin(cache, name, "retrieval")
        roots, truth = trees(cache, name, "train")
        kind = {"variant": "lesion", "phantom": True, "truth": truth, "keep_out": [judged]}
        training = load_training(name, "train", roots, **kind)  # type: ignore[arg-type]
        assert "patient of a test split" not in training.excluded
        assert any(study.regions for study in training)
