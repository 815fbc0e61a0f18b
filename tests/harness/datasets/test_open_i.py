import tarfile
from pathlib import Path
from typing import Any

import pytest

from harness.datasets import load_dataset
from harness.datasets.open_i import read_reports
from harness.errors import BenchError
from harness.samples import Dataset
from tests.harness.datasets.conftest import write_film


def xml(number: int, findings: str = "Clear lungs.", *images: str) -> str:
    shown = "".join(
        f'<parentImage id="{name}"><figureId>F</figureId></parentImage>' for name in images
    )
    return (
        f'<?xml version="1.0"?><eCitation><uId id="CXR{number}"/>'
        f"<MedlineCitation><Article><Abstract>"
        f'<AbstractText Label="COMPARISON">None.</AbstractText>'
        f'<AbstractText Label="FINDINGS">{findings}</AbstractText>'
        f'<AbstractText Label="IMPRESSION">Normal\n chest.</AbstractText>'
        f"</Abstract></Article></MedlineCitation><MeSH><major>normal</major></MeSH>{shown}</eCitation>"
    )


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "open-i" / "ecgen-radiology"
    folder.mkdir(parents=True)
    (folder / "2.xml").write_text(xml(2, "Clear lungs.", "CXR2_IM-1", "CXR2_IM-2"))
    (folder / "10.xml").write_text(xml(10, "", "CXR10_IM-1"))
    (folder / "3.xml").write_text(xml(3, "Effusion."))
    for name in ("CXR2_IM-1", "CXR2_IM-2", "CXR10_IM-1"):
        write_film(tmp_path / "open-i" / "images" / f"{name}.png")
    return tmp_path / "open-i"


def load(top: Path, **more: Any) -> Dataset:
    roots = {"open-i": top}
    dataset = load_dataset("open-i", task="retrieval", split="all", roots=roots, **more)
    assert dataset.n_total == dataset.n_used + sum(dataset.excluded.values())
    return dataset


def test_a_report_has_one_image_and_findings_with_impression(top: Path) -> None:
    dataset = load(top)
    assert [(s.image.image_id, s.text) for s in dataset.samples] == [
        ("CXR2_IM-1", "Clear lungs. Normal chest."),
        ("CXR10_IM-1", "Normal chest."),
    ]
    assert dataset.excluded == {"report names no image": 1}
    assert dataset.samples[0].labels == ("normal",)


def test_the_archive_and_the_folder_hold_the_same_reports(top: Path, tmp_path: Path) -> None:
    archive = tmp_path / "other" / "NLMCXR_reports.tgz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(top / "ecgen-radiology", "ecgen-radiology")
    assert read_reports(archive) == read_reports(archive.parent) == read_reports(top)


def test_without_images_retrieval_says_what_to_unpack(top: Path) -> None:
    for file in (top / "images").iterdir():
        file.unlink()
    with pytest.raises(BenchError, match=r"no image for them.*NLMCXR_png\.tgz"):
        load(top)


def test_a_table_of_projections_picks_the_frontal_image(top: Path) -> None:
    table = "uid,filename,projection\n2,2_IM-1.dcm.png,Lateral\n2,2_IM-2.dcm.png,Frontal\n"
    (top / "indiana_projections.csv").write_text(table)
    dataset = load(top)
    assert [s.image.image_id for s in dataset.samples] == ["CXR2_IM-2"]
    assert dataset.excluded["no (frontal) image on disk"] == 1


def test_a_limit_counts_the_rest(top: Path) -> None:
    assert load(top, limit=1).excluded == {"beyond --limit 1": 2}


def test_damaged_files_are_named(top: Path, tmp_path: Path) -> None:
    (top / "ecgen-radiology" / "4.xml").write_text("<eCitation>")
    with pytest.raises(BenchError, match=r"4\.xml: not XML"):
        load(top)
    (top / "ecgen-radiology" / "4.xml").write_text('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')
    with pytest.raises(BenchError, match="defines entities"):
        load(top)
    archive = tmp_path / "NLMCXR_reports.tgz"
    archive.write_bytes(b"\x1f\x8b half")
    with pytest.raises(BenchError, match="truncated or damaged"):
        read_reports(archive)


def test_a_folder_without_reports_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"holds no report"):
        read_reports(tmp_path)


def test_the_real_reports_are_all_read(realcxr: Path) -> None:
    reports = read_reports(realcxr / "text" / "NLMCXR_reports.tgz")
    assert len(reports) == 3955
    assert sum(len(report.images) for report in reports) == 7470
    assert reports[0].study_id == "CXR1"
    assert len({report.study_id for report in reports}) == 3955
