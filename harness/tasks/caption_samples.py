"""Which samples captioning asks about: whole images, and boxes of a finding."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from harness.samples import Dataset, ImageText, PhraseBoxes
from harness.tasks.grounding_groups import grounding_groups
from harness.tasks.retrieval_groups import retrieval_groups


def reports_of(dataset: Dataset) -> list[ImageText]:
    """The images whose report is asked."""
    return [s for s in dataset.samples if isinstance(s, ImageText) and s.asked]


def boxed_of(dataset: Dataset) -> list[PhraseBoxes]:
    """The phrases whose boxes are to be described: those with a true box of a known finding."""
    phrases = (s for s in dataset.samples if isinstance(s, PhraseBoxes))
    return [s for s in phrases if len(s.boxes) and s.findings]


def caption_groups(
    reports: Sequence[ImageText], boxed: Sequence[PhraseBoxes]
) -> dict[str, Bool[np.ndarray, " n"]]:
    """Group name to mask over reports, then boxes.

    Reports are grouped as in retrieval, boxes as in grounding: ``all`` holds every report and the
    movable findings; what anatomy places is ``fixed``, never pooled with the rest (protocol §3).
    """
    n = len(reports) + len(boxed)
    groups = {"all": np.zeros(n, bool)}
    if reports:
        _add(groups, retrieval_groups(reports), slice(0, len(reports)), n)
    if boxed:
        _add(groups, grounding_groups(boxed), slice(len(reports), n), n)
    return groups


def _add(
    groups: dict[str, Bool[np.ndarray, " n"]],
    more: dict[str, Bool[np.ndarray, " m"]],
    place: slice,
    n: int,
) -> None:
    for name, mask in more.items():
        groups.setdefault(name, np.zeros(n, bool))[place] = mask
