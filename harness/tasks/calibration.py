"""Where a heat-map model's box threshold comes from, and that it stays with its cell."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.metrics.calibration import Threshold, choose_threshold
from harness.models import Grounding, GroundingModel
from harness.samples import Dataset, PhraseBoxes
from harness.tasks.grounding_groups import grounding_groups
from harness.tasks.task import Asking, OutcomeSink

if TYPE_CHECKING:
    import pandas as pd

KIND = "threshold"


def only_heatmaps(answers: Mapping[str, Grounding]) -> bool:
    """Whether the model draws maps and gives no boxes of its own."""
    mapped = [answer for answer in answers.values() if answer.heatmap is not None]
    return bool(mapped) and not any(len(answer.boxes) for answer in mapped)


def store_threshold(asking: Asking, model: GroundingModel) -> dict[str, float]:
    """Choose the threshold on the calibration split and keep it in the cell; counts for the record.

    It is searched over phrases of movable findings, which are never pooled with others (protocol,
    section 3). A threshold that the cell has is kept, whatever it was chosen on.

    Nothing is stored where there is no such split, or the model has no map of it (answers stored
    for the test split alone): box metrics are then not scored.
    """
    stored = read_threshold(asking.sink)
    if stored is not None:
        return _told(stored)
    dataset = asking.calibration()
    if dataset is None or dataset.name == asking.dataset.name == "manifest":
        return {}
    samples = _searched(dataset, int(asking.options["calibration_phrases"]))
    answers: list[Grounding] = []
    for first in range(0, len(samples), asking.batch_size):
        batch = samples[first : first + asking.batch_size]
        found = model.ground([asking.query(sample.image, sample.phrase) for sample in batch])
        answers += [as_stored(answer) for answer in found]
        asking.progress("choosing a threshold", len(answers), len(samples))
    if all(answer.heatmap is None for answer in answers):
        return {}
    chosen = choose_threshold(samples, answers, dataset=dataset.name, split=dataset.split)
    asking.sink.append(KIND, _frame(chosen))
    return _told(chosen)


def _told(chosen: Threshold) -> dict[str, float]:
    return {"threshold": chosen.value, "threshold_phrases": float(chosen.n)}


def as_stored(answer: Grounding) -> Grounding:
    """The answer with its map rounded to float16 as the store keeps it.

    A threshold chosen on finer numbers could lie between a value and its rounding.
    """
    if answer.heatmap is None:
        return answer
    return replace(answer, heatmap=answer.heatmap.astype(np.float16).astype(np.float32))


def _searched(dataset: Dataset, most: int) -> list[PhraseBoxes]:
    """The first boxed phrases of movable findings; all boxed ones where none is movable.

    They are those of the headline: a heart's large box would else choose for a nodule's.
    """
    boxed = [s for s in dataset.samples if isinstance(s, PhraseBoxes) and len(s.boxes)]
    movable = grounding_groups(boxed)["all"]
    return [s for s, kept in zip(boxed, movable, strict=True) if kept or not movable.any()][:most]


def _frame(chosen: Threshold) -> "pd.DataFrame":
    import pandas as pd

    row: dict[str, Any] = {"sample_id": "threshold", **vars(chosen)}
    return pd.DataFrame([row])


def read_threshold(sink: OutcomeSink) -> Threshold | None:
    """The threshold stored with the cell, None if there is none."""
    frame = sink.read(KIND)
    if frame.empty:
        return None
    row = frame.iloc[0]
    return Threshold(
        float(row["value"]),
        float(row["miou"]),
        str(row["dataset"]),
        str(row["split"]),
        int(row["n"]),
    )


def lost_to_crop(model: Any, samples: Sequence[PhraseBoxes]) -> dict[str, float]:
    """The share of true box area outside the model's field of view, and boxes wholly outside it.

    Empty for a model that declares no `geometry`: whatever it does not see is a miss all the same.
    """
    from harness.geometry import Geometry
    from harness.images import Image

    geometry = getattr(model, "geometry", None)
    if not isinstance(geometry, Geometry):
        return {}
    lost = [
        float(share)
        for sample in samples
        if len(sample.boxes)
        for share in geometry.frame(
            *Image(sample.image.image_id, sample.image.file).size()
        ).lost_fraction(sample.boxes)
    ]
    if not lost:
        return {}
    return {
        "truth_lost_to_crop": sum(lost) / len(lost),
        "boxes_outside_view": float(sum(share > 1 - 1e-6 for share in lost)),
    }
