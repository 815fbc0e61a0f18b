"""A model that only draws heat maps gets boxes by a threshold from elsewhere, or none at all."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PilImage

from harness.boxes import boxes_from_unit
from harness.geometry import read_geometry
from harness.models import Grounding, ModelCard, Query
from harness.samples import Dataset, ImageRef, PhraseBoxes
from harness.store import Store
from harness.tasks.calibration import lost_to_crop
from harness.tasks.grounding import TASK
from harness.tasks.task import Asking


class Blob:
    """A map that is 0.8 in the upper left quarter and 0.1 elsewhere."""

    card = ModelCard("blob", "test", weights="blob")

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        heatmap = np.full((8, 8), 0.1, np.float32)
        heatmap[:4, :4] = 0.8
        return [Grounding(heatmap=heatmap) for _ in queries]


def dataset(folder: Path, name: str, split: str, box: list[float]) -> Dataset:
    file = folder / "film.png"
    PilImage.fromarray(np.full((40, 80), 90, np.uint8)).save(file)
    samples = tuple(
        PhraseBoxes(
            f"{name}-{n}",
            ImageRef(f"i{n}", file, f"p{n}", f"s{n}", "PA"),
            "left effusion",
            boxes_from_unit([box]),
            finding="effusion",
        )
        for n in range(3)
    )
    return Dataset(name, "grounding", split, "frontal", "1", samples, n_total=3)


def asking(folder: Path, calibration: Dataset | None) -> Asking:
    target = dataset(folder, "padchest-gr", "test", [0, 0, 0.5, 0.5])
    cell = Store(folder / "runs").cell("grounding", "padchest-gr", "test", "blob", "0" * 64)
    return Asking(
        Blob(),
        Blob.card,
        target,
        cell,
        options=TASK.defaults,
        calibration=lambda: calibration,
    )


def miou(asked: Asking) -> float | None:
    scored = TASK.score(asked.dataset, asked.sink, asked.options, ())
    found = [s.value for s in scored.scores if s.metric == "miou" and s.group == "all"]
    return found[0] if found else None


def test_the_threshold_is_chosen_elsewhere_and_kept_with_the_cell(tmp_path: Path) -> None:
    source = dataset(tmp_path, "ms-cxr", "validation", [0, 0, 0.5, 0.5])
    asked = asking(tmp_path, source)
    counts = TASK.ask(asked)
    assert 0.1 < counts["threshold"] < 0.801
    assert miou(asked) == pytest.approx(1)  # the blob is the box
    row = asked.sink.read("threshold").iloc[0]
    assert (row["dataset"], row["split"]) == ("ms-cxr", "validation")
    # Taken up again after it was killed while scoring, the record tells the same threshold.
    again = replace(asked, calibration=lambda: pytest.fail("chosen twice"))
    assert TASK.ask(again) == counts


def test_findings_placed_by_anatomy_do_not_choose_the_threshold_of_movable_ones(tmp_path) -> None:
    """Pooled, the many hearts that fill the film would choose "everything"."""
    few = dataset(tmp_path, "ms-cxr", "validation", [0, 0, 0.5, 0.5])
    hearts = [
        replace(
            s, sample_id=f"{s.sample_id}-{n}", boxes=boxes_from_unit([[0, 0, 1, 1]]), fixed=True
        )
        for s in few.samples
        for n in range(3)
    ]
    asked = asking(tmp_path, replace(few, samples=(*hearts, *few.samples)))
    counts = TASK.ask(replace(asked, options={**asked.options, "calibration_phrases": 3}))
    assert counts["threshold"] > 0.1
    assert counts["threshold_phrases"] == 3
    assert miou(asked) == pytest.approx(1)


def test_a_split_of_fixed_findings_alone_still_gives_a_threshold(tmp_path: Path) -> None:
    source = dataset(tmp_path, "ms-cxr", "validation", [0, 0, 0.5, 0.5])
    fixed = tuple(replace(sample, fixed=True) for sample in source.samples)
    assert TASK.ask(asking(tmp_path, replace(source, samples=fixed)))["threshold_phrases"] == 3


def test_without_a_validation_split_boxes_are_not_scored_and_maps_are(tmp_path: Path) -> None:
    asked = asking(tmp_path, None)
    TASK.ask(asked)
    assert miou(asked) is None
    scored = TASK.score(asked.dataset, asked.sink, asked.options, ())
    assert "pointing" in {s.metric for s in scored.scores}
    assert "miou" in scored.not_scored


def test_without_maps_of_the_validation_split_boxes_are_not_scored(tmp_path: Path) -> None:
    """As of answers that were stored for the test split alone."""

    class Stored(Blob):
        answers = 3  # of the target's three films

        def ground(self, queries: Sequence[Query]) -> list[Grounding]:
            found = super().ground(queries)
            self.answers -= len(queries)
            return found if self.answers >= 0 else [Grounding(status="malformed")] * len(queries)

    source = dataset(tmp_path, "ms-cxr", "validation", [0, 0, 0.5, 0.5])
    asked = replace(asking(tmp_path, source), model=Stored())
    assert "threshold" not in TASK.ask(asked)
    assert miou(asked) is None


def test_a_threshold_from_a_test_split_fails_the_cell(tmp_path: Path) -> None:
    from harness.errors import BenchError

    asked = asking(tmp_path, dataset(tmp_path, "ms-cxr", "test", [0, 0, 0.5, 0.5]))
    with pytest.raises(BenchError, match="tested on"):
        TASK.ask(asked)


def test_scores_are_the_same_to_the_bit_from_the_stored_outcomes(tmp_path: Path) -> None:
    asked = asking(tmp_path, dataset(tmp_path, "ms-cxr", "validation", [0, 0, 0.5, 0.5]))
    TASK.ask(asked)
    once = TASK.score(asked.dataset, asked.sink, asked.options, ()).scores
    assert TASK.score(asked.dataset, asked.sink, asked.options, ()).scores == once
    pd.testing.assert_frame_equal(asked.sink.read("boxes"), asked.sink.read("boxes"))


def test_truth_outside_a_centre_crop_is_reported(tmp_path: Path) -> None:
    class Cropped:
        geometry = read_geometry("shortest 20, crop 20")

    # of an 80 x 40 film the centre 40 x 40 is seen: x from 0.25 to 0.75
    outside = dataset(tmp_path, "ms-cxr", "test", [0, 0, 0.2, 1]).samples
    half = dataset(tmp_path, "ms-cxr", "test", [0, 0, 0.5, 1]).samples
    counts = lost_to_crop(Cropped(), [*outside, *half])  # type: ignore[list-item]
    assert counts["boxes_outside_view"] == 3
    assert counts["truth_lost_to_crop"] == pytest.approx((1 + 0.5) / 2)
    assert lost_to_crop(object(), half) == {}  # type: ignore[arg-type]
