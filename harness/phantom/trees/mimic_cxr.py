"""MIMIC-CXR 2.1.0 reports and MIMIC-CXR-JPG 2.1.0 images and tables, in their published layout.

Source: physionet.org/content/mimic-cxr-jpg/2.1.0 and MIT-LCP/mimic-cxr; columns as in
`knowledge/data.md` §1a. File names keep "2.0.0" as the real release does.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from harness.phantom import labels
from harness.phantom.study import Record
from harness.phantom.trees.files import write_csv, write_text
from harness.phantom.vocabulary import CHEXPERT

SPLITS = {"train": "train", "validation": "validate", "test": "test", "large": "train"}
LABELED_EVERY = 5  # every fifth test study stands in the hand-labeled table (687 of 3,269 are real)

_METADATA = (
    "dicom_id",
    "subject_id",
    "study_id",
    "PerformedProcedureStepDescription",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)
_VIEW_CODES = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral"}


def study_folder(record: Record) -> PurePosixPath:
    """``files/p14/p14000007/s54000012``."""
    patient = record["patient_id"]
    return PurePosixPath("files") / f"p{patient[:2]}" / f"p{patient}" / f"s{record['study_id']}"


def image_path(record: Record, image_id: str) -> PurePosixPath:
    """Where an image lies below the root of MIMIC-CXR-JPG."""
    return study_folder(record) / f"{image_id}.jpg"


def write_report(root: Path, record: Record) -> None:
    """Writes the text of one study below the root of MIMIC-CXR."""
    write_text(root / f"{study_folder(record)}.txt", record["report"])


def write_lists(root: Path, records: Sequence[Record]) -> None:
    """Writes the record list and the study list of MIMIC-CXR."""
    images = (
        (r["patient_id"], r["study_id"], i["image_id"], study_folder(r) / f"{i['image_id']}.dcm")
        for r in records
        for i in r["images"]
    )
    write_csv(
        root / "cxr-record-list.csv.gz", ("subject_id", "study_id", "dicom_id", "path"), images
    )
    studies = ((r["patient_id"], r["study_id"], f"{study_folder(r)}.txt") for r in records)
    write_csv(root / "cxr-study-list.csv.gz", ("subject_id", "study_id", "path"), studies)


def write_tables(root: Path, records: Sequence[Record]) -> None:
    """Writes every table of MIMIC-CXR-JPG; they cover exactly the records given."""
    prefix = "mimic-cxr-2.0.0"
    write_csv(
        root / f"{prefix}-split.csv.gz",
        ("dicom_id", "study_id", "subject_id", "split"),
        (
            (i["image_id"], r["study_id"], r["patient_id"], SPLITS[r["split"]])
            for r in records
            for i in r["images"]
        ),
    )
    write_csv(root / f"{prefix}-metadata.csv.gz", _METADATA, _metadata(records))
    for name in ("chexpert", "negbio"):
        write_csv(
            root / f"{prefix}-{name}.csv.gz",
            ("subject_id", "study_id", *CHEXPERT),
            ((r["patient_id"], r["study_id"], *labels.row(r["chexpert"])) for r in records),
        )
    _write_labeled(root / "mimic-cxr-2.1.0-test-set-labeled.csv", records)
    names = (str(image_path(r, i["image_id"])) for r in records for i in r["images"])
    write_text(root / "IMAGE_FILENAMES", "".join(f"{name}\n" for name in names))


def _write_labeled(path: Path, records: Sequence[Record]) -> None:
    columns = ["Airspace Opacity" if c == "Lung Opacity" else c for c in CHEXPERT]
    chosen = [r for r in records if r["split"] == "test" and r["index"] % LABELED_EVERY == 0]
    write_csv(
        path,
        ("study_id", *columns),
        ((r["study_id"], *labels.row(r["chexpert"])) for r in chosen),
    )


def _metadata(records: Sequence[Record]) -> Iterator[tuple[object, ...]]:
    for r in records:
        two = len(r["images"]) > 1
        portable = r["images"][0]["view"] == "AP"
        step = "CHEST (PA AND LAT)" if two else f"CHEST ({r['images'][0]['view']})"
        step = "CHEST (PORTABLE AP)" if portable else step
        date = f"{r['year']}{r['month']:02d}{r['day']:02d}"
        for i in r["images"]:
            yield (
                i["image_id"],
                r["patient_id"],
                r["study_id"],
                step,
                i["view"],
                i["height"],
                i["width"],
                date,
                r["time"],
                step,
                _VIEW_CODES[i["view"]],
                "Recumbent" if portable else "Erect",
            )
