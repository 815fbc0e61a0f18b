"""PadChest-GR: one JSON of grounded sentences, a long master table, 16-bit PNGs.

Source: the fields and columns listed in `knowledge/data.md` §1d.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.phantom.plan import Rendering
from harness.phantom.study import Record
from harness.phantom.trees.files import write_csv, write_json
from harness.phantom.vocabulary import FINDINGS

IMAGES = Path("Padchest_GR_files") / "PadChest_GR"
PRIORS = Path("Padchest_GR_files") / "PadChest_GR_progression_prior_studies"
_SPLITS = {"train": "train", "validation": "validation", "test": "test", "large": "train"}
_COLUMNS = (
    "StudyID",
    "ImageID",
    "label",
    "boxes_count",
    "extra_boxes_count",
    "locations",
    "prior_study",
    "progression_status",
    "prior_imageID",
    "sentence_en",
    "sentence_es",
    "study_is_benchmark",
    "study_is_validation",
    "split",
    "PatientID",
    "patient_is_benchmark",
    "PatientBirth",
    "PatientSex_DICOM",
    "StudyDate_DICOM",
    "StudyDate",
    "PatientAge",
    "label_group",
    "Year",
)


def write(root: Path, records: Sequence[Record], wording: Rendering = "padchest") -> None:
    """Writes the JSON and the master table; they cover exactly the records given."""
    entries = [_entry(record, wording) for record in records]
    write_json(root / "grounded_reports_20240819.json", entries)
    rows = (row for record in records for row in _rows(record, wording))
    write_csv(root / "master_table.csv", _COLUMNS, rows)


def _english(sentence: Record, wording: Rendering) -> str:
    text: str = sentence["english" if wording == "padchest" else "english_mimic"]
    return text


def _boxes(record: Record, sentence: Record, reader: str) -> list[list[float]]:
    if sentence["drawn"] is None:
        return []
    boxes: list[list[float]] = record["findings"][sentence["drawn"]][reader]
    return boxes


def _labels(record: Record, sentence: Record) -> list[str]:
    if sentence["drawn"] is None:
        return []
    return [FINDINGS[record["findings"][sentence["drawn"]]["name"]].padchest]


def _entry(record: Record, wording: Rendering) -> Record:
    return {
        "StudyID": record["study_id"],
        "ImageID": record["images"][0]["image_id"],
        "PreviousStudyID": record["prior_study_id"],
        "PreviousImageID": record["prior_image_id"],
        "findings": [
            {
                "sentence_en": _english(s, wording),
                "sentence_es": s["spanish"],
                "abnormal": s["drawn"] is not None,
                "boxes": _boxes(record, s, "reader_1"),
                "extra_boxes": _boxes(record, s, "reader_2"),
                "labels": _labels(record, s),
                "locations": s["locations"],
                "progression": s.get("change") or None,
            }
            for s in record["sentences"]
        ],
    }


def _rows(record: Record, wording: Rendering) -> Iterator[tuple[object, ...]]:
    positive = [s for s in record["sentences"] if s["drawn"] is not None]
    if not positive:
        yield _row(record, "Normal", None, wording)
    for sentence in positive:
        yield _row(record, _labels(record, sentence)[0], sentence, wording)


def _row(
    record: Record, label: str, sentence: Record | None, wording: Rendering
) -> tuple[object, ...]:
    year = record["year"]
    finding = record["findings"][sentence["drawn"]] if sentence else None
    return (
        record["study_id"],
        record["images"][0]["image_id"],
        label,
        len(finding["reader_1"]) if finding else 0,
        len(finding["reader_2"]) if finding else 0,
        str(sentence["locations"]) if sentence else "[]",
        record["prior_study_id"] is not None,
        (sentence.get("change") or None) if sentence else None,
        record["prior_image_id"],
        _english(sentence, wording) if sentence else None,
        sentence["spanish"] if sentence else None,
        True,
        False,
        _SPLITS[record["split"]],
        record["patient_id"],
        True,
        year - record["age"],
        record["sex"],
        f"{year}{record['month']:02d}{record['day']:02d}",
        year,
        record["age"],
        FINDINGS[finding["name"]].group if finding else "Normal",
        year,
    )
