"""What the phantom knows of its own studies, read from the folder beside its trees.

``phrases.parquet`` has a row per phrase of an image: image_id, phrase, finding, second_reader,
region_boxes (lists of xyxy fractions), visibility, and columns named ``group_*`` (strata).
``studies.parquet`` has a row per study: study_id, masked_text; ``findings.parquet`` one per finding
of an image: image_id, name, side, zone, visible. ``generator.json`` says which generator drew them.
Only controls, strata and captioning look at these (design §6.4).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.boxes import Boxes, boxes_from_unit
from harness.datasets.files import read_json
from harness.errors import BenchError
from harness.phantom.vocabulary import FINDINGS
from harness.samples import Located
from harness.text import normalize

_PREFIX = "group_"


@dataclass(frozen=True)
class Known:
    """What is known of one phrase; all empty on real data."""

    second_reader: Boxes | None = None
    region_boxes: Boxes | None = None
    visibility: float | None = None
    finding: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Located, ...] = ()


PhraseTruth = Callable[[str, str], Known]  # image_id, phrase -> what is known


def phrase_truth(truth: Path | None) -> PhraseTruth:
    """A lookup of phrases by image id (without ``.png``); on real data (None) it knows nothing.

    Raises:
        BenchError: the folder holds no table of phrases.
    """
    if truth is None:
        return lambda _image, _phrase: Known()
    table = _phrases(*_stamp(truth, "phrases"))
    return lambda image, phrase: table.get((image, normalize(phrase)), Known())


def masked_text(truth: Path | None) -> Callable[[str], str]:
    """A lookup study_id -> its text without location words; '' on real data."""
    if truth is None:
        return lambda _study: ""
    table = _masked(*_stamp(truth, "studies"))
    return lambda study: table.get(study, "")


def image_findings(truth: Path | None) -> Callable[[str], tuple[Located, ...]]:
    """A lookup of what can be seen in an image by its id (without ``.png``); real data: nothing."""
    if truth is None:
        return lambda _image: ()
    table = _visible(*_stamp(truth, "findings"))
    return lambda image: table.get(image.removesuffix(".png"), ())


def generator_version(truth: Path | None) -> str:
    """The generator behind a phantom, e.g. "phantom 3-0a1b2c3d"; '' on real data."""
    if truth is None:
        return ""
    value = read_json(truth / "generator.json")
    return f"phantom {value['version']}-{str(value['hash'])[:8]}"


def _stamp(truth: Path, name: str) -> tuple[Path, int]:
    # Tables grow when another split is rendered, so a reading is kept only for one state of them.
    file = truth / f"{name}.parquet"
    if not file.is_file():
        raise BenchError(f"{file}: no such file. Delete the phantom's cache and run again.")
    return file, file.stat().st_mtime_ns


@lru_cache(maxsize=4)
def _phrases(file: Path, _time: int) -> dict[tuple[str, str], Known]:
    table = pd.read_parquet(file)
    columns = [name for name in table.columns if name.startswith(_PREFIX)]
    return {
        (str(row["image_id"]).removesuffix(".png"), normalize(str(row["phrase"]))): Known(
            _boxes(row.get("second_reader")),
            _boxes(row.get("region_boxes")),
            None if pd.isna(row.get("visibility")) else float(row["visibility"]),
            normalize(str(row.get("finding") or "")),
            {name.removeprefix(_PREFIX): str(row[name]) for name in columns if row[name]},
            (_located(row["finding"], row["side"], row["zone"]),) if row.get("side") else (),
        )
        for row in table.to_dict("records")
    }


@lru_cache(maxsize=4)
def _masked(file: Path, _time: int) -> dict[str, str]:
    table = pd.read_parquet(file, columns=["study_id", "masked_text"])
    return dict(zip(table["study_id"].astype(str), table["masked_text"].astype(str), strict=True))


@lru_cache(maxsize=4)
def _visible(file: Path, _time: int) -> dict[str, tuple[Located, ...]]:
    table = pd.read_parquet(file, columns=["image_id", "name", "side", "zone", "visible"])
    seen = table[table["visible"].astype(bool)]
    found: dict[str, tuple[Located, ...]] = {}
    for row in seen.to_dict("records"):
        image = str(row["image_id"]).removesuffix(".png")
        found[image] = (*found.get(image, ()), _located(row["name"], row["side"], row["zone"]))
    return found


def _located(name: Any, side: Any, zone: Any) -> Located:
    """A finding that anatomy places on both sides has none: no report says which (protocol §3)."""
    placed = side == "none" or (side == "both" and FINDINGS[str(name)].fixed)
    return str(name), "" if placed else str(side), str(zone)


def _boxes(value: Any) -> Boxes | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    return boxes_from_unit([list(box) for box in value])
