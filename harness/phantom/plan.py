"""What a synthetic study is before it is drawn or described: the seam between picture and text.

`world` draws plans, `film` turns a plan into pixels and boxes, `language` into a report. A plan is
a pure function of (version, rendering, split, index), so any worker draws the same study.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from harness.boxes import Boxes

Side = Literal["left", "right", "both", "none"]  # the patient's
Rendering = Literal["mimic", "padchest"]
View = Literal["PA", "AP", "LATERAL"]


@dataclass(frozen=True)
class PatientPlan:
    """One synthetic person; `seed` decides the anatomy, the same in all of the person's studies."""

    index: int
    sex: Literal["F", "M"]
    age: int
    habitus: float  # 0 slim .. 1 obese
    seed: int


@dataclass(frozen=True)
class FindingPlan:
    """One finding as it is in the patient, whether or not it will be visible.

    `name` is a key of `vocabulary.FINDINGS`; `zone` one of upper, mid, lower, apical, basal,
    perihilar, retrocardiac or ""; `count` the number of foci; `severity` in [0, 1] the contrast.
    """

    name: str
    side: Side
    zone: str
    size: Literal["small", "moderate", "large"]
    count: int
    severity: float
    seed: int


@dataclass(frozen=True)
class StudyPlan:
    """One examination: who, what is there, and how it was taken."""

    index: int
    patient: PatientPlan
    rendering: Rendering
    views: tuple[View, ...]
    findings: tuple[FindingPlan, ...]
    devices: tuple[str, ...]  # e.g. "port right", "pacemaker left", "tube", "drain left"
    prior_index: int | None  # an earlier study of the same patient
    seed: int  # exposure, rotation, inspiration, scatter, noise, blur, markers


@dataclass(frozen=True)
class DrawnFinding:
    """What became of a planned finding in one film; boxes in fractions of that film."""

    plan: FindingPlan
    visibility: float  # contrast of the visible difference in units of the noise
    visible: bool  # False: neither reported nor boxed
    subtle: bool  # visible, but in the named `subtle` stratum
    exact: Boxes  # hull of the visible difference, one box per connected focus
    reader_1: Boxes
    reader_2: Boxes
    region: Boxes  # the anatomical region(s) the finding lies in


@dataclass(frozen=True)
class Film:
    """One rendered radiograph: uint8 for the MIMIC rendering, uint16 for PadChest."""

    view: View
    pixels: np.ndarray = field(repr=False)
    findings: tuple[DrawnFinding, ...] = ()
