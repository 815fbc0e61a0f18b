"""A model that answered before: stored answers, in the form that `baselines.external` reads."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def write_external(folder: Path) -> dict[str, Any]:
    """Boxes, raw text and a map; for other images there is none, and each such query is a miss."""
    lines = [
        {"image_id": "film-0", "phrase": "left effusion", "boxes": [[0.5, 0.5, 0.9, 0.9]]},
        {"image_id": "film-0", "phrase": "right effusion", "boxes": []},
        {"image_id": "film-1", "phrase": "left effusion", "text": "<obj> left effusion</obj>"},
        {"image_id": "film-1", "phrase": "heart", "map": "film-1 heart"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "predictions.jsonl").write_text(text, encoding="utf-8")
    grid = np.zeros((4, 4), np.float32)
    grid[1:3, 2] = 1.0
    np.savez(folder / "maps.npz", **{"film-1 heart": grid})
    return {
        "family": "external",
        "external": {
            "serves": ["ground"],
            "setup": "It has answered already.",
            "codec": "maira",
            "coordinates": "crop square floor",
        },
    }
