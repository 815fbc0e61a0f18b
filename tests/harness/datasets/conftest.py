"""Format-faithful trees of invented content: no real id, sentence or box is in here."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

REPORT = "\n".join(
    [
        "                                 FINAL REPORT",
        " EXAMINATION:  CHEST (PA AND LAT)",
        " ",
        " FINDINGS: ",
        " ",
        " Small right pleural effusion.  No pneumothorax",
        " is seen.",
        " ",
        " IMPRESSION: ",
        " ",
        " Right effusion.",
        "",
    ]
)


def dicom_id(number: int) -> str:
    return "-".join(["0" * 8] * 4 + [f"{number:08x}"])


def csv_bytes(header: Sequence[str], rows: Sequence[Sequence[Any]], end: str = "\n") -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator=end)
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue().encode()


def write_film(path: Path, *, width: int = 80, height: int = 60, deep: bool = False) -> None:
    """A dark film with a bright patch at the patient's right, below: image left."""
    pixels = np.full((height, width), 20, np.uint8)
    pixels[height // 2 : height - 4, 4 : width // 2 - 4] = 220
    path.parent.mkdir(parents=True, exist_ok=True)
    if deep:  # fewer than 12 bits used, as in PadChest
        PIL.Image.fromarray(pixels.astype(np.uint16) * 8).save(path)
    else:
        PIL.Image.fromarray(pixels).save(path, quality=95)


@dataclass
class MimicTrees:
    """MIMIC-CXR and MIMIC-CXR-JPG; `add` studies, then `write`."""

    top: Path
    images: list[dict[str, str]] = field(default_factory=list)
    labels: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def reports(self) -> Path:
        return self.top / "mimic-cxr" / "2.1.0"

    @property
    def jpg(self) -> Path:
        return self.top / "mimic-cxr-jpg" / "2.1.0"

    @property
    def roots(self) -> dict[str, Path]:
        return {"mimic-cxr": self.reports, "mimic-cxr-jpg": self.jpg}

    def add(
        self,
        patient: str,
        study: str,
        number: int,
        *,
        view: str = "PA",
        split: str = "test",
        report: str | None = REPORT,
        film: bool = True,
    ) -> str:
        dicom = dicom_id(number)
        row = {"dicom_id": dicom, "subject_id": patient, "study_id": study}
        size = {"Rows": "60", "Columns": "80"}
        self.images.append({**row, "split": split, "ViewPosition": view, **size})
        folder = Path("files") / f"p{patient[:2]}" / f"p{patient}"
        if report is not None:
            path = self.reports / folder / f"s{study}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(report.encode())
        if film:
            write_film(self.jpg / folder / f"s{study}" / f"{dicom}.jpg")
        return dicom

    def label(self, patient: str, study: str, **positive: str) -> None:
        self.labels.append((patient, study, positive))

    def write(self) -> dict[str, Path]:
        self.reports.mkdir(parents=True, exist_ok=True)
        (self.reports / "files").mkdir(exist_ok=True)
        self.table("split", ("dicom_id", "study_id", "subject_id", "split"))
        keys = ("dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns")
        self.table("metadata", keys)
        names = ("Edema", "Pleural Effusion")
        rows = [(p, s, *(found.get(n, "") for n in names)) for p, s, found in self.labels]
        data = csv_bytes(("subject_id", "study_id", *names), rows)
        (self.jpg / "mimic-cxr-2.0.0-chexpert.csv.gz").write_bytes(gzip.compress(data))
        return self.roots

    def table(self, name: str, columns: Sequence[str]) -> None:
        rows = [[image[column] for column in columns] for image in self.images]
        self.jpg.mkdir(parents=True, exist_ok=True)
        path = self.jpg / f"mimic-cxr-2.0.0-{name}.csv.gz"
        path.write_bytes(gzip.compress(csv_bytes(columns, rows)))


@pytest.fixture
def mimic(tmp_path: Path) -> MimicTrees:
    return MimicTrees(tmp_path)


MS_CXR_COLUMNS = (
    *("dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h"),
    *("image_width", "image_height", "split"),
)


@pytest.fixture
def ms_cxr(tmp_path: Path, mimic: MimicTrees) -> Callable[..., dict[str, Path]]:
    """Writes rows (patient, study, number, category, text, xywh) as a release of MS-CXR."""

    def write(
        rows: Sequence[tuple[Any, ...]], release: str = "1.1.0", **form: Any
    ) -> dict[str, Path]:
        top = tmp_path / "ms-cxr" / release
        top.mkdir(parents=True, exist_ok=True)
        full = [_ms_cxr_row(*row) for row in rows]
        if release == "1.0.0":
            full = [row[:-1] for row in full]
        stem = top / f"MS_CXR_Local_Alignment_v{release}"
        if form.get("coco"):
            stem.with_name(stem.name + ".json").write_text(json.dumps(_coco(full)))
        else:
            columns = MS_CXR_COLUMNS[: len(full[0])]
            data = csv_bytes(columns, full, form.get("end", "\n"))
            stem.with_name(stem.name + ".csv").write_bytes(form.get("bom", b"") + data)
        return {**mimic.write(), "ms-cxr": top}

    return write


def _ms_cxr_row(
    patient: str, study: str, number: int, category: str, text: str, xywh: Sequence[float]
) -> tuple[Any, ...]:
    path = f"files/p{patient[:2]}/p{patient}/s{study}/{dicom_id(number)}.jpg"
    return (dicom_id(number), category, text, path, *xywh, 80, 60, "train")


def _coco(rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    names = sorted({row[1] for row in rows})
    dicoms = sorted({row[0] for row in rows})
    paths = {row[0]: row[3] for row in rows}
    return {
        "info": {},
        "categories": [{"id": k, "name": n, "supercategory": ""} for k, n in enumerate(names)],
        "images": [
            {"id": k, "file_name": f"{d}.jpg", "path": paths[d], "width": 80, "height": 60}
            for k, d in enumerate(dicoms)
        ],
        "annotations": [
            {
                "id": k,
                "image_id": dicoms.index(row[0]),
                "category_id": names.index(row[1]),
                "bbox": list(row[4:8]),
                "label_text": row[2],
            }
            for k, row in enumerate(rows)
        ],
    }


STUDY = "1" * 39


def sentence(text: str, *boxes: Sequence[float], **more: Any) -> dict[str, Any]:
    """One sentence of a PadChest-GR report; positive if it has boxes or says so."""
    value = {
        "sentence_en": text,
        "sentence_es": f"es: {text}",
        "abnormal": bool(boxes),
        "boxes": [list(box) for box in boxes],
        "extra_boxes": [],
        "labels": ["pleural effusion"] if boxes else [],
        "locations": [],
        "progression": None,
    }
    return {**value, **more}


@dataclass
class PadChestTree:
    """PadChest-GR; `add` studies, then `write`."""

    top: Path
    entries: list[dict[str, Any]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    columns = (
        "StudyID",
        "ImageID",
        "label",
        "split",
        "PatientID",
        "PatientSex_DICOM",
        "PatientAge",
    )

    def add(
        self,
        number: int,
        *findings: dict[str, Any],
        split: str = "test",
        patient: str = "",
        film: bool = True,
        report: bool = True,
        listed: bool = True,
    ) -> str:
        study = f"{STUDY[:-2]}{number:02d}"
        image = f"{study}_ab12cd"
        if report:
            ids = {"StudyID": study, "ImageID": f"{image}.png"}
            prior = {"PreviousStudyID": None, "PreviousImageID": None}
            self.entries.append({**ids, **prior, "findings": list(findings)})
        if listed:
            for label in ("pleural effusion", "nodule"):  # long format: one row per label
                who = patient or f"pat{number}"
                self.rows.append([study, f"{image}.png", label, split, who, "F", "63"])
        if film:
            folder = self.top / "Padchest_GR_files" / "PadChest_GR"
            write_film(folder / f"{image}.png", deep=True)
        return image

    def write(self) -> dict[str, Path]:
        self.top.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.entries, ensure_ascii=False)
        (self.top / "grounded_reports_20240819.json").write_text(text, encoding="utf-8")
        (self.top / "master_table.csv").write_bytes(csv_bytes(self.columns, self.rows))
        return {"padchest-gr": self.top}


@pytest.fixture
def padchest(tmp_path: Path) -> PadChestTree:
    return PadChestTree(tmp_path / "BIMCV-Padchest-GR")


def write_qba(
    top: Path, patient: str, study: str, answers: Sequence[dict[str, Any]], **question: Any
) -> Path:
    """One question file of MIMIC-Ext-CXR-QBA with one question of these answers."""
    folder = top / "exports" / "A_frontal" / "qa" / f"p{patient[:2]}" / f"p{patient}"
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "patient_id": f"p{patient}",
        "study_id": f"s{study}",
        "questions": [{"contains_report_answers": True, "answers": list(answers), **question}],
    }
    path = folder / f"s{study}.qa.json"
    path.write_text(json.dumps(content))
    return path


def answer(text: str, dicom: str, *boxes_px: Sequence[float], **more: Any) -> dict[str, Any]:
    value = {
        "text": text,
        "positiveness": "pos",
        "from_report": True,
        "obs_entities": ["pleural effusion"],
        "localization": {dicom: {"image_id": dicom, "bboxes": [list(box) for box in boxes_px]}},
    }
    return {**value, **more}
