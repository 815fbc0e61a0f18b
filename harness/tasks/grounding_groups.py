"""Which phrases a grounding row speaks of: movable findings first, never pooled with the rest."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from harness.metrics.groups import sample_groups
from harness.samples import PhraseBoxes


def grounding_groups(samples: Sequence[PhraseBoxes]) -> dict[str, Bool[np.ndarray, " n"]]:
    """Group name to mask.

    ``all`` are movable findings: kind "finding", not placed by anatomy. ``fixed`` are findings that
    anatomy places, ``kind=...`` the other kinds; ``no comparison`` is ``all`` without phrases that
    speak of change. View, sex, age, finding, box area and visibility divide ``all``.
    """
    kinds = np.array([sample.kind for sample in samples])
    fixed = np.array([sample.fixed for sample in samples])
    change = np.array([sample.comparison for sample in samples])
    movable = (kinds == "finding") & ~fixed
    groups: dict[str, Bool[np.ndarray, " n"]] = {"all": movable}
    if (fixed & (kinds == "finding")).any():
        groups["fixed"] = fixed & (kinds == "finding")
    for kind in ("anatomy", "device", "finding_weak"):
        if (kinds == kind).any():
            groups[f"kind={kind}"] = kinds == kind
    if (change & movable).any():
        groups["no comparison"] = movable & ~change
    # Terciles are cut over what is divided: anatomy is large, beside it every finding is small.
    rows = np.flatnonzero(movable)
    for name, mask in sample_groups([samples[row] for row in rows.tolist()]).items():
        if mask.any():
            groups[name] = np.zeros(len(samples), bool)
            groups[name][rows[mask]] = True
    return groups
