"""What the phantom knows of its own studies, read from the folder beside its trees.

Two kinds of tables, each in one or several files (one per split). ``phrases*.parquet`` has a row
per phrase of an image: image_id, phrase, second_reader, region_boxes (lists of xyxy fractions),
visibility, and any column named ``group_*``. ``studies*.parquet`` has a row per study: study_id,
masked_text. Only controls, strata and captioning look at these (design §6.4).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.boxes import Boxes, boxes_from_unit
from harness.errors import BenchError
from harness.text import normalize

_PREFIX = "group_"


@dataclass(frozen=True)
class Known:
    """What is known of one phrase; all empty on real data."""

    second_reader: Boxes | None = None
    region_boxes: Boxes | None = None
    visibility: float | None = None
    groups: Mapping[str, str] = field(default_factory=dict)


PhraseTruth = Callable[[str, str], Known]  # image_id, phrase -> what is known


def phrase_truth(truth: Path | None) -> PhraseTruth:
    """A lookup of phrases; on real data (None) it knows nothing.

    Raises:
        BenchError: the folder holds no table of phrases.
    """
    if truth is None:
        return lambda _image, _phrase: Known()
    table = _phrases(truth)
    return lambda image, phrase: table.get((image, normalize(phrase)), Known())


def masked_text(truth: Path | None) -> Callable[[str], str]:
    """A lookup study_id -> its text without location words; '' on real data."""
    if truth is None:
        return lambda _study: ""
    table = _masked(truth)
    return lambda study: table.get(study, "")


@lru_cache(maxsize=4)
def _phrases(truth: Path) -> dict[tuple[str, str], Known]:
    table = _read(truth, "phrases")
    columns = [name for name in table.columns if name.startswith(_PREFIX)]
    return {
        (str(row["image_id"]), normalize(str(row["phrase"]))): Known(
            _boxes(row.get("second_reader")),
            _boxes(row.get("region_boxes")),
            None if pd.isna(row.get("visibility")) else float(row["visibility"]),
            {name.removeprefix(_PREFIX): str(row[name]) for name in columns if row[name]},
        )
        for row in table.to_dict("records")
    }


@lru_cache(maxsize=4)
def _masked(truth: Path) -> dict[str, str]:
    table = _read(truth, "studies")
    return dict(zip(table["study_id"].astype(str), table["masked_text"], strict=True))


def _read(truth: Path, name: str) -> pd.DataFrame:
    files = sorted(truth.rglob(f"{name}*.parquet"))
    if not files:
        raise BenchError(f"{truth}: no {name}*.parquet. Delete the phantom's cache and run again.")
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)


def _boxes(value: Any) -> Boxes | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    return boxes_from_unit([list(box) for box in value])
