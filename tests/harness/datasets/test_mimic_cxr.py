import gzip
import zipfile
from typing import Any

import pytest

from harness.datasets import Request, load_dataset
from harness.datasets.mimic_cxr import load as load_directly
from harness.errors import BenchError
from harness.samples import Dataset
from tests.harness.datasets.conftest import REPORT, MimicTrees

HEAD = "                                 FINAL REPORT\n"
A, B, C = ("10000001", "50000001"), ("10000002", "50000002"), ("10000003", "50000003")


def load(mimic: MimicTrees, **more: Any) -> Dataset:
    roots = more.pop("roots", None) or mimic.write()
    more = {"split": "test", **more}
    dataset = load_dataset("mimic-cxr", task="retrieval", roots=roots, **more)
    assert dataset.n_total == dataset.n_used + sum(dataset.excluded.values())
    return dataset


def refused(mimic: MimicTrees, **more: Any) -> str:
    with pytest.raises(BenchError) as caught:
        load(mimic, **more)
    return str(caught.value)


def test_the_text_is_findings_then_impression_with_white_space_collapsed(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    sample = load(mimic).samples[0]
    assert sample.text == "Small right pleural effusion. No pneumothorax is seen. Right effusion."
    assert (sample.image.patient_id, sample.image.study_id) == A
    assert sample.image.file.is_file()


def test_cohorts_take_one_section_and_count_studies_without_it(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    mimic.add(*B, 2, report=HEAD + " FINDINGS: Clear.")
    impression = load(mimic, cohort="impression")
    assert [s.text for s in impression.samples] == ["Right effusion."]
    assert impression.excluded == {"report without a section impression": 1}
    findings = load(mimic, cohort="findings")
    assert findings.samples[1].text == "Clear."
    assert impression.fingerprint() != findings.fingerprint()


def test_neither_findings_nor_impression_gives_the_last_paragraph(mimic: MimicTrees) -> None:
    mimic.add(*A, 1, report=HEAD + " INDICATION: Cough.\n \n Lungs are clear.")
    mimic.add(*B, 2, report=HEAD + " INDICATION: Cough.")
    dataset = load(mimic)
    assert [s.text for s in dataset.samples] == ["Lungs are clear."]
    assert dataset.excluded == {"report without findings or impression": 1}


def test_a_text_of_marks_only_is_no_text(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    mimic.add(*B, 2, report=HEAD + " FINDINGS: ___.\n \n IMPRESSION: ___")
    assert load(mimic).excluded == {"report without findings or impression": 1}


def test_one_image_per_study_pa_first_then_the_lowest_id(mimic: MimicTrees) -> None:
    mimic.add(*A, 4, view="AP")
    mimic.add(*A, 3)
    pa = mimic.add(*A, 2)
    mimic.add(*A, 5, view="LATERAL")
    low = mimic.add(*B, 8, view="AP")
    mimic.add(*B, 9, view="AP")
    dataset = load(mimic)
    assert [s.image.image_id for s in dataset.samples] == [pa, low]
    assert [s.groups["view"] for s in dataset.samples] == ["PA", "AP"]
    assert dataset.excluded == {"not a PA or AP view": 1, "second frontal image of its study": 3}


def test_a_blank_view_is_left_out_and_counted_by_itself(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    mimic.add(*B, 2, view="")
    mimic.add(*C, 3, view="AP AXIAL")
    assert load(mimic).excluded == {"view not named": 1, "not a PA or AP view": 1}


def test_only_the_split_asked_for_is_taken(mimic: MimicTrees) -> None:
    mimic.add(*A, 1, split="validate")
    mimic.add(*B, 2)
    assert [s.image.patient_id for s in load(mimic, split="validation").samples] == [A[0]]
    assert load(mimic, split="all").n_used == 2


def test_missing_reports_and_images_of_half_a_download_are_counted(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    mimic.add(*B, 2, film=False)
    mimic.add(*C, 3, report=None)
    assert load(mimic).excluded == {"image file missing": 1, "no report file": 1}


def test_nothing_left_is_an_error_with_the_reasons(mimic: MimicTrees) -> None:
    mimic.add(*A, 1, film=False)
    assert "1 image file missing" in refused(mimic)


def test_a_limit_takes_the_first_studies_and_counts_the_rest(mimic: MimicTrees) -> None:
    mimic.add(*A, 1, report=None)
    mimic.add(*B, 2)
    mimic.add(*C, 3)
    mimic.add("10000009", "50000009", 9)
    dataset = load(mimic, limit=2)
    assert [s.image.patient_id for s in dataset.samples] == [B[0], C[0]]
    assert dataset.excluded == {"no report file": 1, "beyond --limit 2": 1}


def test_windows_line_ends_in_a_report_change_nothing(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    mimic.add(*B, 2, report=REPORT.replace("\n", "\r\n"))
    texts = [s.text for s in load(mimic).samples]
    assert texts[0] == texts[1]


def test_reports_are_read_from_the_publishers_zip(mimic: MimicTrees) -> None:
    mimic.add(*A, 1, report=None)
    mimic.add(*B, 2, report=None)
    roots = mimic.write()
    with zipfile.ZipFile(mimic.reports / "mimic-cxr-reports.zip", "w") as archive:
        archive.writestr(f"files/p10/p{A[0]}/s{A[1]}.txt", REPORT)
    dataset = load(mimic, roots=roots)
    assert dataset.samples[0].text.startswith("Small right")
    assert dataset.excluded == {"no report file": 1}


def test_a_truncated_zip_of_reports_is_named(mimic: MimicTrees) -> None:
    mimic.add(*A, 1, report=None)
    roots = mimic.write()
    (mimic.reports / "mimic-cxr-reports.zip").write_bytes(b"PK\x03\x04 half")
    assert "mimic-cxr-reports.zip: truncated or damaged" in refused(mimic, roots=roots)


def test_a_special_study_follows_its_own_rule_where_the_table_is_there(mimic: MimicTrees) -> None:
    mimic.add(*A, 1, report=HEAD + " TECHNIQUE: Lungs are clear.\n \n IMPRESSION: Wrong.")
    mimic.add(*B, 2)
    mimic.add(*C, 3)
    without = load(mimic)
    table = f"study,section,start,end\ns{A[1]},technique,,\ns{C[1]},,0,0\n"
    (mimic.reports / "special_studies.csv").write_text(table)
    dataset = load(mimic)
    assert without.samples[0].text == "Wrong."
    assert dataset.samples[0].text == "Lungs are clear."
    assert dataset.excluded == {"special study without a text": 1}
    assert "general rules" in without.text_policy
    assert "special studies: table" in dataset.text_policy
    impressions = load(mimic, cohort="impression")
    assert impressions.excluded == {"special study without a section impression": 2}


def test_labels_are_the_positive_ones_of_the_study(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    mimic.label(*A, **{"Pleural Effusion": "1.0", "Edema": "-1.0"})
    assert load(mimic).samples[0].labels == ("Pleural Effusion",)


def test_a_text_that_compares_is_a_stratum_of_its_own(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    mimic.add(*B, 2, report=HEAD + " FINDINGS: Unchanged effusion.")
    assert [s.groups["comparison"] for s in load(mimic).samples] == ["no", "yes"]


def test_dicoms_stand_in_for_jpgs_and_make_another_version(mimic: MimicTrees) -> None:
    dicom = mimic.add(*A, 1)
    jpg = load(mimic)
    folder = mimic.reports / "files" / "p10" / f"p{A[0]}" / f"s{A[1]}"
    folder.mkdir(parents=True)
    (folder / f"{dicom}.dcm").touch()
    for name in ("split", "metadata"):  # DICOM users put the two small tables beside their files
        file = f"mimic-cxr-2.0.0-{name}.csv.gz"
        (mimic.reports / file).write_bytes((mimic.jpg / file).read_bytes())
    dataset = load(mimic, roots={"mimic-cxr": mimic.reports})
    assert dataset.samples[0].image.file.suffix == ".dcm"
    assert (jpg.version, dataset.version) == ("2.1.0 jpg", "2.1.0 dicom")
    assert jpg.fingerprint() != dataset.fingerprint()


def test_a_mixed_tree_is_named_in_the_version(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    mimic.write()
    mimic.jpg.rename(mimic.jpg.with_name("2.0.0"))
    roots = {"mimic-cxr": mimic.reports, "mimic-cxr-jpg": mimic.jpg.with_name("2.0.0")}
    assert load(mimic, roots=roots).version == "2.0.0 jpg, reports 2.1.0"


def test_real_data_are_restricted_and_a_phantom_is_not(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    real = load(mimic)
    twin = load_directly(Request("retrieval", "test", "frontal", mimic.write(), phantom=True))
    assert (real.restricted, real.phantom) == (True, False)
    assert (twin.restricted, twin.phantom) == (False, True)


def test_a_truncated_table_is_named(mimic: MimicTrees) -> None:
    for number in range(60):
        mimic.add(f"10000{number:03d}", f"50000{number:03d}", number, report=None, film=False)
    roots = mimic.write()
    path = mimic.jpg / "mimic-cxr-2.0.0-metadata.csv.gz"
    path.write_bytes(path.read_bytes()[:-60])
    message = refused(mimic, roots=roots)
    assert "mimic-cxr-2.0.0-metadata.csv.gz: truncated or damaged" in message


def test_an_unpacked_table_is_read_too(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    roots = mimic.write()
    packed = mimic.jpg / "mimic-cxr-2.0.0-split.csv.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    assert load(mimic, roots=roots).n_used == 1


def test_a_missing_table_says_where_it_comes_from(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    roots = mimic.write()
    (mimic.jpg / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    assert "It comes with MIMIC-CXR-JPG" in refused(mimic, roots=roots)


def test_a_patient_in_two_splits_is_refused(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    mimic.add(A[0], "50000009", 9, split="train")
    assert f"1 patient(s) stand in more than one split, e.g. {A[0]}" in refused(mimic)


def test_tables_that_disagree_about_a_study_are_refused(mimic: MimicTrees) -> None:
    dicom = mimic.add(*A, 1)
    roots = mimic.write()
    mimic.images[0]["study_id"] = "50000099"
    mimic.table("split", ("dicom_id", "study_id", "subject_id", "split"))
    message = refused(mimic, roots=roots)
    assert "disagree about the study_id of 1 image(s)" in message
    assert dicom in message


def test_an_image_that_stands_twice_is_refused(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    mimic.add(*A, 1)
    assert "1 image(s) stand twice" in refused(mimic)


def test_an_image_without_metadata_is_counted(mimic: MimicTrees) -> None:
    mimic.add(*A, 1)
    mimic.add(*B, 2)
    roots = mimic.write()
    mimic.images.pop()
    mimic.table("metadata", ("dicom_id", "subject_id", "study_id", "ViewPosition"))
    assert load(mimic, roots=roots).excluded == {"no row in the metadata table": 1}


def test_an_unknown_split_word_is_refused(mimic: MimicTrees) -> None:
    mimic.add(*A, 1, split="holdout")
    assert "split 'holdout' is none of train, validate, test" in refused(mimic)
