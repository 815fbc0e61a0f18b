"""Draws synthetic patients and their studies: a pure function of twin, split and index.

Patients come in blocks of eight with twelve studies between them, so any study is found without
drawing those before it, a third of the studies have a prior, and `large` has no end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from harness.errors import BenchError, unknown
from harness.phantom.finding_sets import choose, draw_set
from harness.phantom.plan import FindingPlan, PatientPlan, Rendering, Side, StudyPlan, View
from harness.phantom.streams import between, stream
from harness.phantom.version import VERSION
from harness.phantom.vocabulary import DEVICES, FINDINGS, SIZES, Finding

Split = Literal["train", "validation", "test", "large"]

# Visits of the eight patients of a block, before they are shuffled: 12 studies, 4 with a prior.
BLOCK_VISITS = (1, 1, 1, 1, 1, 2, 2, 3)
BLOCK_STUDIES = sum(BLOCK_VISITS)
BLOCK_PATIENTS = len(BLOCK_VISITS)

EVOLVES = 0.6  # share of follow-up studies that show the prior's findings again
DEVICE_SHARE, SECOND_DEVICE = 0.3, 0.2

VIEW_SETS: Mapping[str, tuple[View, ...]] = {
    "PA LATERAL": ("PA", "LATERAL"),
    "PA": ("PA",),
    "AP": ("AP",),
}
VIEWS: Mapping[Rendering, Mapping[str, float]] = {
    "mimic": {"PA LATERAL": 0.48, "PA": 0.12, "AP": 0.40},
    "padchest": {"PA": 0.8, "AP": 0.2},
}


@dataclass(frozen=True)
class Space:
    """The numbers a split owns: no two splits share a patient, a study or a seed.

    `studies` is the size of the split at its default (None: no default, the caller says how many).
    """

    code: int
    first_patient: int
    first_study: int
    capacity: int
    studies: int | None


SPACES: Mapping[str, Space] = {
    "train": Space(0, 0, 0, 3_000_000, 10_000),
    "validation": Space(1, 3_000_000, 3_000_000, 1_000_000, 500),
    "test": Space(2, 4_000_000, 4_000_000, 1_000_000, 1_000),
    "large": Space(3, 5_000_000, 5_000_000, 5_000_000, None),
}
_TWINS: tuple[Rendering, ...] = ("mimic", "padchest")


def space(split: str) -> Space:
    """The numbers a split owns.

    Raises:
        BenchError: there is no such split.
    """
    if split not in SPACES:
        raise unknown("phantom split", split, SPACES)
    return SPACES[split]


def _seed(kind: int, twin: Rendering, split: str, number: int) -> int:
    """A number no other (kind, twin, split, number) has: its digits are written side by side."""
    return int(f"{VERSION + 1}{kind}{_TWINS.index(twin) + 1}{space(split).code}{number:09d}")


@lru_cache(maxsize=4096)
def _block(twin: Rendering, split: str, block: int) -> tuple[tuple[int, int], ...]:
    """(patient in split, visit) of each study of a block."""
    visits = stream(_seed(1, twin, split, block), "visits").permutation(BLOCK_VISITS)
    first = block * BLOCK_PATIENTS
    return tuple((first + k, v) for k, count in enumerate(visits) for v in range(count))


def place(twin: Rendering, split: str, index: int) -> tuple[int, int]:
    """(patient within the split, visit from 0) of the study at `index`.

    Raises:
        BenchError: the split has no such index.
    """
    limit = space(split).capacity
    if not 0 <= index < limit:
        raise BenchError(f"phantom split {split!r}: no study {index}. It holds 0 to {limit - 1}.")
    return _block(twin, split, index // BLOCK_STUDIES)[index % BLOCK_STUDIES]


def draw_patient(twin: Rendering, split: str, number: int) -> PatientPlan:
    """The patient with that number within the split."""
    seed = _seed(2, twin, split, number)
    rng = stream(seed, "patient")
    return PatientPlan(
        index=space(split).first_patient + number,
        sex="F" if rng.random() < 0.5 else "M",
        age=int(np.clip(rng.normal(61, 16), 20, 95)),
        habitus=float(rng.beta(2.2, 2.8)),
        seed=seed,
    )


def draw_finding(rng: np.random.Generator, finding: Finding, seed: int) -> FindingPlan:
    """One finding of that kind: side, zone, number, size and contrast."""
    count = int(choose(rng, finding.counts))
    side: Side = choose(rng, finding.sides)  # type: ignore[assignment]
    zone = choose(rng, finding.zones)
    if (
        side == "left"
        and zone == "lower"
        and finding.name == "consolidation"
        and rng.random() < 0.3
    ):
        zone = "retrocardiac"
    return FindingPlan(
        name=finding.name,
        side=side,
        zone=zone,
        size=choose(rng, SIZES),  # type: ignore[arg-type]
        count=count,
        severity=between(rng, 0.3, 1.0),
        seed=seed,
    )


@lru_cache(maxsize=256)
def _findings(twin: Rendering, split: str, first_index: int, visit: int) -> tuple[FindingPlan, ...]:
    seed = _seed(3, twin, split, first_index + visit)
    rng = stream(seed, "findings")
    if visit and rng.random() < EVOLVES:
        earlier = _findings(twin, split, first_index, visit - 1)
        return tuple(_later(rng, finding) for finding in earlier)
    names = draw_set(rng, twin)
    return tuple(
        draw_finding(rng, FINDINGS[name], seed * 100 + place_in_set)
        for place_in_set, name in enumerate(names)
    )


def _later(rng: np.random.Generator, finding: FindingPlan) -> FindingPlan:
    """The same finding at the next visit: same place and shape, often another size."""
    sizes = tuple(SIZES)
    step = int(rng.choice((-1, 0, 1), p=(0.3, 0.4, 0.3)))
    size = sizes[int(np.clip(sizes.index(finding.size) + step, 0, len(sizes) - 1))]
    severity = float(np.clip(finding.severity + 0.1 * step, 0.3, 1.0))
    return replace(finding, size=size, severity=severity)  # type: ignore[arg-type]


def _draw_devices(rng: np.random.Generator) -> tuple[str, ...]:
    if rng.random() >= DEVICE_SHARE:
        return ()
    first = choose(rng, DEVICES)
    if rng.random() >= SECOND_DEVICE:
        return (first,)
    kind = first.split(" ")[0]
    others = {name: share for name, share in DEVICES.items() if not name.startswith(kind)}
    return (first, choose(rng, others))


def plan_study(
    twin: Rendering, split: str, index: int, rendering: Rendering | None = None
) -> StudyPlan:
    """The study at `index` of a split of a twin.

    Views, devices and everything the study's seed decides (exposure, noise, markers) are drawn
    apart from the findings, hence independent of them (protocol.md §8.7).

    Args:
        twin: whose patients, prevalence and views.
        split: train, validation, test or large.
        index: from 0; studies of one patient follow each other in time.
        rendering: how it is pictured if not as the twin is (the crossed cells of protocol.md §8.6).

    Raises:
        BenchError: no such split or index.
    """
    number, visit = place(twin, split, index)
    seed = _seed(4, twin, split, index)
    views = choose(stream(seed, "views"), VIEWS[twin])
    return StudyPlan(
        index=index,
        patient=draw_patient(twin, split, number),
        rendering=rendering or twin,
        views=VIEW_SETS[views],
        findings=_findings(twin, split, index - visit, visit),
        devices=_draw_devices(stream(seed, "devices")),
        prior_index=index - 1 if visit else None,
        seed=seed,
    )
