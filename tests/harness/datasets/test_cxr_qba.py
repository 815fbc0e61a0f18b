import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.datasets import load_dataset
from harness.errors import BenchError
from harness.samples import Dataset
from tests.harness.datasets.conftest import MimicTrees, answer, dicom_id, write_qba

P = ("10000001", "50000001")
BOX = (8, 30, 40, 60)  # of 80 x 60 pixels


@pytest.fixture
def top(tmp_path: Path, mimic: MimicTrees) -> Path:
    mimic.add(*P, 1, split="train")
    return tmp_path / "mimic-ext-cxr-qba" / "1.0.0"


def load(mimic: MimicTrees, top: Path, split: str = "train", **more: Any) -> Dataset:
    roots = {**mimic.write(), "cxr-qba": top, **more.pop("roots", {})}
    return load_dataset("cxr-qba", task="grounding", split=split, roots=roots, **more)


def refused(mimic: MimicTrees, top: Path, **more: Any) -> str:
    with pytest.raises(BenchError) as caught:
        load(mimic, top, **more)
    return str(caught.value)


def test_positive_report_answers_are_read_with_boxes_in_fractions(
    mimic: MimicTrees, top: Path
) -> None:
    write_qba(
        top,
        *P,
        [
            answer("Right effusion.", dicom_id(1), BOX),
            answer("No oedema.", dicom_id(1), BOX, positiveness="neg"),
            answer("From a template.", dicom_id(1), BOX, from_report=False),
        ],
    )
    dataset = load(mimic, top)
    assert [s.phrase for s in dataset.samples] == ["Right effusion."]
    np.testing.assert_allclose(dataset.samples[0].boxes, [[0.1, 0.5, 0.5, 1.0]])
    assert dataset.samples[0].finding == "pleural effusion"
    assert dataset.version == "1.0.0 on mimic-cxr 2.1.0 jpg"


def test_questions_without_report_answers_are_passed_over(mimic: MimicTrees, top: Path) -> None:
    said = [answer("x", dicom_id(1), BOX)]
    write_qba(top, *P, said, contains_report_answers=False)
    assert "no item left" in refused(mimic, top)


def test_a_text_counts_once_per_image_with_its_first_boxes(mimic: MimicTrees, top: Path) -> None:
    other = (50, 10, 70, 20)
    said = [
        answer("x", dicom_id(1)),
        answer("x", dicom_id(1), BOX),
        answer("x", dicom_id(1), other),
    ]
    write_qba(top, *P, said)
    samples = load(mimic, top).samples
    assert len(samples) == 1
    np.testing.assert_allclose(samples[0].boxes, [[0.1, 0.5, 0.5, 1.0]])


def test_overlapping_regions_are_fused_and_stray_ones_clipped(mimic: MimicTrees, top: Path) -> None:
    boxes = [(8, 30, 40, 60), (16, 30, 48, 60), (72, 0, 99, 6), (5, 5, 5, 9)]
    write_qba(top, *P, [answer("x", dicom_id(1), *boxes)])
    found = load(mimic, top).samples[0].boxes
    np.testing.assert_allclose(found, [[0.15, 0.5, 0.55, 1.0], [0.9, 0.0, 1.0, 0.1]], atol=1e-6)


def test_phrases_without_a_box_or_of_other_images_are_counted(mimic: MimicTrees, top: Path) -> None:
    mimic.add(*P, 2, split="train", view="LATERAL")
    said = [
        answer("a", dicom_id(1), BOX),
        answer("b", dicom_id(1)),
        answer("c", dicom_id(2), BOX),
    ]
    write_qba(top, *P, said)
    dataset = load(mimic, top)
    assert dataset.excluded == {
        "no box for this image": 1,
        "image not a frontal one of this split": 1,
    }
    assert dataset.n_total == 3


def test_the_split_is_that_of_mimic(mimic: MimicTrees, top: Path) -> None:
    mimic.add("10000002", "50000002", 2, split="test")
    write_qba(top, *P, [answer("a", dicom_id(1), BOX)])
    write_qba(top, "10000002", "50000002", [answer("b", dicom_id(2), BOX)])
    assert [s.phrase for s in load(mimic, top, "test").samples] == ["b"]


def test_a_zip_is_read_whether_or_not_it_holds_its_own_folder(mimic: MimicTrees, top: Path) -> None:
    path = write_qba(top, *P, [answer("a", dicom_id(1), BOX)])
    inner = path.relative_to(top / "exports" / "A_frontal")
    for name in (str(inner), str(inner.relative_to("qa"))):
        place = top.with_name(name.replace("/", "_"))
        (place / "exports" / "A_frontal").mkdir(parents=True)
        with zipfile.ZipFile(place / "exports" / "A_frontal" / "qa.zip", "w") as archive:
            archive.write(path, name)
        assert len(load(mimic, place).samples) == 1


@pytest.mark.parametrize("field", ["questions", "positiveness", "localization", "bboxes", "text"])
def test_a_missing_field_is_named(mimic: MimicTrees, top: Path, field: str) -> None:
    path = write_qba(top, *P, [answer("a", dicom_id(1), BOX)])
    path.write_text(path.read_text().replace(f'"{field}"', '"other"'))
    message = refused(mimic, top)
    assert f"no field '{field}'" in message
    assert f"s{P[1]}.qa.json" in message


def test_a_field_of_another_kind_is_named(mimic: MimicTrees, top: Path) -> None:
    path = write_qba(top, *P, [answer("a", dicom_id(1), (1, 2, 3))])
    assert "not lists of four numbers" in refused(mimic, top)
    path.write_text(json.dumps([1]))
    assert "of another kind" in refused(mimic, top)


def test_the_size_is_read_from_the_file_where_the_table_lacks_it(
    mimic: MimicTrees, top: Path
) -> None:
    for image in mimic.images:
        image["Rows"] = image["Columns"] = ""
    write_qba(top, *P, [answer("a", dicom_id(1), BOX)])
    np.testing.assert_allclose(load(mimic, top).samples[0].boxes, [[0.1, 0.5, 0.5, 1.0]])


def test_lesions_are_the_same_reader_on_another_root(mimic: MimicTrees, top: Path) -> None:
    write_qba(top, *P, [answer("a", dicom_id(1), BOX)])
    lesions = top.with_name("lesions")
    write_qba(lesions, *P, [answer("a", dicom_id(1), (16, 36, 32, 48))])
    assert "phantom twin only" in refused(mimic, top, cohort="lesion")
    dataset = load(mimic, top, cohort="lesion", roots={"cxr-qba-lesion": lesions})
    np.testing.assert_allclose(dataset.samples[0].boxes, [[0.2, 0.6, 0.4, 0.8]])


def test_a_tree_without_the_export_says_what_was_looked_for(mimic: MimicTrees, top: Path) -> None:
    top.mkdir(parents=True)
    assert "has none of exports/A_frontal/qa, exports/A_frontal/qa.zip" in refused(mimic, top)
