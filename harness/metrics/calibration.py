"""Boxes from heat maps, with a threshold chosen on a validation split and never on a test split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from harness.boxes import Boxes, no_boxes
from harness.errors import BenchError
from harness.metrics.grounding import from_samples
from harness.metrics.overlap import union_iou
from harness.models import Grounding
from harness.samples import PhraseBoxes

KEEP = 3  # components per map: MS-CXR and PadChest-GR phrases seldom have more boxes
QUANTILES = np.linspace(0.5, 0.995, 34)  # of all seen pixels: the thresholds tried


@dataclass(frozen=True)
class Threshold:
    """A threshold and where it comes from; belongs in the record of every cell that uses it."""

    value: float
    miou: float  # reached where it was chosen
    dataset: str
    split: str
    n: int  # phrases it was chosen on


def boxes_from_heatmap(
    heatmap: Float[np.ndarray, "h w"], threshold: float, *, keep: int = KEEP
) -> Boxes:
    """Hulls of the `keep` largest connected parts of {value >= threshold}, largest first.

    Pixels touch at edges, not corners; unseen pixels (NaN) are in no part.

    >>> boxes_from_heatmap(np.array([[1.0, 1.0, 0.0, 1.0]]), 0.5).tolist()
    [[0.0, 0.0, 0.5, 1.0], [0.75, 0.0, 1.0, 1.0]]
    """
    from scipy import ndimage  # half a second, which only heat maps need pay

    height, width = heatmap.shape
    labels, count = ndimage.label(np.nan_to_num(heatmap, nan=-np.inf) >= threshold)
    if not count:
        return no_boxes()
    sizes = np.bincount(labels.ravel())[1:]
    largest = np.argsort(-sizes, kind="stable")[:keep]
    spans = ndimage.find_objects(labels)
    hulls = [
        (spans[k][1].start, spans[k][0].start, spans[k][1].stop, spans[k][0].stop) for k in largest
    ]
    return (np.array(hulls) / [width, height, width, height]).astype(np.float32)


def with_boxes(answers: Sequence[Grounding], threshold: Threshold) -> list[Grounding]:
    """Answers whose heat maps were turned into boxes; a map below the threshold says "none"."""
    found = []
    for answer in answers:
        if answer.heatmap is None or answer.status == "malformed":
            found.append(answer)
            continue
        boxes = boxes_from_heatmap(answer.heatmap, threshold.value)
        found.append(
            replace(answer, boxes=boxes, scores=None, status="ok" if len(boxes) else "empty")
        )
    return found


def choose_threshold(
    samples: Sequence[PhraseBoxes],
    answers: Sequence[Grounding],
    *,
    dataset: str,
    split: str,
) -> Threshold:
    """The threshold of the best mean union IoU on these boxed phrases; the lowest of equal ones.

    Raises:
        BenchError: the split is a test split, or holds no phrase with a box and a heat map.
    """
    if split not in ("train", "validation"):
        raise BenchError(
            f"{dataset} {split}: a threshold would be chosen on data that are tested on. It comes "
            "from the validation split of the data the model was trained on; without one the boxes "
            "of this model are not scored."
        )
    both = [(s, a) for s, a in zip(samples, answers, strict=True) if len(s.boxes)]
    both = [(s, a) for s, a in both if a.heatmap is not None]
    if not both:
        raise BenchError(f"{dataset} {split}: no phrase has both a true box and a heat map")
    pixels = np.concatenate([a.heatmap[np.isfinite(a.heatmap)] for _, a in both])  # type: ignore[index,arg-type]
    best = Threshold(np.nan, -1.0, dataset, split, len(both))
    for value in np.unique(np.quantile(pixels, QUANTILES)).tolist():
        reached = _miou(both, replace(best, value=value))
        if reached > best.miou:
            best = replace(best, value=value, miou=reached)
    return best


def _miou(both: Sequence[tuple[PhraseBoxes, Grounding]], threshold: Threshold) -> float:
    answers = with_boxes([answer for _, answer in both], threshold)
    outcomes = from_samples([sample for sample, _ in both], answers)
    return float(union_iou(outcomes.predicted, outcomes.truth).mean())
