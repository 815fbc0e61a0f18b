"""The `lofi` cohort of MIMIC-CXR: LLaVA-Rad reports, CheXmask quality, one image per study.

After `knowledge/lofi.md` §1.7-1.8: rows of the LLaVA-Rad annotation (PhysioNet
llava-rad-mimic-cxr-annotation 1.0.0) with generate_method "gpt4" and view PA or AP, whose CheXmask
"Dice RCA (Mean)" is at least 0.7 (absent: dropped); per study the image of highest RCA.

Fields assumed and named by every error: LLaVA-Rad is a JSON list of rows with image (a path ending
in pXX/pSUBJECT/sSTUDY/DICOM.jpg), generate_method, view, conversations[1].value (the findings) and
impression (text or null). CheXmask is a CSV with dicom_id and "Dice RCA (Mean)".

The published test file is said to hold rule-based rows only (table on the project's page). If no
gpt4 row is found, the error lists the methods that are; ``options: {generate_method: rule-based}``
takes those, under a version of its own.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from harness.datasets.files import Tally, read_json, require_file
from harness.datasets.mimic_tables import (
    image_ref,
    image_table,
    index_images,
    labels_by_study,
    mimic_version,
    parse_mimic_path,
)
from harness.datasets.table import Request
from harness.errors import BenchError
from harness.roots import how_to_get
from harness.samples import Dataset, ImageRef, ImageText
from harness.text import TEXT_POLICY, is_comparison, normalize, tidy

MINIMUM_RCA = 0.7
_FILES = {"train": "train", "validation": "dev", "test": "test"}


@dataclass(frozen=True)
class LofiImage:
    """One image of the cohort with its report and segmentation quality."""

    image: ImageRef
    text: str
    rca: float


def load_lofi(request: Request) -> Dataset:
    """The retrieval pairs of the cohort; `n_total` counts the rows of the annotation file.

    Raises:
        BenchError: the LLaVA-Rad or CheXmask root is not set, a field is missing, no row is left.
    """
    tally = Tally()
    method = str(request.options.get("generate_method", "gpt4"))
    images, total = lofi_images(request.roots, request.split, tally, method=method)
    chosen = _best_of_each_study(images, tally)
    samples = _samples(request, chosen, tally)
    if not samples:
        raise BenchError(f"mimic-cxr lofi: no image left in split {request.split}: {tally.counts}.")
    note = "" if method == "gpt4" else f", {method} rows"
    return Dataset(
        name="mimic-cxr",
        task=request.task,
        split=request.split,
        cohort="lofi",
        version=f"{mimic_version(request.roots)}, llava-rad 1.0.0{note}",
        samples=tuple(samples),
        restricted=True,
        n_total=total,
        excluded=tally.counts,
        text_policy=TEXT_POLICY,
    )


def lofi_images(
    roots: Mapping[str, Path], split: str, tally: Tally, *, method: str = "gpt4"
) -> tuple[list[LofiImage], int]:
    """Every image of the cohort before one is chosen per study, and the number of rows read."""
    splits = list(_FILES) if split == "all" else [split]
    rows = [row for name in splits for row in _rows(roots, name)]
    if not any(row.get("generate_method") == method for row in rows):
        methods = dict(Counter(str(row.get("generate_method")) for row in rows))
        raise BenchError(
            f"llava-rad: no row of split {split} has generate_method {method!r}; found {methods}. "
            "To score another kind say so: options: {generate_method: ...}."
        )
    table = image_table(roots)
    images = index_images(table if split == "all" else table[table["split"] == split])
    rule = _Rule(method, images, _quality(roots))
    return list(_kept(rows, rule, roots, tally)), len(rows)


def _rows(roots: Mapping[str, Path], split: str) -> list[dict[str, Any]]:
    if "llava-rad" not in roots:
        raise BenchError(f"cohort lofi: no llava-rad folder is set. {how_to_get('llava-rad')}")
    name = f"chat_{_FILES[split]}_MIMIC_CXR_all_gpt4extract_rulebased_v1.json"
    file = require_file("llava-rad", roots["llava-rad"], name)
    rows = read_json(file)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BenchError(f"{file}: expected a list of objects.")
    for number, row in enumerate(rows):
        missing = [key for key in ("image", "generate_method", "view") if key not in row]
        if missing or not _findings(row):
            what = ", ".join(missing) or "conversations[1].value"
            raise BenchError(f"{file} row {number}: no field {what}. Another version than 1.0.0?")
    return rows


def _findings(row: Mapping[str, Any]) -> str | None:
    turns = row.get("conversations")
    if not isinstance(turns, Sequence) or len(turns) < 2 or not isinstance(turns[1], Mapping):
        return None
    return str(turns[1].get("value") or "") or None


@dataclass(frozen=True)
class _Rule:
    """What a row must fulfil: its method, its split's images, and their mean RCA."""

    method: str
    images: Mapping[str, Mapping[str, Any]]
    quality: Mapping[str, float]

    def why_not(self, row: Mapping[str, Any], dicom: str) -> str:
        """Why the row is left out, or ''."""
        rca = self.quality.get(dicom)
        if row["generate_method"] != self.method:
            return f"not a {self.method} row"
        if row["view"] not in ("PA", "AP"):
            return "not a PA or AP view"
        if dicom not in self.images:
            return "not in this split of the MIMIC split table"
        if rca is None:
            return "no CheXmask row"
        return "CheXmask RCA below 0.7" if rca < MINIMUM_RCA else ""


def _kept(
    rows: Sequence[Mapping[str, Any]], rule: _Rule, roots: Mapping[str, Path], tally: Tally
) -> Iterator[LofiImage]:
    for row in rows:
        try:
            subject, study, dicom = parse_mimic_path(str(row["image"]))
        except ValueError as error:
            raise BenchError(f"llava-rad: {error}") from error
        if reason := rule.why_not(row, dicom):
            tally.add(reason)
            continue
        keys = {"subject_id": subject, "study_id": study, "dicom_id": dicom}
        image = image_ref({**keys, "view": str(row["view"])}, roots)
        yield LofiImage(image, _report(row), rule.quality[dicom])


def _report(row: Mapping[str, Any]) -> str:
    parts = (_findings(row) or "", str(row.get("impression") or ""))
    return "\n".join(tidy(part) for part in parts if normalize(part))


def _best_of_each_study(images: Sequence[LofiImage], tally: Tally) -> list[LofiImage]:
    best: dict[str, LofiImage] = {}
    for image in sorted(images, key=lambda i: (-i.rca, i.image.image_id)):
        best.setdefault(image.image.study_id, image)
    chosen = {id(image) for image in best.values()}
    tally.add("lower RCA than another image of its study", len(images) - len(chosen))
    return [image for image in images if id(image) in chosen]


def _samples(request: Request, chosen: Sequence[LofiImage], tally: Tally) -> list[ImageText]:
    labels = labels_by_study(request.roots)
    samples: list[ImageText] = []
    for position, item in enumerate(chosen):
        if request.limit is not None and len(samples) == request.limit:
            tally.add(f"beyond --limit {request.limit}", len(chosen) - position)
            break
        if not item.image.file.is_file():
            tally.add("image file missing")
            continue
        groups = {
            "view": item.image.view,
            "comparison": "yes" if is_comparison(item.text) else "no",
        }
        name = item.image.image_id
        found = labels.get(item.image.study_id, ())
        samples.append(ImageText(name, item.image, item.text, groups=groups, labels=found))
    return samples


def _quality(roots: Mapping[str, Path]) -> dict[str, float]:
    if "chexmask" not in roots:
        raise BenchError(f"cohort lofi: no chexmask folder is set. {how_to_get('chexmask')}")
    names = ("OriginalResolution/MIMIC-CXR-JPG.csv*", "Preprocessed/MIMIC-CXR-JPG.csv*")
    file = require_file("chexmask", roots["chexmask"], "MIMIC-CXR-JPG.csv*", *names)
    return _read_quality(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read_quality(file: Path, *_times: int) -> dict[str, float]:
    """Mean RCA by dicom id; read in pieces, since the masks make the file several gigabytes."""
    columns = ["dicom_id", "Dice RCA (Mean)"]
    try:
        pieces = pd.read_csv(file, usecols=columns, chunksize=20_000, encoding="utf-8-sig")
        tables = list(pieces)
    except (ValueError, EOFError, OSError) as error:
        raise BenchError(f"{file}: expected the columns {', '.join(columns)} ({error}).") from error
    table = pd.concat(tables, ignore_index=True)
    return dict(zip(table["dicom_id"], table["Dice RCA (Mean)"].astype(float), strict=True))
