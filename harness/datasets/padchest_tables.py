"""The two files of PadChest-GR, read and held against each other: reports and master table."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from harness.datasets.files import inside, read_json, read_table, require_file
from harness.errors import BenchError

SPLITS = ("train", "validation", "test")
_REPORTS = "grounded_reports_*.json"
_TABLE = ("master_table.csv", "master_table.csv.zip", "master_table.csv.gz")
_FOLDERS = ("Padchest_GR_files/PadChest_GR", "PadChest_GR", "Padchest_GR_files")
_COLUMNS = ("StudyID", "ImageID", "PatientID", "split")
_MORE = ("PatientSex_DICOM", "PatientAge")
_SPREADSHEET = re.compile(r"\d(?:\.\d+)?[eE]\+?\d+$|\.0$")


@dataclass(frozen=True)
class Finding:
    """One sentence of a grounded report; boxes as written, xyxy fractions, not yet checked.

    `extra_boxes` are the second reader's; empty where that reader drew nothing or did not read.
    """

    sentence_en: str
    sentence_es: str
    abnormal: bool
    boxes: tuple[tuple[float, ...], ...] = ()
    extra_boxes: tuple[tuple[float, ...], ...] = ()
    labels: tuple[str, ...] = ()
    progression: str = ""


@dataclass(frozen=True)
class Study:
    """One study with its only image; `split` is '' where the master table lacks it.

    `reported` is false for an image of the master table without a grounded report.
    """

    study_id: str
    image_id: str
    file: Path
    findings: tuple[Finding, ...] = ()
    patient_id: str = ""
    split: str = ""
    sex: str = ""
    age: float | None = None
    reported: bool = True


def release_of(top: Path) -> str:
    """The date in the newest report file's name, e.g. "20240819".

    Raises:
        BenchError: there is no report file.
    """
    return require_file("padchest-gr", top, _REPORTS).stem.removeprefix("grounded_reports_")


def read_studies(top: Path) -> list[Study]:
    """Every study of either file: those with a report in the JSON's order, then the others.

    Raises:
        BenchError: a file is missing or damaged, a field is missing, an id was rounded by a
            spreadsheet, an image has two splits or entries, or a patient is in two splits.
    """
    reports = require_file("padchest-gr", top, _REPORTS)
    table = require_file("padchest-gr", top, *_TABLE)
    times = (reports.stat().st_mtime_ns, table.stat().st_mtime_ns)
    return list(_read(top, reports, table, *times))


def image_folder(top: Path) -> Path:
    """The folder that holds the PNGs; extracts differ in how deep it lies."""
    for name in (*_FOLDERS, "."):
        if next((top / name).glob("*.png"), None) is not None:
            return top / name
    return top / _FOLDERS[0]


@lru_cache(maxsize=2)
def _read(top: Path, reports: Path, table: Path, *_times: int) -> tuple[Study, ...]:
    rows = _rows_by_image(table)
    folder = image_folder(top)
    studies: dict[str, Study] = {}
    for number, entry in enumerate(_entries(reports)):
        study = _study(f"{reports.name} entry {number}", entry, folder)
        if study.image_id in studies:
            raise BenchError(f"{reports}: image {study.image_id} has two entries.")
        row = rows.get(study.image_id)
        studies[study.image_id] = study if row is None else _described(study, row, table)
    for name, row in rows.items():
        if name not in studies:
            image = Study(row["StudyID"], name, folder / f"{name}.png", reported=False)
            studies[name] = _described(image, row, table)
    return tuple(studies.values())


def _entries(reports: Path) -> list[Mapping[str, Any]]:
    content = read_json(reports)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise BenchError(f"{reports}: expected a list of objects, one per study.")
    return content


def _study(where: str, entry: Mapping[str, Any], folder: Path) -> Study:
    try:
        name = _text_id(where, "ImageID", entry["ImageID"])
        return Study(
            study_id=_text_id(where, "StudyID", entry["StudyID"]),
            image_id=_stem(name),
            file=inside(folder, name, where),
            findings=tuple(_finding(value) for value in entry["findings"]),
        )
    except KeyError as error:
        raise BenchError(f"{where}: no field {error}. Another release than 20240819?") from error
    except (TypeError, ValueError) as error:
        raise BenchError(f"{where}: {error}.") from error


def _finding(value: Mapping[str, Any]) -> Finding:
    if not isinstance(value["abnormal"], bool):
        raise ValueError(f"abnormal is {value['abnormal']!r}, expected true or false")
    return Finding(
        sentence_en=str(value["sentence_en"] or ""),
        sentence_es=str(value["sentence_es"] or ""),
        abnormal=value["abnormal"],
        boxes=_box_rows(value["boxes"]),
        extra_boxes=_box_rows(value.get("extra_boxes")),
        labels=tuple(str(label) for label in value.get("labels") or ()),
        progression=str(value.get("progression") or ""),
    )


def _box_rows(value: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(number) for number in box) for box in value or ())


def _text_id(where: str, field: str, value: Any) -> str:
    """An id as text: a number in JSON keeps its digits, one in floating point has lost them."""
    name = str(value)
    if isinstance(value, float) or _SPREADSHEET.search(name):
        raise BenchError(
            f"{where}: {field} {name} was rounded to a number (a spreadsheet?). Ids have up to 39 "
            "digits and are text: take the publisher's file as it is."
        )
    return name


def _stem(image_name: str) -> str:
    return image_name.removesuffix(".png")


def _rows_by_image(table: Path) -> dict[str, dict[str, str]]:
    frame = read_table(table, _COLUMNS, _MORE)
    for number, name in enumerate(frame["StudyID"], start=2):
        _text_id(f"{table.name} line {number}", "StudyID", name)
    unknown = sorted(set(frame["split"]) - set(SPLITS))
    if unknown:
        raise BenchError(f"{table}: split {unknown[0]!r} is none of {', '.join(SPLITS)}.")
    for key in ("ImageID", "PatientID"):
        _one_split(table, frame, key)
    first = frame.drop_duplicates("ImageID")
    records = first.to_dict("records")
    return {_stem(row["ImageID"]): {str(k): str(v) for k, v in row.items()} for row in records}


def _one_split(table: Path, frame: pd.DataFrame, key: str) -> None:
    counts = frame.groupby(key)["split"].nunique()
    shared = counts[counts > 1]
    if len(shared):
        raise BenchError(
            f"{table}: {len(shared)} {key}(s) stand in more than one split, e.g. "
            f"{shared.index[0]}. This is not the official split; download it again."
        )


def _described(study: Study, row: Mapping[str, str], table: Path) -> Study:
    if study.study_id != row["StudyID"]:
        raise BenchError(
            f"{table}: image {study.image_id} belongs to study {row['StudyID']}, in the grounded "
            f"reports to {study.study_id}. The two files are of different releases."
        )
    sex = row.get("PatientSex_DICOM", "").upper()[:1]
    age = row.get("PatientAge", "")
    return replace(
        study,
        patient_id=row["PatientID"] or study.study_id,
        split=row["split"],
        sex=sex if sex in ("F", "M") else "",
        age=float(age) if re.fullmatch(r"\d+(\.\d+)?", age) else None,
    )
