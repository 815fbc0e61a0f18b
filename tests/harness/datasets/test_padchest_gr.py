import json
import zipfile
from typing import Any

import numpy as np
import pytest

from harness.datasets import load_dataset
from harness.datasets.absent import absent_finding
from harness.errors import BenchError
from harness.images import Image
from harness.samples import Dataset
from tests.harness.datasets.conftest import PadChestTree, sentence

RIGHT = [0.05, 0.5, 0.45, 0.93]


def load(tree: PadChestTree, task: str = "grounding", split: str = "test", **more: Any) -> Dataset:
    roots = more.pop("roots", None) or tree.write()
    more.setdefault("options", {"absent": False})
    dataset = load_dataset("padchest-gr", task=task, split=split, roots=roots, **more)
    assert dataset.n_total == dataset.n_used + sum(dataset.excluded.values())
    return dataset


def refused(tree: PadChestTree, **more: Any) -> str:
    with pytest.raises(BenchError) as caught:
        load(tree, **more)
    return str(caught.value)


def test_the_text_is_all_sentences_in_order_negatives_included(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("Right pleural effusion.", RIGHT), sentence("No pneumothorax."))
    padchest.add(2)
    dataset = load(padchest, "retrieval")
    assert [s.text for s in dataset.samples] == ["Right pleural effusion. No pneumothorax."]
    assert dataset.excluded == {"no sentence": 1}
    assert dataset.samples[0].labels == ("pleural effusion",)


def test_spanish_has_the_same_ids_and_is_another_cohort(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("Right pleural effusion.", RIGHT))
    english, spanish = load(padchest, "retrieval"), load(padchest, "retrieval", cohort="spanish")
    assert [s.sample_id for s in english.samples] == [s.sample_id for s in spanish.samples]
    assert spanish.samples[0].text == "es: Right pleural effusion."
    assert english.fingerprint() != spanish.fingerprint()


def test_ids_beyond_64_bits_stay_whole(padchest: PadChestTree) -> None:
    image = padchest.add(7, sentence("Right pleural effusion.", RIGHT))
    sample = load(padchest).samples[0]
    assert sample.image.study_id == "1" * 37 + "07"
    assert (sample.image.image_id, sample.sample_id) == (image, f"{image}#1")
    assert (sample.image.sex, sample.image.age) == ("F", 63.0)


def test_an_id_rounded_by_a_spreadsheet_is_refused(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("x", RIGHT))
    padchest.rows[1][0] = "1.11111E+38"
    assert "master_table.csv line 3: StudyID 1.11111E+38 was rounded" in refused(padchest)
    padchest.rows.clear()
    padchest.entries[0]["StudyID"] = 1.5e38
    padchest.add(2, sentence("x", RIGHT))
    assert "entry 0: StudyID 1.5e+38 was rounded" in refused(padchest)


def test_a_denial_has_no_boxes_and_a_positive_sentence_needs_one(padchest: PadChestTree) -> None:
    padchest.add(
        1,
        sentence("Right effusion.", RIGHT),
        sentence("No pneumothorax."),
        sentence("Aortic elongation.", abnormal=True, labels=["aortic elongation"]),
    )
    dataset = load(padchest)
    assert [(s.phrase, s.negated, len(s.boxes)) for s in dataset.samples] == [
        ("Right effusion.", False, 1),
        ("No pneumothorax.", True, 0),
    ]
    assert dataset.excluded == {"positive sentence without a box of reader 1": 1}


def test_both_readers_are_read_and_none_is_not_an_empty_reading(padchest: PadChestTree) -> None:
    second = [[0.1, 0.5, 0.5, 0.9], [0.6, 0.6, 0.7, 0.7]]
    padchest.add(
        1, sentence("a", RIGHT, extra_boxes=second), sentence("b", RIGHT), sentence("no c")
    )
    first, alone, denial = load(padchest).samples
    np.testing.assert_allclose(first.second_reader, np.float32(second))
    assert alone.second_reader is None
    assert denial.second_reader is None


def test_a_box_that_touches_the_border_is_kept_and_one_outside_is_counted(
    padchest: PadChestTree,
) -> None:
    padchest.add(
        1,
        sentence("a", [0.5, 0.5, 1.0, 1.0]),
        sentence("b", [0.5, 0.5, 1.004, 1.0]),
        sentence("c", [0.5, 0.5, 1.4, 1.0]),
        sentence("d", [0.5, 0.5, 0.5, 1.0]),
        sentence("e", [100, 200, 300, 400]),
    )
    dataset = load(padchest)
    assert [s.phrase for s in dataset.samples] == ["a", "b"]
    assert dataset.samples[1].boxes.max() == 1.0
    assert dataset.excluded == {"box outside the image or without area": 3}


def test_progression_marks_a_comparison(padchest: PadChestTree) -> None:
    padchest.add(
        1,
        sentence("Effusion.", RIGHT, progression="stable"),
        sentence("Effusion.", RIGHT),
        sentence("Unchanged effusion.", RIGHT),
    )
    assert [s.comparison for s in load(padchest).samples] == [True, False, True]


def test_kinds_and_fixed_findings_follow_the_first_label(padchest: PadChestTree) -> None:
    labels = (["cardiomegaly"], ["central venous catheter"], ["nodule", "cardiomegaly"])
    padchest.add(1, *(sentence("x", RIGHT, labels=names) for names in labels))
    samples = load(padchest).samples
    assert [(s.finding, s.kind, s.fixed) for s in samples] == [
        ("cardiomegaly", "finding", True),
        ("central venous catheter", "device", False),
        ("nodule", "finding", False),
    ]


def test_splits_come_from_the_master_table(padchest: PadChestTree) -> None:
    for number, split in enumerate(("train", "validation", "test")):
        padchest.add(number, sentence("x", RIGHT), split=split)
    assert [load(padchest, split=s).n_used for s in ("train", "validation", "test")] == [1, 1, 1]
    assert load(padchest, split="all").n_used == 3


def test_a_patient_in_two_splits_is_refused(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("x", RIGHT), patient="p", split="train")
    padchest.add(2, sentence("x", RIGHT), patient="p", split="test")
    assert "1 PatientID(s) stand in more than one split, e.g. p" in refused(padchest)


def test_what_is_in_one_file_only_or_has_no_image_is_counted(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("x", RIGHT))
    padchest.add(2, sentence("x", RIGHT), sentence("y"), film=False)
    padchest.add(3, report=False)
    padchest.add(4, sentence("x", RIGHT), listed=False)
    assert load(padchest).excluded == {
        "image file missing": 2,
        "no entry in the grounded reports": 1,
    }
    assert load(padchest, "retrieval", "all").excluded == {
        "image file missing": 1,
        "not in the master table": 1,
        "no entry in the grounded reports": 1,
    }


def test_files_of_different_releases_are_refused(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("x", RIGHT))
    for row in padchest.rows:
        row[0] = "2" * 39
    assert "The two files are of different releases" in refused(padchest)


def test_a_limit_takes_studies_or_images(padchest: PadChestTree) -> None:
    for number in range(3):
        padchest.add(number, sentence("x", RIGHT), sentence("y"))
    assert load(padchest, limit=2).excluded == {"beyond --limit 2": 2}
    assert load(padchest, "retrieval", limit=2).excluded == {"beyond --limit 2": 1}


def test_images_lie_deeper_in_some_extracts(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("x", RIGHT))
    roots = padchest.write()
    (padchest.top / "Padchest_GR_files" / "PadChest_GR").rename(padchest.top / "PadChest_GR")
    assert load(padchest, roots=roots).n_used == 1


def test_a_missing_field_or_a_truncated_json_is_named(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("x", RIGHT))
    roots = padchest.write()
    path = padchest.top / "grounded_reports_20240819.json"
    whole = path.read_text()
    path.write_text(whole.replace('"abnormal"', '"anormal"'))
    assert "entry 0: no field 'abnormal'" in refused(padchest, roots=roots)
    path.write_text(whole[: len(whole) // 2])
    assert "not JSON" in refused(padchest, roots=roots)
    path.unlink()
    assert "has no grounded_reports_*.json" in refused(padchest, roots=roots)


def test_the_newest_report_file_is_the_version(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("x", RIGHT))
    roots = padchest.write()
    (padchest.top / "grounded_reports_20230101.json").write_text(json.dumps([]))
    assert load(padchest, roots=roots).version == "20240819"


def test_a_phantom_cohort_is_refused_on_real_data(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("x", RIGHT))
    assert "exists in the phantom twin only" in refused(padchest, cohort="mimic-wording")


def test_a_right_effusion_is_bright_inside_its_box_at_image_left(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("Right pleural effusion.", RIGHT))
    sample = load(padchest).samples[0]
    x1, y1, x2, y2 = np.round(sample.boxes[0] * [80, 60, 80, 60]).astype(int)
    shown = Image(sample.image.image_id, sample.image.file).read().astype(int)
    assert shown.dtype == int
    assert shown[y1:y2, x1:x2].mean() > 200  # 16 bits of which 11 are used, windowed
    assert shown[y1:y2, 80 - x2 : 80 - x1].mean() < 40


def test_a_table_in_a_zip_is_read(padchest: PadChestTree) -> None:
    padchest.add(1, sentence("x", RIGHT))
    roots = padchest.write()
    table = padchest.top / "master_table.csv"
    with zipfile.ZipFile(padchest.top / "master_table.csv.zip", "w") as archive:
        archive.write(table, "master_table.csv")
    table.unlink()
    assert load(padchest, roots=roots).n_used == 1


def test_each_image_is_asked_for_one_finding_it_does_not_have(padchest: PadChestTree) -> None:
    labels = (["nodule"], ["rib fracture"], ["pneumothorax"])
    padchest.add(1, *(sentence("x", RIGHT, labels=names) for names in labels))
    padchest.add(2, sentence("No effusion."))
    padchest.add(3)  # nothing is asked of it
    with_queries = load(padchest, options={})
    queries = [s for s in with_queries.samples if "#no-" in s.sample_id]
    assert [s.image.image_id[:39][-2:] for s in queries] == ["01", "02"]
    assert (queries[0].phrase, queries[0].finding) == ("Pleural effusion.", "pleural effusion")
    assert all(len(s.boxes) == 0 and not s.negated for s in queries)
    assert with_queries.n_total == load(padchest).n_total + 2
    spanish = load(padchest, cohort="spanish", options={})
    assert spanish.samples[-2].phrase == "Derrame pleural."
    assert [s.sample_id for s in spanish.samples] == [s.sample_id for s in with_queries.samples]


def test_a_label_close_to_a_finding_forbids_asking_for_it() -> None:
    close = ["hydropneumothorax", "costophrenic angle blunting", "granuloma", "callus rib fracture"]
    for number in range(20):
        found = absent_finding(f"image-{number}", close)
        assert found is not None
        assert found.name == "pneumothorax"
    assert absent_finding("x", [*close, "pneumothorax"]) is None
    assert len({absent_finding(f"image-{k}", []).name for k in range(99)}) == 4  # type: ignore[union-attr]
