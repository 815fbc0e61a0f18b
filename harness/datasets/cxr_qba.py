"""MIMIC-Ext-CXR-QBA 1.0.0: sentences of reports with automatic boxes, for training.

Read as LoFi reads it (`knowledge/lofi.md` §1.7): of every question with report answers, the
answers that are positive and from the report, once per exact text and image; their boxes divided by
the image's size and fused (weighted box fusion, IoU 0.1). The boxes are anatomical regions.

Layout: ``exports/A_frontal/qa/p10/p10000032/s50414267.qa.json`` or ``exports/A_frontal/qa.zip``
(else B_frontal, else ``qa`` at the top). The variant `lesion` (phantom twin only: reader-level
boxes) is a tree of its own in the same layout, the root `cxr-qba-lesion`.

Fields assumed, each named by the error that misses it: patient_id, study_id, questions[],
.contains_report_answers, .answers[], .positiveness ("pos"), .from_report, .text,
.localization{image_id: .bboxes [[x1, y1, x2, y2]] in pixels of the original}; optional
.obs_entities[]. Nested sub_answers are not read. Source: PhysioNet page of the data set, section
"Question-Answer Format"; image sizes are Rows and Columns of the MIMIC-CXR-JPG metadata.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.boxes import Boxes
from harness.datasets.archive import JsonArchive, open_archive
from harness.datasets.checks import Check
from harness.datasets.files import Tally
from harness.datasets.findings import is_fixed, kind_of
from harness.datasets.fusion import clipped_boxes, fuse_boxes
from harness.datasets.mimic_cxr import frontal_only, nothing_left, of_split
from harness.datasets.mimic_tables import image_ref, image_table, index_images, mimic_version
from harness.datasets.table import Request
from harness.datasets.truth import Known, generator_version, phrase_truth
from harness.errors import BenchError
from harness.images import Image
from harness.roots import how_to_get, version_of
from harness.samples import Dataset, ImageRef, PhraseBoxes
from harness.text import TEXT_POLICY, is_comparison, normalize, tidy

VARIANTS = ("region", "lesion")
_EXPORTS = ("exports/A_frontal", "exports/B_frontal", ".")


@dataclass(frozen=True)
class RegionPhrase:
    """A sentence of a report with its boxes in one image, pixels of the original, not yet fused."""

    image_id: str
    text: str
    boxes_px: tuple[tuple[float, ...], ...]
    finding: str = ""


def load(request: Request) -> Dataset:
    """The region phrases of one split as grounding samples; `n_total` counts phrases.

    Raises:
        BenchError: the export or a field is missing, or nothing is left.
    """
    archive = open_qba(request.roots, request.cohort)
    tally = Tally()
    samples = list(_samples(request, archive, tally))
    if not samples:
        raise BenchError(nothing_left("cxr-qba", request, tally))
    return Dataset(
        name="cxr-qba",
        task=request.task,
        split=request.split,
        cohort=request.cohort,
        version=_version(request),
        samples=tuple(samples),
        phantom=request.phantom,
        restricted=not request.phantom,
        n_total=len(samples) + sum(tally.counts.values()),
        excluded=tally.counts,
        text_policy=TEXT_POLICY,
    )


def open_qba(roots: Mapping[str, Path], variant: str = "region") -> JsonArchive:
    """The question files of a variant.

    Raises:
        BenchError: there is none.
    """
    top = roots["cxr-qba"]
    if variant == "lesion":
        if "cxr-qba-lesion" not in roots:
            raise BenchError("cxr-qba: the variant `lesion` exists in the phantom twin only.")
        top = roots["cxr-qba-lesion"]
    candidates = [top / folder / name for folder in _EXPORTS for name in ("qa", "qa.zip")]
    archive = open_archive(candidates)
    if archive is None:
        where = ", ".join(str(path.relative_to(top)) for path in candidates)
        raise BenchError(f"cxr-qba: {top} has none of {where}. {how_to_get('cxr-qba')}")
    return archive


@lru_cache(maxsize=8)  # a study with two frontal images is asked for twice in a row
def study_phrases(archive: JsonArchive, subject: str, study: str) -> tuple[RegionPhrase, ...]:
    """The positive report sentences of a study per image, in file order; none if it has no file.

    A text that stands twice for an image counts once, with the first boxes that are not empty.

    Raises:
        BenchError: a field is missing.
    """
    name = f"p{subject[:2]}/p{subject}/s{study}.qa.json"
    content = archive.read(name)
    if content is None:
        return ()
    try:
        found: dict[tuple[str, str], RegionPhrase] = {}
        for phrase in _answers(content):
            key = (phrase.image_id, phrase.text)
            if not (key in found and found[key].boxes_px):
                found[key] = phrase
        return tuple(found.values())
    except KeyError as error:
        raise BenchError(
            f"{archive.place} {name}: no field {error}. Expected MIMIC-Ext-CXR-QBA 1.0.0."
        ) from error
    except (AttributeError, TypeError, ValueError) as error:
        raise BenchError(
            f"{archive.place} {name}: a field is of another kind ({error})."
        ) from error


def fused_unit_boxes(phrase: RegionPhrase, width: int, height: int) -> Boxes:
    """The phrase's boxes as fractions of the image, fused and sorted by x1; may be empty."""
    rows = np.asarray(phrase.boxes_px, np.float64).reshape(-1, 4)
    return fuse_boxes(clipped_boxes(rows / np.array([width, height, width, height])))


def image_size(image: ImageRef, row: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of the original: from the metadata table, else from the file's header."""
    if row["width"] > 0 and row["height"] > 0:
        return int(row["width"]), int(row["height"])
    return Image(image.image_id, image.file).size()


def check(roots: Mapping[str, Path], *, thorough: bool = False) -> list[Check]:
    """What ``bench data check cxr-qba=PATH`` prints: the export, and whether its files parse."""
    archive = open_qba(roots)
    checks = [Check("ok", "export", str(archive.place))]
    if "mimic-cxr-jpg" not in roots and "mimic-cxr" not in roots:
        return [*checks, Check("note", "studies", "not checked", "--data mimic-cxr-jpg=PATH")]
    studies = image_table(roots).drop_duplicates("study_id")
    step = 1 if thorough else max(1, len(studies) // 200)
    looked_at = studies.iloc[::step]
    pairs = zip(looked_at["subject_id"], looked_at["study_id"], strict=True)
    counts = [len(study_phrases(archive, subject, study)) for subject, study in pairs]
    how = "all" if thorough else "sampled; --all reads every one"
    return [
        *checks,
        Check("ok", "studies looked at", f"{len(counts)} ({how})"),
        Check("ok", "studies with region phrases", str(sum(count > 0 for count in counts))),
        Check("ok", "region phrases in them", str(sum(counts))),
    ]


def _answers(content: Mapping[str, Any]) -> Iterator[RegionPhrase]:
    for question in content["questions"]:
        if not question["contains_report_answers"]:
            continue
        for answer in question["answers"]:
            if answer["positiveness"] == "pos" and answer["from_report"]:
                yield from _per_image(answer)


def _per_image(answer: Mapping[str, Any]) -> Iterator[RegionPhrase]:
    text = tidy(str(answer["text"]))
    entities = answer.get("obs_entities") or [""]
    for image_id, place in answer["localization"].items():
        boxes = tuple(tuple(float(number) for number in box) for box in place["bboxes"])
        if any(len(box) != 4 for box in boxes):
            raise ValueError("bboxes are not lists of four numbers")
        yield RegionPhrase(str(image_id), text, boxes, normalize(str(entities[0])))


def _version(request: Request) -> str:
    own = version_of(request.roots["cxr-qba"]) or "1.0.0"
    return generator_version(request.truth) or f"{own} on mimic-cxr {mimic_version(request.roots)}"


def _samples(request: Request, archive: JsonArchive, tally: Tally) -> Iterator[PhraseBoxes]:
    table = frontal_only(of_split(image_table(request.roots), request.split), Tally())
    known = phrase_truth(request.truth)
    images = index_images(table)
    studies = table.drop_duplicates("study_id")
    used: set[str] = set()
    counts: dict[str, int] = {}
    for subject, study in zip(studies["subject_id"], studies["study_id"], strict=True):
        if request.limit is not None and len(used) >= request.limit:
            return  # the files of further studies are not opened, so their phrases are not counted
        for phrase in study_phrases(archive, subject, study):
            row = images.get(phrase.image_id)
            if row is None:
                tally.add("image not a frontal one of this split")
                continue
            image = image_ref(row, request.roots)
            boxes, reason = _usable(phrase, image, row)
            if reason:
                tally.add(reason)
                continue
            used.add(image.image_id)
            counts[image.image_id] = counts.get(image.image_id, 0) + 1
            sample_id = f"{image.image_id}#{counts[image.image_id]}"
            truth = known(image.image_id, phrase.text)
            yield _sample(sample_id, image, phrase, boxes=boxes, known=truth)


def _usable(phrase: RegionPhrase, image: ImageRef, row: Mapping[str, Any]) -> tuple[Boxes, str]:
    if not image.file.is_file():
        return clipped_boxes(np.zeros((0, 4))), "image file missing"
    boxes = fused_unit_boxes(phrase, *image_size(image, row))
    return boxes, "" if len(boxes) and phrase.text else "no box for this image"


def _sample(
    sample_id: str, image: ImageRef, phrase: RegionPhrase, *, boxes: Boxes, known: Known
) -> PhraseBoxes:
    finding = phrase.finding or known.finding
    kind = kind_of(finding)
    return PhraseBoxes(
        sample_id=sample_id,
        image=image,
        phrase=phrase.text,
        boxes=boxes,
        kind=kind,
        finding=finding,
        fixed=kind == "finding" and is_fixed(finding),
        comparison=is_comparison(phrase.text),
        visibility=known.visibility,
        groups={"view": image.view, **known.groups},
    )
