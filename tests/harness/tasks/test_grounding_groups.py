"""Which phrases each group of a grounding row speaks of."""

from pathlib import Path

import numpy as np

from harness.boxes import boxes_from_unit
from harness.samples import ImageRef, PhraseBoxes
from harness.tasks.grounding_groups import grounding_groups


def phrase(number: int, side: float, kind: str = "finding") -> PhraseBoxes:
    image = ImageRef(f"i{number}", Path("x.png"), f"p{number}", f"s{number}")
    boxes = boxes_from_unit([[0.0, 0.0, side, side]])
    return PhraseBoxes(f"i{number}#1", image, "x", boxes, kind=kind)  # type: ignore[arg-type]


def test_area_terciles_are_cut_over_movable_findings_and_not_over_anatomy() -> None:
    findings = [phrase(n, 0.1 + 0.01 * n) for n in range(6)]
    anatomy = [phrase(10 + n, 0.8 + 0.01 * n, "anatomy") for n in range(20)]
    groups = grounding_groups([*anatomy, *findings])
    for name, members in (("small", [20, 21]), ("medium", [22, 23]), ("large", [24, 25])):
        assert np.flatnonzero(groups[f"area={name}"]).tolist() == members
