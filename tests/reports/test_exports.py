import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from harness.commands.export import command
from reports.exports import export
from reports.runs import dataset_source, read_runs

SECRET = "zebrafinch"


@pytest.fixture
def written(toy_runs, toy_data, tmp_path):
    def write(kind, runs=toy_runs, **options):
        source = dataset_source({"manifest": toy_data})
        files = export(read_runs([runs]), kind, tmp_path, source, **options)
        return {path.name: path for path in files}

    return write


def test_model_cards_get_an_index_of_key_metrics_at_full_precision(written, toy_runs):
    files = written("hf")
    assert set(files) == {f"{n}.model-index.yaml" for n in ("sharp", "blunt", "blunter", "leaky")}
    found = yaml.safe_load(files["blunt.model-index.yaml"].read_text())["model-index"][0]
    assert found["name"] == "blunt"
    (grounding,) = [r for r in found["results"] if r["task"]["name"] == "grounding"]
    values = {metric["type"]: metric["value"] for metric in grounding["metrics"]}
    record = next(
        r
        for r in read_runs([toy_runs]).records
        if r.model.name == "blunt" and r.task == "grounding"
    )
    assert values["miou"] == next(s.value for s in record.scores if s.metric == "miou")
    assert not any(metric["verified"] for metric in grounding["metrics"])


def test_a_phantom_is_named_in_the_model_card(record):
    from reports.exports import model_index

    assert "phantom twin of mimic-cxr" in model_index([record(data={"phantom": True})])


def test_both_readings_of_long_texts_are_told_apart_in_the_model_card(record):
    from reports.exports import model_index

    both = yaml.safe_load(model_index([record(), record(text_policy="chunk-mean")]))
    names = [result["dataset"]["name"] for result in both["model-index"][0]["results"]]
    assert len(set(names)) == 2
    assert names[1].endswith(", text chunk-mean)")


def test_no_coco_file_is_written_over_by_another_cells(record):
    from reports.exports import _stems

    def cell(key, model="m", **data):
        given = {"name": "ms-cxr", "split": "test", "cohort": "frontal", "fingerprint": "a" * 64}
        return record(model, key=key * 64, task="grounding", data={**given, **data})

    lone = _stems([cell("1"), cell("2", "other"), cell("3", cohort="made-up")])
    assert list(lone.values()) == [
        ("ms-cxr-test-m", "ms-cxr-test"),
        ("ms-cxr-test-other", "ms-cxr-test"),
        ("ms-cxr-test-made-up-m", "ms-cxr-test-made-up"),
    ]
    limited = _stems([cell("1"), cell("2", fingerprint="b" * 64)])
    assert list(limited.values()) == [
        ("ms-cxr-test-m-11111111", "ms-cxr-test-aaaaaaaa"),
        ("ms-cxr-test-m-22222222", "ms-cxr-test-bbbbbbbb"),
    ]


def test_the_coco_files_give_a_perfect_model_an_ap_of_one(written):
    import contextlib

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    files = written("coco")
    values = {}
    for name in ("sharp", "blunt"):
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(files["manifest-all.coco-truth.json"])
            results = truth.loadRes(str(files[f"manifest-all-{name}.coco-results.json"]))
            judge = COCOeval(truth, results, "bbox")
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
        values[name] = judge.stats[1]  # AP at IoU 0.5
    assert values["sharp"] == pytest.approx(1.0)
    assert values["blunt"] < 0.7


def test_coco_boxes_are_pixels_of_the_original_film(written):
    files = written("coco")
    (first, *_) = json.loads(files["manifest-all-sharp.coco-results.json"].read_text())
    assert first == {"image_id": 1, "category_id": 1, "bbox": [0.0, 0.0, 24.0, 24.0], "score": 1.0}


def test_one_parquet_holds_every_outcome_once(written, toy_runs):
    frame = pd.read_parquet(written("parquet")["outcomes.parquet"])
    counts = frame.groupby(["task", "model"]).size()
    assert (counts["grounding"] == 48).all()
    assert (counts["retrieval"] == 96).all()  # both directions
    assert not frame.duplicated(["key", "sample_id", "direction"]).any()
    ranks = frame[(frame.model == "sharp") & (frame.direction == "image_to_text")]
    assert set(ranks["rank/same_text"]) == {3}
    boxes = frame[(frame.model == "sharp") & (frame.task == "grounding")].iloc[0]["boxes"]
    assert np.asarray(boxes).tolist() == [0.0, 0.0, 0.25, 0.25]
    assert len(read_runs([toy_runs]).records) == 16


def test_exports_of_restricted_data_hold_no_text_and_no_true_boxes(written, own_runs):
    for path in own_runs.glob("cells/*/record.json"):
        path.write_text(path.read_text().replace('"restricted": false', '"restricted": true'))
    for kind in ("hf", "coco", "parquet"):
        for name, path in written(kind, runs=own_runs).items():
            assert "truth" not in name
            assert SECRET not in path.read_bytes().decode("latin-1").lower()
    assert "manifest-all.coco-truth.json" in written("coco", runs=own_runs, private=True)


def test_the_command_says_what_it_wrote(toy_runs, tmp_path):
    done = CliRunner().invoke(command, [str(toy_runs), "--out", str(tmp_path)])
    assert done.exit_code == 0
    assert "outcomes.parquet" in done.output
    assert (tmp_path / "sharp.model-index.yaml").is_file()


def test_runs_of_controls_alone_say_that_there_is_no_model_card(own_runs, tmp_path):
    for cell in own_runs.glob("cells/*"):
        if "-chance-" not in cell.name:
            shutil.rmtree(cell)
    done = CliRunner().invoke(command, [str(own_runs), "--format", "hf", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "hf: nothing written, since these runs hold controls only" in done.output
