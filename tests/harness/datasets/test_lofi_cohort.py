import json
from pathlib import Path
from typing import Any

import pytest

from harness.datasets import load_dataset
from harness.errors import BenchError
from harness.samples import Dataset
from tests.harness.datasets.conftest import MimicTrees, dicom_id

A, B, C = ("10000001", "50000001"), ("10000002", "50000002"), ("10000003", "50000003")


def row(patient: str, study: str, number: int, text: str, **more: Any) -> dict[str, Any]:
    value = {
        "id": f"{patient}_{study}",
        "image": f"mimic/p{patient[:2]}/p{patient}/s{study}/{dicom_id(number)}.jpg",
        "generate_method": "gpt4",
        "impression": None,
        "view": "PA",
        "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": text}],
    }
    return {**value, **more}


ROWS = [
    row(*A, 1, "Right\n effusion."),
    row(*A, 2, "Right effusion, seen from the front.", view="AP", impression="Effusion."),
    row(*B, 3, "Clear lungs."),
    row(*C, 4, "No mask."),
    row(*A, 1, "By rules.", generate_method="rule-based"),
    row(*A, 5, "Lateral.", view="LATERAL"),
]
RCA = {1: 0.80, 2: 0.91, 3: 0.69, 5: 0.99}


@pytest.fixture
def roots(tmp_path: Path, mimic: MimicTrees) -> dict[str, Path]:
    mimic.add(*A, 1)
    mimic.add(*A, 2, view="AP")
    mimic.add(*B, 3)
    mimic.add(*C, 4)
    annotation, masks = tmp_path / "llava-rad", tmp_path / "chexmask"
    annotation.mkdir()
    (masks / "OriginalResolution").mkdir(parents=True)
    write_rows(annotation, ROWS)
    lines = ["dicom_id,Dice RCA (Max),Dice RCA (Mean),Landmarks"]
    lines += [f'{dicom_id(number)},0.99,{rca},"1,2"' for number, rca in RCA.items()]
    (masks / "OriginalResolution" / "MIMIC-CXR-JPG.csv").write_text("\n".join(lines))
    return {**mimic.write(), "llava-rad": annotation, "chexmask": masks}


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    name = "chat_test_MIMIC_CXR_all_gpt4extract_rulebased_v1.json"
    (folder / name).write_text(json.dumps(rows))


def load(roots: dict[str, Path], **more: Any) -> Dataset:
    kind = {"task": "retrieval", "split": "test", "cohort": "lofi"}
    dataset = load_dataset("mimic-cxr", roots=roots, **{**kind, **more})
    assert dataset.n_total == dataset.n_used + sum(dataset.excluded.values())
    return dataset


def test_one_image_per_study_the_one_of_highest_rca(roots: dict[str, Path]) -> None:
    dataset = load(roots)
    assert [s.image.image_id for s in dataset.samples] == [dicom_id(2)]
    assert dataset.samples[0].text == "Right effusion, seen from the front.\nEffusion."


def test_every_row_left_out_is_counted_by_reason(roots: dict[str, Path]) -> None:
    assert load(roots).excluded == {
        "CheXmask RCA below 0.7": 1,
        "no CheXmask row": 1,
        "not a gpt4 row": 1,
        "not a PA or AP view": 1,
        "lower RCA than another image of its study": 1,
    }


def test_another_method_is_taken_on_request_only_and_changes_the_version(
    roots: dict[str, Path],
) -> None:
    by_rules = load(roots, options={"generate_method": "rule-based"})
    assert [s.text for s in by_rules.samples] == ["By rules."]
    assert by_rules.version != load(roots).version


def test_a_file_without_gpt4_rows_says_what_it_holds(roots: dict[str, Path]) -> None:
    write_rows(roots["llava-rad"], ROWS[4:5])
    with pytest.raises(BenchError, match=r"'gpt4'; found \{'rule-based': 1\}"):
        load(roots)


def test_a_row_of_another_split_is_counted(roots: dict[str, Path], mimic: MimicTrees) -> None:
    for image in mimic.images:
        if image["subject_id"] == B[0]:
            image["split"] = "train"
    mimic.write()
    assert load(roots).excluded["not in this split of the MIMIC split table"] == 1


@pytest.mark.parametrize("tree", ["llava-rad", "chexmask"])
def test_a_missing_tree_is_named_with_the_way_to_get_it(roots: dict[str, Path], tree: str) -> None:
    del roots[tree]
    with pytest.raises(BenchError, match=f"no {tree} folder is set.*export"):
        load(roots)


def test_a_missing_field_is_named_with_its_row(roots: dict[str, Path]) -> None:
    broken = [ROWS[0], {**ROWS[1], "conversations": []}]
    write_rows(roots["llava-rad"], broken)
    with pytest.raises(BenchError, match=r"row 1: no field conversations\[1\]\.value"):
        load(roots)


def test_masks_without_the_quality_column_are_refused(roots: dict[str, Path]) -> None:
    path = roots["chexmask"] / "OriginalResolution" / "MIMIC-CXR-JPG.csv"
    path.write_text("dicom_id,Landmarks\nx,y\n")
    with pytest.raises(BenchError, match=r"expected the columns dicom_id, Dice RCA \(Mean\)"):
        load(roots)


def test_a_path_of_another_form_is_refused(roots: dict[str, Path]) -> None:
    write_rows(roots["llava-rad"], [{**ROWS[0], "image": "somewhere/x.jpg"}])
    with pytest.raises(BenchError, match=r"'somewhere/x\.jpg' is not like files/p10"):
        load(roots)
