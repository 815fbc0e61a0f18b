"""What was scored is what is shown: a heat map's boxes, at its cell's threshold."""

import json

import numpy as np
import pandas as pd
import pytest

from harness.store import Cell
from harness.tasks.calibration import KIND
from reports import samples
from reports.exports import coco_files
from reports.runs import dataset_source, read_runs
from reports.tables import sections
from reports.viewer_data import Gallery, sample_detail

HEAT = np.float16([[0.9, 0.1], [0.2, 0.3]])
BOX = [[0.0, 0.0, 0.5, 0.5]]  # where HEAT is 0.5 or more


@pytest.fixture
def mapped(toy_runs, monkeypatch):
    """The toy runs as if all grounding models had given HEAT, with a threshold of 0.5."""
    stored = Cell.read
    threshold = {"sample_id": "threshold", "value": 0.5, "miou": 0.1}

    def read(self, kind):
        if kind == KIND:
            return pd.DataFrame([{**threshold, "dataset": "d", "split": "validation", "n": 9}])
        frame = stored(self, kind)
        if kind != "boxes":
            return frame
        maps = {"heatmap": HEAT.tobytes(), "heatmap_h": 2, "heatmap_w": 2}
        empty = [np.zeros(0, np.float32)] * len(frame)
        return frame.assign(**maps, boxes=empty, scores=None, status="ok")

    monkeypatch.setattr(Cell, "read", read)
    return read_runs([toy_runs])


@pytest.fixture
def source(toy_data):
    return dataset_source({"manifest": toy_data})


def test_pictures_show_the_boxes_and_the_map_they_come_from(mapped, source, monkeypatch):
    drawn = []
    draw = samples.draw_sample
    monkeypatch.setattr(samples, "draw_sample", lambda *a, **k: drawn.append(k) or draw(*a, **k))
    (grounding,) = [s for s in sections(mapped.records) if s.key.task == "grounding"]
    assert samples.sample_pictures(grounding, mapped, source)
    assert all(one["predicted"].tolist() == BOX for one in drawn)
    assert all(np.array_equal(one["heatmap"], HEAT) for one in drawn)


def test_pictures_are_those_of_the_best_model(toy_runs, source):
    runs = read_runs([toy_runs])
    (grounding,) = [s for s in sections(runs.records) if s.key.task == "grounding"]
    found = samples.sample_pictures(grounding, runs, source)
    assert {one.caption.split(" ")[0] for one in found} == {"sharp"}


def test_exported_results_hold_the_boxes_of_a_map(mapped, source):
    record = next(r for r in mapped.records if r.model.name == "sharp" and r.task == "grounding")
    files = coco_files(record, source(record)[0], mapped)
    results = json.loads(files["manifest-all-sharp.coco-results.json"])
    assert {tuple(one["bbox"]) for one in results} == {(0.0, 0.0, 48.0, 48.0)}


def test_the_viewer_shows_the_boxes_of_a_map(mapped, source):
    gallery = Gallery(mapped, source)
    table = next(n for n, s in enumerate(gallery.tables) if s.key.task == "grounding")
    record = next(r for r in gallery.tables[table].records if r.model.name == "sharp")
    (answer,) = sample_detail(gallery, table, [record.key], ("i03#1", ""))["answers"]
    assert answer["boxes"] == BOX
    assert answer["heatmap"] is True
