"""Studies to train on: image, report, sentences and phrases with boxes, with the firewall.

From MIMIC-CXR with regions of CXR-QBA (or Chest ImaGenome), or from PadChest-GR. Test splits are
never read, and patients of any test split the model will be judged on are left out, with a count.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness.boxes import Boxes
from harness.datasets.cxr_qba import fused_unit_boxes, image_size, open_qba, study_phrases
from harness.datasets.files import Tally
from harness.datasets.imagenome import open_scenes
from harness.datasets.mimic_cxr import frontal_only, of_split
from harness.datasets.mimic_reports import open_reports
from harness.datasets.mimic_tables import (
    image_ref,
    image_table,
    index_images,
    labels_by_study,
    mimic_version,
)
from harness.datasets.padchest_gr import reader_1, sentence_of, study_image, study_text
from harness.datasets.padchest_tables import read_studies, release_of
from harness.datasets.table import DatasetSpec, dataset_spec
from harness.datasets.truth import generator_version
from harness.errors import BenchError, unknown
from harness.samples import Dataset, ImageRef
from harness.text import sentences

Region = tuple[str, Boxes]
VARIANTS = ("region", "lesion", "imagenome", "none")
_FIREWALL = "patient of a test split"


@dataclass(frozen=True)
class TrainingStudy:
    """One training image; `text` is the report as retrieval shows it, cut into `sentences`.

    `regions` are phrases with their boxes (fractions of the image, at least one each); empty where
    nothing is boxed. `labels` are the positive CheXpert or PadChest labels of the study.
    """

    image: ImageRef
    text: str
    sentences: tuple[str, ...]
    regions: tuple[Region, ...] = ()
    findings: str = ""
    impression: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingSet:
    """The training images of one source; what was left out is counted by reason.

    `n_total == len(studies) + sum(excluded.values())`, both counted in images.
    """

    name: str
    split: str
    variant: str
    version: str
    studies: tuple[TrainingStudy, ...] = field(repr=False)
    n_total: int
    excluded: Mapping[str, int]
    phantom: bool = False

    def __len__(self) -> int:
        """The number of images."""
        return len(self.studies)

    def __iter__(self) -> Iterator[TrainingStudy]:
        """The images in the order of the source's tables."""
        return iter(self.studies)


@dataclass(frozen=True)
class _Want:
    roots: Mapping[str, Path]
    split: str
    variant: str
    limit: int | None
    phantom: bool
    kept_out: frozenset[str]


def load_training(
    name: str,
    split: str,
    roots: Mapping[str, Path],
    *,
    variant: str = "region",
    limit: int | None = None,
    phantom: bool = False,
    truth: Path | None = None,
    keep_out: Iterable[Dataset] = (),
) -> TrainingSet:
    """Every frontal image of a training or validation split with its text and boxed phrases.

    Args:
        name: "mimic-cxr" or "padchest-gr".
        split: "train" or "validation".
        roots: recognized top folders by tree name.
        variant: where a MIMIC image's boxes come from: "region" (CXR-QBA), "lesion" (the phantom
            twin of it with reader-level boxes), "imagenome" (Chest ImaGenome) or "none". Those of
            PadChest-GR are its own (reader 1) unless "none".
        limit: the first so many studies.
        phantom: whether the roots are a phantom's.
        truth: the phantom's truth folder; only its version is read.
        keep_out: datasets the model will be judged on; patients of the same population that stand
            in them are left out, with a count.

    Raises:
        BenchError: another split (a test split is never trained on), an unknown name or variant, a
            tree that is not set, damaged files, or nothing left.
    """
    spec = _allowed(name, split, roots, variant)
    want = _Want(roots, split, variant, limit, phantom, _patients(keep_out, spec.patients))
    tally = Tally()
    studies, total, version = _SOURCES[name](want, tally)
    if not studies:
        raise BenchError(f"{name}: nothing to train on in split {split} ({tally.counts}).")
    version = generator_version(truth) or version
    return TrainingSet(name, split, variant, version, tuple(studies), total, tally.counts, phantom)


def _allowed(name: str, split: str, roots: Mapping[str, Path], variant: str) -> DatasetSpec:
    if split not in ("train", "validation"):
        raise BenchError(
            f"training on split {split!r} of {name}: only train and validation may be."
        )
    if variant not in VARIANTS:
        raise unknown("region variant", variant, VARIANTS)
    if name not in _SOURCES:
        raise unknown("training dataset", name, _SOURCES)
    spec = dataset_spec(name)
    if reason := spec.missing(roots):
        raise BenchError(reason)
    return spec


def _patients(datasets: Iterable[Dataset], population: str) -> frozenset[str]:
    return frozenset(
        sample.image.patient_id
        for dataset in datasets
        if dataset_spec(dataset.name).patients == population
        for sample in dataset.samples
    )


def _from_mimic(want: _Want, tally: Tally) -> tuple[list[TrainingStudy], int, str]:
    table = of_split(image_table(want.roots), want.split)
    total = len(table)
    frontal = _firewalled(_limited(frontal_only(table, tally), want.limit, tally), want, tally)
    reports = open_reports(want.roots["mimic-cxr"], phantom=want.phantom)
    labels = labels_by_study(want.roots)
    regions = _mimic_regions(want)
    studies: list[TrainingStudy] = []
    for row in index_images(frontal).values():
        image = image_ref(row, want.roots)
        found = reports.text(image.patient_id, image.study_id, "frontal")
        if not found.text or not image.file.is_file():
            tally.add(found.reason or "image file missing")
            continue
        parts = reports.sections(image.patient_id, image.study_id)
        studies.append(
            TrainingStudy(
                image=image,
                text=found.text,
                sentences=sentences(found.text),
                regions=tuple(regions(image, row)),
                findings=parts.get("findings", ""),
                impression=parts.get("impression", ""),
                labels=labels.get(image.study_id, ()),
            )
        )
    return studies, total, mimic_version(want.roots)


def _limited(table: pd.DataFrame, limit: int | None, tally: Tally) -> pd.DataFrame:
    if limit is None:
        return table
    kept = table["study_id"].isin(table["study_id"].drop_duplicates().iloc[:limit])
    tally.add(f"beyond --limit {limit}", int((~kept).sum()))
    return table[kept]


def _firewalled(table: pd.DataFrame, want: _Want, tally: Tally) -> pd.DataFrame:
    kept_out = table["subject_id"].isin(list(want.kept_out))
    tally.add(_FIREWALL, int(kept_out.sum()))
    return table[~kept_out]


def _mimic_regions(want: _Want) -> Any:
    """A function (image, table row) -> its phrases with boxes."""
    if want.variant == "none":
        return lambda _image, _row: ()
    if want.variant == "imagenome":
        scenes = open_scenes(want.roots)
        return lambda image, row: scenes.regions(image.image_id, *image_size(image, row))
    if "cxr-qba" not in want.roots:
        raise BenchError(dataset_spec("cxr-qba").missing(want.roots))
    archive = open_qba(want.roots, want.variant)

    def of_image(image: ImageRef, row: Mapping[str, Any]) -> Iterator[Region]:
        for phrase in study_phrases(archive, image.patient_id, image.study_id):
            if phrase.image_id == image.image_id and phrase.text:
                boxes = fused_unit_boxes(phrase, *image_size(image, row))
                if len(boxes):
                    yield phrase.text, boxes

    return of_image


def _from_padchest(want: _Want, tally: Tally) -> tuple[list[TrainingStudy], int, str]:
    top = want.roots["padchest-gr"]
    entries = [study for study in read_studies(top) if study.split == want.split]
    studies: list[TrainingStudy] = []
    for position, study in enumerate(entries):
        if want.limit is not None and position >= want.limit:
            tally.add(f"beyond --limit {want.limit}", len(entries) - position)
            break
        image, text = study_image(study), study_text(study)
        reason = (
            (image.patient_id in want.kept_out and _FIREWALL)
            or (not study.reported and "no entry in the grounded reports")
            or (not text and "no sentence")
            or (not image.file.is_file() and "image file missing")
        )
        if reason:
            tally.add(reason)
            continue
        said = tuple(filter(None, (sentence_of(finding) for finding in study.findings)))
        regions = () if want.variant == "none" else tuple(_padchest_regions(study.findings))
        positive = (x for f in study.findings if f.abnormal for x in f.labels)
        labels = tuple(dict.fromkeys(positive))
        studies.append(TrainingStudy(image, text, said, regions, text, "", labels))
    return studies, len(entries), release_of(top)


def _padchest_regions(findings: Sequence[Any]) -> Iterator[Region]:
    for finding in findings:
        boxes, reason = reader_1(finding)
        phrase = sentence_of(finding)
        if phrase and len(boxes) and not reason:
            yield phrase, boxes


_SOURCES = {"mimic-cxr": _from_mimic, "padchest-gr": _from_padchest}
