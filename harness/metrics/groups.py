"""Sub-groups of samples: view, sex, age band, finding, box area, visibility, label."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from harness.metrics.overlap import union_iou
from harness.metrics.ragged import ragged
from harness.samples import ImageText, PhraseBoxes, Sample

AGE_BANDS = ((0, "<40"), (40, "40-59"), (60, "60-79"), (80, "80+"))
AREA_TERCILES = ("small", "medium", "large")
VISIBILITY_TERCILES = ("low", "middle", "high")

Masks = dict[str, Bool[np.ndarray, " n"]]


def age_band(age: float | None) -> str:
    """The band of an age in years; "" if it is unknown.

    >>> age_band(39.9), age_band(40), age_band(None)
    ('<40', '40-59', '')
    """
    if age is None or not np.isfinite(age):
        return ""
    return [name for least, name in AGE_BANDS if age >= least or least == 0][-1]


def _masks(key: str, values: Sequence[str]) -> Masks:
    column = np.array(values, dtype=str)
    return {f"{key}={value}": column == value for value in sorted(set(values) - {""})}


def terciles(values: Float[np.ndarray, " n"], names: Sequence[str]) -> list[str]:
    """Which third of the finite values each one falls into; "" where it is NaN or all are equal.

    >>> terciles(np.array([1.0, 2.0, 3.0, np.nan]), ("low", "middle", "high"))
    ['low', 'middle', 'high', '']
    """
    known = np.isfinite(values)
    if not known.any() or np.ptp(values[known]) == 0:
        return [""] * len(values)
    edges = np.quantile(values[known], [1 / 3, 2 / 3])
    third = np.searchsorted(edges, values, side="left")
    return [names[t] if k else "" for t, k in zip(third.tolist(), known.tolist(), strict=True)]


def painted_areas(samples: Sequence[PhraseBoxes]) -> Float[np.ndarray, " n"]:
    """The share of the image the true boxes cover; NaN for a phrase without one."""
    truth = ragged([np.asarray(s.boxes).reshape(-1, 4) for s in samples])
    whole = ragged([np.array([[0.0, 0.0, 1.0, 1.0]])] * len(samples))
    return np.where(truth.counts > 0, union_iou(truth, whole), np.nan)


def _phrase_masks(samples: Sequence[PhraseBoxes]) -> Masks:
    visibility = [np.nan if s.visibility is None else s.visibility for s in samples]
    seen = terciles(np.array(visibility, np.float64), VISIBILITY_TERCILES)
    return {
        **_masks("finding", [s.finding for s in samples]),
        **_masks("area", terciles(painted_areas(samples), AREA_TERCILES)),
        **_masks("visibility", seen),
    }


def _label_masks(samples: Sequence[ImageText]) -> Masks:
    labels = sorted({label for s in samples for label in s.labels})
    return {f"label={name}": np.array([name in s.labels for s in samples]) for name in labels}


def _named_masks(groups: Sequence[Mapping[str, str]]) -> Masks:
    masks: Masks = {}
    for key in sorted({key for group in groups for key in group}):
        masks |= _masks(key, [group.get(key, "") for group in groups])
    return masks


def sample_groups(samples: Sequence[Sample]) -> Masks:
    """Group label such as ``view=PA`` to the mask of its samples, in the order of the samples.

    View, sex and age band of the image; what the loader put into `groups`; for phrases finding,
    tercile of the painted area and of the visibility; for texts each label. Terciles are cut over
    the samples given. A sample whose value is unknown is in no group of that kind. Groups of fewer
    than 20 patients come out without interval and are not ranked (`bootstrap.MIN_PATIENTS`).
    """
    phrases = [s for s in samples if isinstance(s, PhraseBoxes)]
    texts = [s for s in samples if isinstance(s, ImageText)]
    masks = {
        **_masks("view", [s.image.view for s in samples]),
        **_masks("sex", [s.image.sex for s in samples]),
        **_masks("age", [age_band(s.image.age) for s in samples]),
        **_named_masks([getattr(s, "groups", {}) for s in samples]),
    }
    if len(phrases) == len(samples):
        masks |= _phrase_masks(phrases)
    if len(texts) == len(samples):
        masks |= _label_masks(texts)
    return masks
