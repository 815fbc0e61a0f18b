"""Training images with what each boxed phrase speaks of, ready for episodes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from harness.boxes import Boxes
from harness.cache_root import cache_root
from harness.datasets.table import load_dataset
from harness.datasets.training import TrainingSet, TrainingStudy
from harness.samples import PhraseBoxes
from lofi.config import Data
from lofi.picture import PaddedFrame
from lofi.read import squares_of
from lofi.source import training_roots, training_set

Say = Callable[[str], None]


@dataclass(frozen=True)
class Phrase:
    """What is said and where it is, on the padded square."""

    text: str
    finding: str
    boxes: Boxes


@dataclass(frozen=True)
class Pool:
    """Images with at least one boxed phrase; `rows` are their places in `squares`."""

    squares: UInt8[np.ndarray, "n s s"] = field(repr=False)
    rows: Int[np.ndarray, " m"] = field(repr=False)
    phrases: tuple[tuple[Phrase, ...], ...] = field(repr=False)
    patients: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.rows)

    @cached_property
    def by_finding(self) -> dict[str, Int[np.ndarray, " k"]]:
        """The images that show each finding, findings in alphabetical order."""
        found: dict[str, list[int]] = {}
        for image, phrases in enumerate(self.phrases):
            for finding in {phrase.finding for phrase in phrases}:
                found.setdefault(finding, []).append(image)
        return {name: np.array(found[name]) for name in sorted(found)}

    def boxes_of(self, image: int, finding: str) -> Boxes:
        """All boxes of a finding in an image, each once, sorted by x1."""
        rows = [p.boxes for p in self.phrases[image] if p.finding == finding]
        return np.unique(np.concatenate(rows), axis=0)


def read_pool(
    data: Data,
    split: str,
    roots: Mapping[str, Path],
    *,
    size: int,
    limit: int | None = None,
    say: Say = print,
) -> tuple[Pool, TrainingSet]:
    """The images of a split with the findings of their phrases, and where they come from."""
    source = training_set(data, split, roots, limit=limit)
    named = [study for study in source if study.text.strip()]
    squares, frames, unreadable = squares_of(named, size=size, cache=cache_root())
    findings = _findings(data, split, roots, limit)
    rows, phrases, patients = [], [], []
    for row, study in enumerate(named):
        found = _phrases(study, PaddedFrame(*frames[row]), findings)
        if found and study.image.image_id not in unreadable:
            rows.append(row)
            phrases.append(found)
            patients.append(study.image.patient_id)
    say(f"{source.name} {split}: {len(rows)} images with boxes of {source.n_total}")
    return Pool(squares, np.array(rows), tuple(phrases), tuple(patients)), source


def _phrases(
    study: TrainingStudy, frame: PaddedFrame, findings: Mapping[tuple[str, str], str]
) -> tuple[Phrase, ...]:
    known = [
        (text, boxes, findings.get((study.image.image_id, text), ""))
        for text, boxes in study.regions
    ]
    return tuple(
        Phrase(text, finding, frame.to_square(boxes)) for text, boxes, finding in known if finding
    )


def _findings(
    data: Data, split: str, roots: Mapping[str, Path], limit: int | None
) -> dict[tuple[str, str], str]:
    """What each phrase of an image speaks of, by the data set's own column."""
    name, cohort = data.dataset, None
    if name == "mimic-cxr":
        name, cohort = "cxr-qba", data.boxes
    where, phantom = training_roots(data, split, roots, limit=limit)
    dataset = load_dataset(
        name, task="grounding", split=split, roots=where, cohort=cohort, phantom=phantom
    )
    return {
        (sample.image.image_id, sample.phrase): sample.finding
        for sample in dataset.samples
        if isinstance(sample, PhraseBoxes)
    }
