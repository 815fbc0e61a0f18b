"""A tree that is damaged or incomplete is told by file and cause, dataset by dataset."""

import gzip
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.datasets import dataset_spec, load_dataset
from harness.datasets.files import read_table
from harness.datasets.imagenome import open_scenes
from harness.datasets.table import check_function
from harness.datasets.training import load_training
from harness.errors import BenchError
from harness.samples import Dataset
from tests.harness.datasets.conftest import (
    MimicTrees,
    PadChestTree,
    answer,
    dicom_id,
    sentence,
    write_film,
    write_qba,
)
from tests.harness.datasets.test_lofi_cohort import row, write_rows
from tests.harness.datasets.test_open_i import xml

A, B = ("10000001", "50000001"), ("10000002", "50000002")
RIGHT = [0.05, 0.5, 0.45, 0.93]
Write = Callable[..., dict[str, Path]]


def load(name: str, roots: dict[str, Path], **more: Any) -> Dataset:
    kind: dict[str, Any] = {"task": "grounding", "split": "all", **more}
    return load_dataset(name, roots=roots, **kind)


def checked(name: str, roots: dict[str, Path]) -> dict[str, tuple[str, str]]:
    found = check_function(dataset_spec(name))(roots, thorough=False)
    return {one.what: (one.level, one.found) for one in found}


# --- MIMIC and what refers to it


def test_a_report_file_that_is_damaged_inside_the_zip_is_named(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    roots = mimic.write()
    path = f"files/p10/p{A[0]}/s{A[1]}.txt"
    whole = mimic.reports / path
    archive = mimic.reports / "mimic-cxr-reports.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(whole, path)
        file.writestr("files/p10/p10000009/s50000009.txt", "FINAL REPORT")
    data = bytearray(archive.read_bytes())
    place = data.find(b"FINAL REPORT")
    data[place : place + 5] = b"final"
    archive.write_bytes(bytes(data))
    whole.unlink()
    (mimic.reports / "files").rename(mimic.reports / "elsewhere")
    with pytest.raises(BenchError, match=r"mimic-cxr-reports\.zip: damaged"):
        load("mimic-cxr", roots, task="retrieval", split="test")


def test_a_zip_without_reports_is_no_zip_of_reports(mimic: MimicTrees) -> None:
    mimic.add(*A, 1, report=None)
    roots = mimic.write()
    (mimic.reports / "files").rmdir()
    with zipfile.ZipFile(mimic.reports / "mimic-cxr-reports.zip", "w") as file:
        file.writestr("README.txt", "nothing here")
    with pytest.raises(BenchError, match="holds no report named like"):
        load("mimic-cxr", roots, task="retrieval", split="test")
    (mimic.reports / "mimic-cxr-reports.zip").unlink()
    assert checked("mimic-cxr", roots)["reports"][0] == "problem"


def test_a_table_of_labels_without_labels_is_named(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    roots = mimic.write()
    path = mimic.jpg / "mimic-cxr-2.0.0-chexpert.csv.gz"
    path.write_bytes(gzip.compress(b"subject_id,study_id\n1,2\n"))
    with pytest.raises(BenchError, match="expected study_id and label columns"):
        load("mimic-cxr", roots, task="retrieval", split="test")


def test_without_images_ms_cxr_is_checked_as_far_as_it_goes(ms_cxr: Write) -> None:
    roots = ms_cxr([(*A, 1, "Pneumonia", "opacity", (4, 30, 32, 26))])
    found = checked("ms-cxr", {"ms-cxr": roots["ms-cxr"]})
    assert found["images"] == ("note", "not checked")
    assert found["phrases"][1] == "1"


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("image_width", "wide", r"image size 'wide' x '60' is not a number"),
        ("path", "files/a.jpg", f"ms-cxr: image {dicom_id(1)}: "),
    ],
)
def test_a_row_of_ms_cxr_that_cannot_be_read_is_named(
    mimic: MimicTrees, ms_cxr: Write, column: str, value: str, said: str
) -> None:
    mimic.add(*A, 1)
    roots = ms_cxr([(*A, 1, "Pneumonia", "opacity", (4, 30, 32, 26))])
    (file,) = roots["ms-cxr"].glob("*.csv")
    table = read_table(file)
    table[column] = value
    table.to_csv(file, index=False)
    with pytest.raises(BenchError, match=said):
        load("ms-cxr", roots)


def test_lofi_rows_without_a_folder_an_object_or_an_image_are_told(
    tmp_path: Path, mimic: MimicTrees
) -> None:
    mimic.add(*A, 1)
    mimic.add(*B, 2, film=False)
    masks, rows = tmp_path / "chexmask", tmp_path / "llava-rad"
    (masks / "OriginalResolution").mkdir(parents=True)
    rows.mkdir()
    lines = ["dicom_id,Dice RCA (Mean)", *(f"{dicom_id(n)},0.9" for n in (1, 2))]
    (masks / "OriginalResolution" / "MIMIC-CXR-JPG.csv").write_text("\n".join(lines))
    roots = {**mimic.write(), "chexmask": masks}
    kind: dict[str, Any] = {"task": "retrieval", "split": "test", "cohort": "lofi"}
    with pytest.raises(BenchError, match="no llava-rad folder is set"):
        load("mimic-cxr", roots, **kind)
    roots["llava-rad"] = rows
    write_rows(rows, ["a row"])  # type: ignore[list-item]
    with pytest.raises(BenchError, match="expected a list of objects"):
        load("mimic-cxr", roots, **kind)
    write_rows(rows, [row(*A, 1, "Effusion."), row(*B, 2, "Clear.")])
    whole = load("mimic-cxr", roots, **kind)
    assert (whole.n_used, whole.excluded) == (1, {"image file missing": 1})
    first = load("mimic-cxr", roots, limit=1, **kind)
    assert first.excluded == {"beyond --limit 1": 1}
    (mimic.jpg / "files").rename(mimic.jpg / "elsewhere")
    with pytest.raises(BenchError, match=r"no image left in split test: .*missing.*2"):
        load("mimic-cxr", roots, **kind)


def test_questions_about_films_that_are_not_there_are_counted(
    tmp_path: Path, mimic: MimicTrees
) -> None:
    top = tmp_path / "cxr-qba"
    mimic.add(*A, 1, split="train", film=False)
    mimic.add(*B, 2, split="train")
    write_qba(top, *A, [answer("Right effusion.", dicom_id(1), (8, 30, 40, 60))])
    write_qba(top, *B, [answer("Left effusion.", dicom_id(2), (40, 30, 70, 60))])
    roots = {**mimic.write(), "cxr-qba": top}
    found = load("cxr-qba", roots, split="train")
    assert found.excluded == {"image file missing": 1}
    assert checked("cxr-qba", {"cxr-qba": top})["studies"] == ("note", "not checked")


def test_scene_graphs_are_asked_for_where_they_are_not(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="chest-imagenome is not set"):
        open_scenes({})
    with pytest.raises(BenchError, match="no silver_dataset/scene_graph folder or zip"):
        open_scenes({"chest-imagenome": tmp_path})


# --- training sets


def test_training_sets_say_what_is_missing(tmp_path: Path, mimic: MimicTrees) -> None:
    mimic.add(*A, 1, split="train", film=False)
    mimic.add(*B, 2, split="train", report=" FINAL REPORT\n FINDINGS: ___\n")
    roots = mimic.write()
    with pytest.raises(BenchError, match="cxr-qba"):
        load_training("mimic-cxr", "train", roots, variant="region")
    with pytest.raises(BenchError, match=r"nothing to train on in split train .*missing"):
        load_training("mimic-cxr", "train", {**roots, "cxr-qba": tmp_path}, variant="none")


def test_a_padchest_training_set_is_capped_and_what_it_leaves_is_counted(
    padchest: PadChestTree,
) -> None:
    for number in range(3):
        padchest.add(number, sentence("Nodule.", RIGHT), split="train")
    found = load_training("padchest-gr", "train", padchest.write(), limit=2)
    assert (len(found), found.excluded) == (2, {"beyond --limit 2": 1})


# --- Open-I


def test_open_i_is_checked_with_and_without_its_images(tmp_path: Path) -> None:
    top = tmp_path / "open-i"
    top.mkdir()
    (top / "1.xml").write_text(xml(1, "Clear lungs.", "CXR1_IM-1"))
    (top / "2.xml").write_text(xml(2, "Effusion."))
    without = checked("open-i", {"open-i": top})
    assert without["studies"][1] == "2"
    assert without["images"][1] == "1"
    assert without["reports with a text"] == ("ok", "2")
    assert without["studies with an image"] == ("note", "0")
    write_film(top / "CXR1_IM-1.png")
    found = checked("open-i", {"open-i": top})
    assert found["studies with an image and a text"] == ("ok", "1")
    assert found["missing image files"][0] == "ok"


def test_a_report_without_any_text_is_counted(tmp_path: Path) -> None:
    top = tmp_path / "open-i"
    top.mkdir()
    empty = xml(1, "", "CXR1_IM-1").replace("Normal\n chest.", "")
    (top / "1.xml").write_text(empty)
    (top / "2.xml").write_text(xml(2, "Effusion.", "CXR2_IM-1"))
    for number in (1, 2):
        write_film(top / f"CXR{number}_IM-1.png")
    found = load("open-i", {"open-i": top}, task="retrieval")
    assert found.excluded == {"no findings or impression": 1}


# --- PadChest-GR


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t.entries.append(t.entries[0]), "has two entries"),
        (lambda t: t.entries.append("x"), "expected a list of objects"),
        (lambda t: t.entries[0].pop("StudyID"), "no field 'StudyID'"),
        (lambda t: t.entries[0]["findings"][0].update(abnormal=1), "abnormal is 1, expected true"),
        (lambda t: t.rows[0].__setitem__(3, "tset"), "split 'tset' is none of"),
    ],
)
def test_a_padchest_tree_that_is_no_release_is_told_why(
    padchest: PadChestTree, spoil: Callable[[PadChestTree], Any], said: str
) -> None:
    padchest.add(1, sentence("Nodule.", RIGHT))
    spoil(padchest)
    with pytest.raises(BenchError, match=said):
        load("padchest-gr", padchest.write(), split="test", options={"absent": False})


def test_a_second_reader_without_a_box_that_can_be_drawn_is_none(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("Nodule.", RIGHT, extra_boxes=[RIGHT]))
    padchest.add(2, sentence("Nodule.", RIGHT, extra_boxes=[[0.5, 0.5, 0.1, 0.1]]))
    roots = padchest.write()
    first, second = load("padchest-gr", roots, split="test", options={"absent": False}).samples
    assert first.second_reader is not None  # type: ignore[union-attr]
    assert second.second_reader is None  # type: ignore[union-attr]


def test_a_tree_without_a_film_counts_its_films_as_missing(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("Nodule.", RIGHT), film=False)
    with pytest.raises(BenchError, match="image file missing"):
        load("padchest-gr", padchest.write(), split="test", options={"absent": False})


# --- one's own data


def test_a_manifest_is_checked_for_patients_in_two_splits(tmp_path: Path) -> None:
    write_film(tmp_path / "a.png")
    write_film(tmp_path / "b.png")
    head = "image_id,file,patient_id,study_id,split,text_findings\n"
    rows = ["a,a.png,p1,s1,train,Clear.", "b,b.png,p2,s2,test,"]
    (tmp_path / "manifest.csv").write_text(head + "\n".join(rows))
    found = checked("manifest", {"manifest": tmp_path})
    assert found["images"] == ("ok", "2")
    assert found["splits"] == ("ok", "test, train")
    assert found["patients in one split only"] == ("ok", "yes")
    rows[1] = rows[1].replace("p2", "p1")
    (tmp_path / "manifest.csv").write_text(head + "\n".join(rows))
    found = checked("manifest", {"manifest": tmp_path})
    assert found["patients in more than one split"] == ("problem", "1")


def test_the_archive_of_open_i_that_is_cut_is_named(tmp_path: Path) -> None:
    archive = tmp_path / "NLMCXR_reports.tgz"
    (tmp_path / "1.xml").write_text(xml(1))
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "1.xml", "ecgen-radiology/1.xml")
    (tmp_path / "1.xml").unlink()
    archive.write_bytes(archive.read_bytes()[:60])
    with pytest.raises(BenchError, match=r"NLMCXR_reports\.tgz"):
        load("open-i", {"open-i": tmp_path}, task="retrieval")
