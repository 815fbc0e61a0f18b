"""MIMIC-Ext-CXR-QBA 1.0.0: questions, answers and boxes of each study, one JSON per study.

Two variants in two trees: `region` (anatomical regions, jittered, some missing, as the real
automatic boxes are) and `lesion` (the boxes of reader 1). Boxes are xyxy pixels of the image.

Source: the fields that LoFi's preparation reads (`knowledge/lofi.md` §1.7); further real fields
(tags, certainty, quality grades) are left out, which a loader must not need.
"""

from pathlib import Path
from typing import Literal

from harness.phantom.study import Record
from harness.phantom.trees.files import write_json

Variant = Literal["region", "lesion"]
QA = Path("exports") / "A_frontal" / "qa"


def write(root: Path, record: Record, variant: Variant) -> None:
    """Writes one study below the root of the variant's tree."""
    patient, study = record["patient_id"], record["study_id"]
    folder = root / QA / f"p{patient[:2]}" / f"p{patient}"
    value = {
        "patient_id": f"p{patient}",
        "study_id": f"s{study}",
        "questions": [
            _question(record, number, variant) for number in range(len(record["answers"]))
        ],
    }
    write_json(folder / f"s{study}.qa.json", value)


def _question(record: Record, number: int, variant: Variant) -> Record:
    answer = record["answers"][number]
    positive = answer["drawn"] is not None
    return {
        "question_id": f"s{record['study_id']}_{number:03d}",
        "question_type": "D01_describe_finding" if positive else "D02_has_finding",
        "question": "Describe the finding." if positive else "What is absent?",
        "contains_report_answers": True,
        "answers": [
            {
                "text": answer["text"],
                "positiveness": "pos" if positive else "neg",
                "from_report": True,
                "obs_entities": _entities(record, answer),
                "localization": _localization(record, answer, variant),
            }
        ],
    }


def _entities(record: Record, answer: Record) -> list[str]:
    if answer["drawn"] is None:
        return []
    return [str(record["findings"][answer["drawn"]]["name"]).replace("_", " ")]


def _localization(record: Record, answer: Record, variant: Variant) -> Record:
    image = record["images"][0]
    boxes = answer["regions"]
    if variant == "lesion" and answer["drawn"] is not None:
        boxes = record["findings"][answer["drawn"]]["reader_1"]
    width, height = image["width"], image["height"]
    pixels = [
        [round(v * size, 2) for v, size in zip(box, (width, height) * 2, strict=True)]
        for box in boxes
    ]
    return {image["image_id"]: {"bboxes": pixels, "image_size": [width, height]}}
