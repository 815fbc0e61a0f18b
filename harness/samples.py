"""What one benchmark item is, and a `Dataset` of them with everything that was left out."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from harness.boxes import Boxes, no_boxes

Kind = Literal["finding", "finding_weak", "anatomy", "device"]
Located = tuple[str, str, str]  # name, side (the patient's) and zone of a finding; '' for none


@dataclass(frozen=True)
class ImageRef:
    """One image on disk: a view of a study of a patient.

    `view` is "PA", "AP", "LATERAL" or "" when unknown; `sex` "F", "M" or ""; `age` in years or
    None. `file` may be a JPEG, PNG (8 or 16 bit) or DICOM.
    """

    image_id: str
    file: Path
    patient_id: str
    study_id: str
    view: str = ""
    sex: str = ""
    age: float | None = None


@dataclass(frozen=True)
class ImageText:
    """One image of the retrieval pool with the text of its study.

    A sample that is not `asked` is a distractor: its image stands in the gallery of text-to-image,
    its text is nobody's candidate. `text_group` decides `same_text`: samples that share a non-empty
    group bear the same text; a loader that leaves it empty lets the normalized text decide.
    """

    sample_id: str
    image: ImageRef
    text: str
    text_group: str = ""
    asked: bool = True
    groups: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    masked_text: str = ""  # phantoms: the text with location words masked (`findings-only`)
    findings: tuple[Located, ...] = ()  # phantoms: what can be seen in the image


@dataclass(frozen=True)
class PhraseBoxes:
    """One phrase to be located in one image.

    `boxes` is the truth (reader 1; may be empty for a negated or absent finding); `finding` the
    class for macro averages and training tables; `fixed` marks findings that anatomy places
    (cardiomegaly, mediastinum); `negated` a sentence that denies; `comparison` one that speaks of
    change. `second_reader` is None where no second reader exists.
    """

    sample_id: str
    image: ImageRef
    phrase: str
    boxes: Boxes = field(default_factory=no_boxes)
    kind: Kind = "finding"
    finding: str = ""
    fixed: bool = False
    negated: bool = False
    comparison: bool = False
    second_reader: Boxes | None = None
    region_boxes: Boxes | None = None  # phantoms: the fused anatomical region (`region-oracle`)
    visibility: float | None = None  # phantoms: how far the finding stands out of the noise
    groups: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Located, ...] = ()  # phantoms: what the boxes show


@dataclass(frozen=True)
class ProbeChoice:
    """A two-way choice: which of two texts is true of the image (protocol, section 4).

    `change` says what differs: side, zone, finding, negation, severity, and for films of one
    patient "counterfactual" or "mirror". A choice with `boxes` is asked of grounding models: the
    answer to `text` must lie nearer to `boxes` than to `foil_boxes`, those of `foil`.
    """

    sample_id: str
    image: ImageRef
    text: str
    foil: str
    change: str
    finding: str = ""
    boxes: Boxes | None = None
    foil_boxes: Boxes | None = None
    visibility: float | None = None


Sample = ImageText | PhraseBoxes | ProbeChoice


@dataclass(frozen=True)
class Dataset:
    """Samples of one task, split and cohort, with an account of what was left out.

    `restricted` data stand under a use agreement: no text, phrase or pixel reaches an output.
    `excluded` counts samples or images by reason. `phantom` marks synthetic data. `content` is a
    digest of the image files and of what else a user may change without changing what is asked
    (`readable.content_of`); "" where the version says it all.
    """

    name: str
    task: str  # "retrieval" | "grounding" | "probe" | "captioning"
    split: str
    cohort: str
    version: str
    samples: tuple[Sample, ...]
    phantom: bool = False
    restricted: bool = False
    n_total: int = 0
    excluded: Mapping[str, int] = field(default_factory=dict)
    text_policy: str = ""
    licence: str = ""
    content: str = ""

    @property
    def n_used(self) -> int:
        """The number of samples that are asked or stand in a gallery."""
        return len(self.samples)

    def fingerprint(self) -> str:
        """SHA-256 over everything that decides what is asked: ids, text, boxes, split, policy.

        Two cells are compared only if their fingerprints are equal. Files are named by image id,
        never by path, so that the same data in another folder has the same fingerprint.
        """
        digest = hashlib.sha256()
        head = [self.name, self.task, self.split, self.cohort, self.version, self.text_policy]
        digest.update(json.dumps([*head, self.phantom]).encode())
        for sample in self.samples:
            digest.update(_identity(sample))
        return digest.hexdigest()


def _identity(sample: Sample) -> bytes:
    image = sample.image
    parts: list[object] = [sample.sample_id, image.image_id, image.patient_id, image.study_id]
    parts.append(image.view)
    if isinstance(sample, ImageText):
        parts += [sample.text, sample.text_group, sample.asked, list(sample.labels)]
        return json.dumps(parts).encode() + b"\n"
    if isinstance(sample, ProbeChoice):
        parts += [sample.text, sample.foil, sample.change, sample.finding]
        pair = (sample.boxes, sample.foil_boxes)
        drawn = b"".join(_bytes(boxes) for boxes in pair if boxes is not None)
        return json.dumps(parts).encode() + drawn + b"\n"
    parts += [sample.phrase, sample.kind, sample.finding, sample.fixed, sample.negated]
    return json.dumps(parts).encode() + _bytes(sample.boxes) + b"\n"


def _bytes(boxes: Boxes) -> bytes:
    return np.ascontiguousarray(boxes, np.float32).tobytes()
