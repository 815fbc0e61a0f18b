from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.datasets import load_dataset
from harness.errors import BenchError
from harness.images import Image
from harness.samples import Dataset
from tests.harness.datasets.conftest import MimicTrees, dicom_id

Write = Callable[..., dict[str, Path]]

P, Q = ("10000001", "50000001"), ("10000002", "50000002")
ROWS = [
    (*P, 1, "Pneumonia", "opacity in the right base", (4, 30, 32, 26)),
    (*P, 1, "Pneumonia", "opacity in the right base", (50, 30, 10, 10)),
    (*P, 1, "Pneumonia", "another opacity", (10, 10, 10, 10)),
    (*Q, 2, "Cardiomegaly", "stable cardiomegaly", (20, 20, 40, 30)),
]


@pytest.fixture
def films(mimic: MimicTrees) -> MimicTrees:
    mimic.add(*P, 1, split="validate", view="AP")
    mimic.add(*Q, 2, split="test")
    return mimic


def load(roots: dict[str, Path], split: str = "all", **more: Any) -> Dataset:
    dataset = load_dataset("ms-cxr", task="grounding", split=split, roots=roots, **more)
    assert dataset.n_total == dataset.n_used + sum(dataset.excluded.values())
    return dataset


def refused(roots: dict[str, Path], split: str = "all") -> str:
    with pytest.raises(BenchError) as caught:
        load(roots, split)
    return str(caught.value)


@pytest.mark.usefixtures("films")
def test_rows_of_one_phrase_are_one_pair_with_all_its_boxes(ms_cxr: Write) -> None:
    dataset = load(ms_cxr(ROWS))
    assert [len(s.boxes) for s in dataset.samples] == [2, 1, 1]
    expected = np.array([[4 / 80, 30 / 60, 36 / 80, 56 / 60], [50 / 80, 0.5, 60 / 80, 40 / 60]])
    np.testing.assert_allclose(dataset.samples[0].boxes, expected, rtol=1e-6)


@pytest.mark.usefixtures("films")
def test_all_four_forms_of_the_release_give_the_same_samples(ms_cxr: Write) -> None:
    forms = [
        load(ms_cxr(ROWS, "1.1.0")),
        load(ms_cxr(ROWS, "1.0.0")),
        load(ms_cxr(ROWS, "1.1.0", end="\r\n", bom=b"\xef\xbb\xbf")),
    ]
    for dataset in forms[1:]:
        for one, other in zip(forms[0].samples, dataset.samples, strict=True):
            assert (one.sample_id, one.phrase) == (other.sample_id, other.phrase)
            np.testing.assert_array_equal(one.boxes, other.boxes)
    assert forms[0].version.startswith("1.1.0 on mimic-cxr 2.1.0 jpg")
    assert forms[1].version.startswith("0.1 on")


@pytest.mark.usefixtures("films")
def test_the_coco_file_says_the_same_as_the_csv(ms_cxr: Write) -> None:
    table = load(ms_cxr(ROWS, "1.1.0"))
    roots = ms_cxr(ROWS, "1.0.0", coco=True)
    coco = load(roots)
    assert coco.version.startswith("0.1 on")
    assert [s.sample_id for s in coco.samples] == [s.sample_id for s in table.samples]
    for one, other in zip(table.samples, coco.samples, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)


@pytest.mark.usefixtures("films")
def test_the_mimic_split_decides_and_not_the_column(ms_cxr: Write) -> None:
    roots = ms_cxr(ROWS)  # its split column says train everywhere
    test = load(roots, "test")
    assert [s.phrase for s in test.samples] == ["stable cardiomegaly"]
    assert test.excluded == {"in MIMIC validation": 2}
    assert len(load(roots, "validation").samples) == 2
    assert len(load(roots, "pooled-eval").samples) == 3
    assert "no item left in split train" in refused(roots, "train")


@pytest.mark.usefixtures("films")
def test_findings_views_and_comparisons_are_marked(ms_cxr: Write) -> None:
    first, _, heart = load(ms_cxr(ROWS)).samples
    assert (first.finding, first.fixed, first.comparison, first.groups) == (
        *("pneumonia", False, False),
        {"view": "AP"},
    )
    assert (heart.finding, heart.fixed, heart.comparison) == ("cardiomegaly", True, True)


@pytest.mark.usefixtures("films")
def test_sample_ids_are_stable_and_tell_no_phrase(ms_cxr: Write) -> None:
    ids = [s.sample_id for s in load(ms_cxr(ROWS)).samples]
    assert ids == [
        f"{dicom_id(1)}/pneumonia/2",
        f"{dicom_id(1)}/pneumonia/1",
        f"{dicom_id(2)}/cardiomegaly/1",
    ]
    shuffled = [s.sample_id for s in load(ms_cxr([ROWS[3], ROWS[2], *ROWS[:2]])).samples]
    assert sorted(shuffled) == sorted(ids)


def test_an_image_outside_the_split_table_or_without_a_file_is_counted(
    mimic: MimicTrees, ms_cxr: Write
) -> None:
    mimic.add(*P, 1, film=False)
    mimic.add("10000003", "50000003", 3)
    third = ("10000003", "50000003", 3, "Edema", "edema", (1, 1, 9, 9))
    dataset = load(ms_cxr([*ROWS, third]))
    assert dataset.excluded == {"image file missing": 2, "image not in the MIMIC split table": 1}


@pytest.mark.usefixtures("films")
def test_a_limit_takes_images(ms_cxr: Write) -> None:
    dataset = load(ms_cxr(ROWS), limit=1)
    assert [s.image.image_id for s in dataset.samples] == [dicom_id(1)] * 2
    assert dataset.excluded == {"beyond --limit 1": 1}


@pytest.mark.usefixtures("films")
@pytest.mark.parametrize(
    ("xywh", "problem"),
    [
        ((4, 4, 0, 9), "not positive"),
        ((4, 4, -3, 9), "not positive"),
        ((70, 4, 60, 9), "not xyxy in"),
        (("nan", 4, 5, 9), "not finite"),
        (("", 4, 5, 9), "not four numbers"),
    ],
)
def test_a_bad_box_names_file_and_line(ms_cxr: Write, xywh: Any, problem: str) -> None:
    message = refused(ms_cxr([*ROWS, (*Q, 2, "Edema", "edema", xywh)]))
    assert "MS_CXR_Local_Alignment_v1.1.0.csv line 6" in message
    assert problem in message


def test_a_folder_without_annotations_says_which_files_were_looked_for(
    films: MimicTrees, tmp_path: Path
) -> None:
    roots = {**films.write(), "ms-cxr": tmp_path}
    assert "has no MS_CXR_Local_Alignment_v1.1.0.csv" in refused(roots)


@pytest.mark.usefixtures("films")
def test_a_coco_file_with_a_missing_field_names_it(ms_cxr: Write) -> None:
    roots = ms_cxr(ROWS, coco=True)
    path = next(roots["ms-cxr"].glob("*.json"))
    path.write_text(path.read_text().replace('"label_text"', '"sentence"'))
    assert "field 'label_text' is missing" in refused(roots)


def test_without_images_the_missing_tree_is_named(ms_cxr: Write) -> None:
    roots = {"ms-cxr": ms_cxr(ROWS)["ms-cxr"]}
    assert "no images (mimic-cxr-jpg or mimic-cxr) are set" in refused(roots)


@pytest.mark.usefixtures("films")
def test_a_right_opacity_is_bright_inside_its_box_at_image_left(ms_cxr: Write) -> None:
    sample = load(ms_cxr(ROWS[:1])).samples[0]
    x1, y1, x2, y2 = np.round(sample.boxes[0] * [80, 60, 80, 60]).astype(int)
    shown = Image(sample.image.image_id, sample.image.file).read().astype(int)
    assert (x1 + x2) / 2 < 40
    assert shown[y1:y2, x1:x2].mean() > 200
    assert shown[y1:y2, 80 - x2 : 80 - x1].mean() < 40  # the mirrored box is dark
