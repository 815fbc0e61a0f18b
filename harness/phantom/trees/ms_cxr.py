"""MS-CXR 1.1.0: phrases with boxes on frontal MIMIC images, one row per box, and as COCO JSON.

Source: the columns listed in `knowledge/data.md` §1b; boxes are whole pixels, top-left xywh.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.phantom.study import Record
from harness.phantom.trees.files import write_csv, write_json
from harness.phantom.trees.mimic_cxr import image_path

CATEGORIES = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Lung Opacity",
    "Pleural Effusion",
    "Pneumonia",
    "Pneumothorax",
)
_SPLITS = {"train": "train", "validation": "val", "test": "test", "large": "train"}
_COLUMNS = (
    "dicom_id",
    "category_name",
    "label_text",
    "path",
    "x",
    "y",
    "w",
    "h",
    "image_width",
    "image_height",
    "split",
)
_NAME = "MS_CXR_Local_Alignment_v1.1.0"


@dataclass(frozen=True)
class _Row:
    record: Record
    phrase: Record
    xywh: tuple[int, int, int, int]


def write(root: Path, records: Sequence[Record]) -> None:
    """Writes the CSV and the COCO JSON; they cover exactly the records given."""
    rows = list(_rows(records))
    write_csv(root / f"{_NAME}.csv", _COLUMNS, (_cells(row) for row in rows))
    write_json(root / f"{_NAME}.json", _coco(rows))


def to_xywh(box: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """A box in fractions as whole pixels, at least one pixel wide and high, inside the image.

    >>> to_xywh((0.1, 0.2, 0.5, 1.0), 100, 200)
    (10, 40, 40, 160)
    """
    x1, y1 = min(round(box[0] * width), width - 1), min(round(box[1] * height), height - 1)
    x2, y2 = max(round(box[2] * width), x1 + 1), max(round(box[3] * height), y1 + 1)
    return x1, y1, x2 - x1, y2 - y1


def _rows(records: Sequence[Record]) -> Iterator[_Row]:
    for record in records:
        image = record["images"][0]
        for phrase in record["phrases"]:
            for box in record["findings"][phrase["drawn"]]["reader_1"]:
                yield _Row(record, phrase, to_xywh(box, image["width"], image["height"]))


def _cells(row: _Row) -> tuple[object, ...]:
    image = row.record["images"][0]
    return (
        image["image_id"],
        row.phrase["category"],
        row.phrase["phrase"],
        image_path(row.record, image["image_id"]),
        *row.xywh,
        image["width"],
        image["height"],
        _SPLITS[row.record["split"]],
    )


def _coco(rows: Sequence[_Row]) -> Record:
    images: dict[str, Record] = {}
    annotations = []
    for number, row in enumerate(rows, start=1):
        image = row.record["images"][0]
        path = image_path(row.record, image["image_id"])
        entry = images.setdefault(
            image["image_id"],
            {
                "id": len(images) + 1,
                "file_name": path.name,
                "path": str(path),
                "width": image["width"],
                "height": image["height"],
                "split": _SPLITS[row.record["split"]],
            },
        )
        annotations.append(
            {
                "id": number,
                "image_id": entry["id"],
                "category_id": CATEGORIES.index(row.phrase["category"]) + 1,
                "bbox": list(row.xywh),
                "label_text": row.phrase["phrase"],
            }
        )
    return {
        "info": {"description": "phantom twin of MS-CXR", "version": "1.1.0"},
        "licenses": [],
        "categories": [
            {"id": k, "name": name, "supercategory": "disease"}
            for k, name in enumerate(CATEGORIES, start=1)
        ],
        "images": list(images.values()),
        "annotations": annotations,
    }
