"""MS-CXR phrase grounding: boxes and phrases by radiologists on MIMIC-CXR images.

Reads 0.1 (files named v1.0.0) and 1.1.0 (files named v1.1.0), as CSV or COCO JSON. The CSV has one
row per box; a sample is a pair (dicom_id, category_name, label_text) with all its boxes. Splits are
those of MIMIC-CXR (protocol §1), not the column `split` of 1.1.0: a model trained on MIMIC-CXR
train has seen some of that column's test rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.boxes import Boxes, boxes_from_xywh
from harness.datasets.checks import Check, check_images, compare_counts, count_samples
from harness.datasets.files import Tally, find_file, read_json, read_rows
from harness.datasets.findings import is_fixed
from harness.datasets.mimic_cxr import nothing_left
from harness.datasets.mimic_tables import (
    image_ref,
    image_table,
    index_images,
    mimic_version,
    parse_mimic_path,
)
from harness.datasets.table import DATASETS, Request
from harness.datasets.truth import PhraseTruth, generator_version, phrase_truth
from harness.errors import BenchError
from harness.roots import how_to_get
from harness.samples import Dataset, ImageRef, PhraseBoxes
from harness.text import TEXT_POLICY, is_comparison, normalize, tidy

_STEM = "MS_CXR_Local_Alignment_v"
_RELEASES = {"1.0.0": "0.1", "1.1.0": "1.1.0"}  # file name -> release
_COLUMNS = (
    *("dicom_id", "category_name", "label_text", "path"),
    *("x", "y", "w", "h", "image_width", "image_height"),
)


@dataclass(frozen=True)
class _Box:
    """One row: a box of a pair, in pixels, with the place to name in errors."""

    where: str
    dicom: str
    category: str
    phrase: str
    path: str
    xywh: tuple[float, float, float, float]
    size: tuple[int, int]


@dataclass(frozen=True)
class Pair:
    """One phrase of one image with all its boxes."""

    dicom: str
    category: str
    phrase: str
    path: str
    boxes: Boxes
    number: int  # among the pairs of this image and category, by phrase


def load(request: Request) -> Dataset:
    """The phrases of one MIMIC split; `pooled-eval` is validation and test together.

    Raises:
        BenchError: no annotation file, a bad box, or no phrase left in the split.
    """
    file, release = annotation_file(request.roots["ms-cxr"])
    pairs = read_pairs(file)
    tally = Tally()
    samples = _samples(request, pairs, tally)
    if not samples:
        raise BenchError(nothing_left("ms-cxr", request, tally))
    return Dataset(
        name="ms-cxr",
        task=request.task,
        split=request.split,
        cohort=request.cohort,
        version=generator_version(request.truth)
        or f"{release} on mimic-cxr {mimic_version(request.roots)}",
        samples=tuple(samples),
        phantom=request.phantom,
        restricted=not request.phantom,
        n_total=len(pairs),
        excluded=tally.counts,
        text_policy=TEXT_POLICY,
        licence="" if request.phantom else "PhysioNet Credentialed Health Data License 1.5.0",
    )


def annotation_file(top: Path) -> tuple[Path, str]:
    """The newest annotation file (CSV before JSON) and its release, "0.1" or "1.1.0".

    Raises:
        BenchError: none is there.
    """
    for name in reversed(_RELEASES):
        if file := find_file(top, f"{_STEM}{name}.csv") or find_file(top, f"{_STEM}{name}.json"):
            return file, _RELEASES[name]
    raise BenchError(
        f"ms-cxr: {top} has no {_STEM}1.1.0.csv or .json, nor v1.0.0 (release 0.1). "
        f"{how_to_get('ms-cxr')}"
    )


def read_pairs(file: Path) -> list[Pair]:
    """The phrase pairs of an annotation file in the order of their first box.

    Raises:
        BenchError: a field is missing, or a box is no box of its image.
    """
    rows = _csv_boxes(file) if file.suffix == ".csv" else _coco_boxes(file)
    grouped: dict[tuple[str, str, str], list[_Box]] = {}
    for row in rows:
        grouped.setdefault((row.dicom, row.category, row.phrase), []).append(row)
    phrases: dict[tuple[str, str], list[str]] = {}
    for dicom, category, phrase in grouped:
        phrases.setdefault((dicom, category), []).append(phrase)
    return [
        Pair(*key, found[0].path, _boxes(found), sorted(phrases[key[:2]]).index(key[2]) + 1)
        for key, found in grouped.items()
    ]


def check(roots: Mapping[str, Path], *, thorough: bool = False) -> list[Check]:
    """What ``bench data check ms-cxr=PATH`` prints; images are looked at if their tree is set."""
    file, release = annotation_file(roots["ms-cxr"])
    pairs = read_pairs(file)
    counts = {
        "images": len({pair.dicom for pair in pairs}),
        "phrases": len(pairs),
        "boxes": sum(len(pair.boxes) for pair in pairs),
    }
    checks = [Check("ok", "release", f"{release} ({file.name})")]
    checks += compare_counts(counts, DATASETS["ms-cxr"].published["all"])
    if DATASETS["ms-cxr"].missing(roots):
        return [*checks, Check("note", "images", "not checked", "--data mimic-cxr-jpg=PATH")]
    for split in ("train", "validation", "test"):
        checks.append(_count_split(roots, split))
    images = {pair.dicom: _image(pair, {}, roots) for pair in pairs}
    return [*checks, *check_images(list(images.values()), thorough=thorough)]


def _count_split(roots: Mapping[str, Path], split: str) -> Check:
    try:
        counts = count_samples(load(Request("grounding", split, "frontal", roots)))
    except BenchError:
        return Check("note", f"MIMIC {split}", "no phrase")
    return Check("ok", f"MIMIC {split}", ", ".join(f"{v:g} {k}" for k, v in counts.items()))


def _csv_boxes(file: Path) -> list[_Box]:
    return [
        _Box(
            where=f"{file} line {row.line}",
            dicom=row.get("dicom_id"),
            category=row.get("category_name"),
            phrase=tidy(row.get("label_text")),
            path=row.get("path"),
            xywh=_numbers(f"{file} line {row.line}", [row.get(key) for key in "xywh"]),
            size=_size(f"{file} line {row.line}", row.get("image_width"), row.get("image_height")),
        )
        for row in read_rows(file, _COLUMNS)
    ]


def _coco_boxes(file: Path) -> list[_Box]:
    content = read_json(file)
    try:
        images = {image["id"]: image for image in content["images"]}
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        return [
            _coco_box(f"{file} annotation {value['id']}", value, images[value["image_id"]], names)
            for value in content["annotations"]
        ]
    except (KeyError, TypeError) as error:
        raise BenchError(
            f"{file}: field {error} is missing. Expected COCO: categories[id, name], images[id, "
            "file_name, path, width, height], annotations[id, image_id, category_id, bbox, "
            "label_text]."
        ) from error


def _coco_box(
    where: str, value: Mapping[str, Any], image: Mapping[str, Any], names: Mapping[Any, str]
) -> _Box:
    return _Box(
        where=where,
        dicom=Path(str(image["file_name"])).stem,
        category=names[value["category_id"]],
        phrase=tidy(str(value["label_text"])),
        path=str(image["path"]),
        xywh=_numbers(where, value["bbox"]),
        size=_size(where, image["width"], image["height"]),
    )


def _numbers(where: str, values: Sequence[Any]) -> tuple[float, float, float, float]:
    try:
        x, y, w, h = (float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise BenchError(f"{where}: x, y, w, h = {list(values)} are not four numbers.") from error
    return x, y, w, h


def _size(where: str, width: Any, height: Any) -> tuple[int, int]:
    try:
        return int(float(width)), int(float(height))
    except (TypeError, ValueError) as error:
        raise BenchError(f"{where}: image size {width!r} x {height!r} is not a number.") from error


def _boxes(rows: Sequence[_Box]) -> Boxes:
    return np.concatenate([_one_box(row) for row in rows])


def _one_box(row: _Box) -> Boxes:
    width, height = row.size
    try:
        return boxes_from_xywh([row.xywh], width=width, height=height)
    except ValueError as error:
        raise BenchError(
            f"{row.where}: x, y, w, h = {list(row.xywh)} is no box in a {width} x {height} "
            f"image ({error}). Download the file again."
        ) from error


def _samples(request: Request, pairs: Sequence[Pair], tally: Tally) -> list[PhraseBoxes]:
    table = image_table(request.roots)
    index = index_images(table[table["dicom_id"].isin({pair.dicom for pair in pairs})])
    truth = phrase_truth(request.truth)
    kept: dict[str, bool] = {}
    samples = []
    for pair in pairs:
        reason = _left_out(pair, index, request, kept)
        if reason:
            tally.add(reason)
        else:
            samples.append(_sample(pair, _image(pair, index, request.roots), truth))
    return samples


def _left_out(
    pair: Pair, index: Mapping[str, Mapping[str, Any]], request: Request, kept: dict[str, bool]
) -> str:
    if pair.dicom not in index:
        return "image not in the MIMIC split table"
    split = str(index[pair.dicom]["split"])
    wanted = {"all": (split,), "pooled-eval": ("validation", "test")}
    if split not in wanted.get(request.split, (request.split,)):
        return f"in MIMIC {split}"
    if request.limit is not None and pair.dicom not in kept and len(kept) >= request.limit:
        return f"beyond --limit {request.limit}"
    if not kept.setdefault(pair.dicom, _image(pair, index, request.roots).file.is_file()):
        del kept[pair.dicom]
        return "image file missing"
    return ""


def _image(
    pair: Pair, index: Mapping[str, Mapping[str, Any]], roots: Mapping[str, Path]
) -> ImageRef:
    try:
        subject, study, _ = parse_mimic_path(pair.path)
    except ValueError as error:
        raise BenchError(f"ms-cxr: image {pair.dicom}: {error}") from error
    view = str(index.get(pair.dicom, {}).get("view", ""))
    keys = {"subject_id": subject, "study_id": study, "dicom_id": pair.dicom, "view": view}
    return image_ref(keys, roots)


def _sample(pair: Pair, image: ImageRef, truth: PhraseTruth) -> PhraseBoxes:
    finding = normalize(pair.category)
    known = truth(pair.dicom, pair.phrase)
    return PhraseBoxes(
        sample_id=f"{pair.dicom}/{finding.replace(' ', '-')}/{pair.number}",
        image=image,
        phrase=pair.phrase,
        boxes=pair.boxes,
        finding=finding,
        fixed=is_fixed(finding),
        comparison=is_comparison(pair.phrase),
        second_reader=known.second_reader,
        region_boxes=known.region_boxes,
        visibility=known.visibility,
        groups={**({"view": image.view} if image.view else {}), **known.groups},
        findings=known.findings,
    )
