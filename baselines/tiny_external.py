"""A model that answered before: stored predictions, in the form that `baselines.external` reads."""

import json
from pathlib import Path
from typing import Any


def write_external(folder: Path) -> dict[str, Any]:
    """One line per answer; for other images there is none, and each such query is a miss."""
    lines = [
        {"image_id": "film-0", "phrase": "left effusion", "boxes": [[0.5, 0.5, 0.9, 0.9]]},
        {"image_id": "film-0", "phrase": "right effusion", "boxes": []},
        {"image_id": "film-1", "phrase": "left effusion", "text": "<obj> left effusion</obj>"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "predictions.jsonl").write_text(text, encoding="utf-8")
    return {
        "family": "external",
        "external": {
            "serves": ["ground"],
            "setup": "It has answered already.",
            "codec": "maira",
            "coordinates": "crop square floor",
        },
    }
