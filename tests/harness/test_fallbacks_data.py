"""What the harness does where films or tables are missing, damaged or not to be asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.box_tables import build_box_table
from harness.boxes import boxes_from_pixels, boxes_from_unit
from harness.chunks import chunk_text
from harness.data_access import DataAccess
from harness.errors import BenchError, WeightsAbsent
from harness.plan import plan_cells
from harness.readable import keep_readable
from harness.roots import data_roots
from harness.run import Settings, run_cells
from harness.samples import Dataset, ImageRef, ImageText, PhraseBoxes
from harness.sections import read_special_studies
from harness.suite_schema import Evaluation, Suite
from tests.harness.datasets.conftest import write_film


@pytest.fixture(autouse=True)
def _own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


# --- films


def test_films_that_cannot_be_read_are_counted_by_reason_and_remembered(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.png" for name in ("good", "empty", "cut", "gone")]
    write_film(files[0])
    files[1].write_bytes(b"")
    files[2].write_bytes(files[0].read_bytes()[:60])
    samples = [ImageText(f.stem, ImageRef(f.stem, f, "p", "s", "PA"), "Clear.") for f in files]
    dataset = Dataset("d", "retrieval", "all", "c", "1", tuple(samples), n_total=4)
    told: list[tuple[int, int]] = []
    found = keep_readable(dataset, progress=lambda done, total: told.append((done, total)))
    assert [s.sample_id for s in found.samples] == ["good"]
    assert found.excluded["image unreadable: missing"] == 1
    assert found.excluded["image unreadable: empty file"] == 1
    assert sum(found.excluded.values()) == 3
    assert told[-1] == (4, 4)
    again = keep_readable(dataset, progress=lambda *_: pytest.fail("looked at them again"))
    assert again.excluded == found.excluded
    (memo,) = (tmp_path / "cache" / "readable").glob("*.json")
    memo.write_text("{")
    assert keep_readable(dataset).excluded == found.excluded
    assert json.loads(memo.read_text()).keys() == {"empty", "cut", "gone"}


def test_pixels_that_look_like_fractions_and_films_without_a_side_are_refused() -> None:
    with pytest.raises(ValueError, match="looks like fractions"):
        boxes_from_pixels([[0.1, 0.2, 0.5, 0.6]], width=100, height=100)
    with pytest.raises(ValueError, match=r"image size 0 x 100 is not positive"):
        boxes_from_pixels([[1, 2, 5, 6]], width=0, height=100)


def test_a_table_of_mean_boxes_leaves_out_what_is_denied_or_not_boxed() -> None:
    image = ImageRef("i", Path("x"), "p", "s", "PA")
    boxed = PhraseBoxes("a", image, "nodule", boxes_from_unit([[0, 0, 0.5, 0.5]]), finding="nodule")
    other = PhraseBoxes(
        "b", image, "no nodule", boxes_from_unit([[0.5, 0.5, 1, 1]]), finding="nodule", negated=True
    )
    bare = PhraseBoxes("c", image, "mass", finding="mass")
    assert build_box_table([boxed, other, bare]).to_json() == build_box_table([boxed]).to_json()


# --- data


def access(**roots: Path) -> DataAccess:
    return DataAccess({name.replace("_", "-"): path for name, path in roots.items()})


def test_a_threshold_has_no_data_where_the_validation_split_cannot_be_had(tmp_path: Path) -> None:
    assert access().calibration("", phantom=True) is None
    (tmp_path / "manifest.csv").write_text("no,such,columns\n")
    assert access(manifest=tmp_path).calibration("manifest", phantom=False) is None


def test_phantoms_tune_nothing_that_is_asked_of_real_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def render(*_: object) -> None:
        raise AssertionError("a phantom was rendered for real data")

    monkeypatch.setattr(DataAccess, "_render", render)
    assert access(padchest_gr=Path("p")).calibration("ms-cxr", phantom=False) is None
    bank = Evaluation(task="grounding", dataset="cxr-qba", split="train", cohort="region")
    with pytest.raises(WeightsAbsent, match=r"cxr-qba: no cxr-qba folder is set.*phantoms only"):
        access(padchest_gr=Path("p")).other(bank, 5, phantom=False)


def test_real_data_tune_nothing_that_is_asked_of_phantoms() -> None:
    own = access(ms_cxr=Path("m"), mimic_cxr_jpg=Path("j"), manifest=Path("own"))
    assert own.beside("ms-cxr", phantom=False) is own
    assert own.beside("ms-cxr", phantom=True).roots == {"manifest": Path("own")}


def test_mean_boxes_come_from_the_training_split_of_ones_own_data(tmp_path: Path) -> None:
    from tests.harness.datasets.conftest import PadChestTree, sentence

    tree = PadChestTree(tmp_path / "padchest")
    tree.add(1, sentence("Right nodule.", [0.1, 0.2, 0.3, 0.4], labels=["nodule"]), split="train")
    tree.add(2, sentence("Left nodule.", [0.6, 0.2, 0.8, 0.4], labels=["nodule"]), split="test")
    asked = Evaluation(task="grounding", dataset="padchest-gr", split="test")
    own = access(padchest_gr=tree.write()["padchest-gr"])
    dataset = Dataset("padchest-gr", "grounding", "test", "c", "1", ())
    table = own.box_table(asked, dataset)
    assert table is not None
    assert table.source == "padchest-gr train"
    assert "0.1" in table.to_json()
    assert "0.6" not in table.to_json()
    assert access().box_table(asked, dataset) is None  # the training split cannot be had
    loose = Evaluation(task="grounding", dataset="open-i", split="all")
    assert own.box_table(loose, dataset) is None  # it has no train split


def own_films(folder: Path, *rows: tuple[str, str, str]) -> DataAccess:
    """A manifest of (image, patient, split), each film with a nodule in a box of its own."""
    lines = ["image_id,file,patient_id,split"]
    phrases = []
    for number, (image, patient, split) in enumerate(rows):
        write_film(folder / f"{image}.png")
        lines.append(f"{image},{image}.png,{patient},{split}")
        box = [0.1 * number, 0.1, 0.1 * number + 0.3, 0.5]
        phrases.append(json.dumps({"image_id": image, "phrase": "nodule", "boxes": [box]}))
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    (folder / "phrases.jsonl").write_text("\n".join(phrases) + "\n")
    return access(manifest=folder)


@pytest.mark.parametrize(
    ("split", "patient", "source"),
    [("test", "p2", "manifest train"), ("test", "p1", ""), ("train", "p2", ""), ("all", "p2", "")],
)
def test_no_mean_box_knows_the_boxes_of_a_patient_it_is_asked_about(
    tmp_path: Path, split: str, patient: str, source: str
) -> None:
    own = own_films(tmp_path, ("a", "p1", "train"), ("b", patient, "test"))
    asked = Evaluation(task="grounding", dataset="manifest", split=split)
    loaded = own.load(asked).dataset
    assert loaded is not None
    table = own.box_table(asked, loaded)
    assert (table.source if table else "") == source


def test_the_phantoms_table_is_not_asked_about_the_films_it_was_made_of() -> None:
    for split, there in (("test", True), ("train", False), ("all", False)):
        asked = Evaluation(task="grounding", dataset="ms-cxr", split=split)
        dataset = Dataset("ms-cxr", "grounding", split, "frontal", "1", (), phantom=True)
        assert (access().box_table(asked, dataset) is not None) == there


def test_a_dataset_of_which_nothing_is_left_is_a_damaged_one(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    head = "image_id,file,patient_id,study_id,split,text_findings\n"
    (tmp_path / "manifest.csv").write_text(head + "a,images/a.png,p,s,all,Clear.\n")
    evaluation = {"task": "retrieval", "dataset": "manifest", "split": "all"}
    suite = Suite(suite="s", models=[{"name": "oracle"}], evaluations=[evaluation])
    cells = plan_cells(suite)
    (done,) = run_cells(cells, access(manifest=tmp_path), Settings(tmp_path / "o", device="cpu"))
    record, _ = done
    assert record.status == "failed"
    assert "manifest all: no sample is left; excluded: {'image unreadable: empty file': 1}" in (
        record.reason
    )


def test_a_file_where_a_folder_is_expected_is_told(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("x")
    with pytest.raises(BenchError, match=r"is a file\. Expected the folder of the data"):
        data_roots([f"ms-cxr={file}"])
    reports = tmp_path / "NLMCXR_reports.tgz"
    reports.write_bytes(b"")
    assert data_roots([f"open-i={reports}"])["open-i"] == reports


def test_a_table_of_special_studies_with_other_columns_is_told(tmp_path: Path) -> None:
    path = tmp_path / "special_studies.csv"
    path.write_text("study,part\ns1,findings\n")
    with pytest.raises(BenchError, match="expected the columns study, section, start, end"):
        read_special_studies(path)


def test_a_sentence_over_the_limit_is_split_at_words_and_loses_none() -> None:
    def count(texts: Any) -> list[int]:
        return [len(text.split()) for text in texts]

    text = "One two three four five six seven. Eight."
    chunks = chunk_text(text, 3, count)
    assert chunks == ["One two three", "four five six", "seven. Eight."]


def test_readable_is_asked_about_nothing_without_images() -> None:
    empty = Dataset("d", "retrieval", "all", "c", "1", ())
    assert keep_readable(empty).samples == ()
