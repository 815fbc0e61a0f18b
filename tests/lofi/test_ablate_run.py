"""`bench ablate` from arms to report on a small world, and what it does not train again."""

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file

from harness.ablation import FULL, arm_file, read_arms
from harness.errors import BenchError
from lofi.ablate_budget import Speed
from lofi.train import Run
from tests.lofi.ablate_world import Small, here, nothing, table


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    torch.set_num_threads(1)  # two threads add in another order than one
    with pytest.MonkeyPatch.context() as patch:
        small = Small(tmp_path_factory.mktemp("ablate"), patch)
        result = small.run()
        assert result.exit_code == 0, (result.output, result.exception)
        yield small


def test_each_arm_of_each_seed_leaves_a_record_of_its_difference_and_curves(done):
    records = read_arms(done.out)
    assert [(r.arm, r.seed) for r in records] == [
        (FULL, 0),
        (FULL, 1),
        ("without-sigmoid", 0),
        ("without-sigmoid", 1),
    ]
    for record in records:
        assert record.status == "ok"
        assert record.training.steps == 4
        assert record.training.peak_memory > 0
        assert [row["step"] for row in record.training.validation] == [1, 2, 3, 4]
    assert records[2].difference == {"losses.sigmoid": (1.0, 0.0)}
    assert records[2].losses == ["captioning", "grounding", "dense_captioning"]


def test_without_the_sigmoid_loss_retrieval_is_not_taught_and_grounding_has_a_difference(done):
    rows = table(done)
    retrieval = rows[rows["task"] == "retrieval"]
    assert set(retrieval["status"]) == {"not_taught"}
    assert retrieval["difference"].isna().all()
    assert retrieval["full"].notna().any()
    grounding = rows[(rows["task"] == "grounding") & (rows["group"] == "all")]
    assert set(grounding["measure"]) == {"arm", "representation"}
    miou = grounding[grounding["metric"] == "miou"]
    assert sorted(miou["share"]) == [25, 50, 100, 100]
    told = miou[miou["low"].notna()]
    assert (told["low"] <= told["difference"]).all()
    assert (told["difference"] <= told["high"]).all()
    assert set(miou[miou["low"].isna()]["note"]) <= {"no outcome differs"}
    assert miou["difference"].to_numpy() == pytest.approx(
        (miou["full"] - miou["without"]).to_numpy()
    )
    assert set(miou["seeds"]) == {2}


def test_the_differences_are_those_of_the_stored_outcomes(done):
    # Independent of the report's own path: IoU by hand from the parquet tables of all four arms.
    def miou(arm, seed):
        record = next(r for r in read_arms(done.out) if (r.arm, r.seed) == (arm, seed))
        cell = next(a for a in record.asked if a.task == "grounding" and a.share == 50)
        file = next((done.out / "cells").glob(f"*{cell.model}-{cell.key[:12]}/outcomes/boxes-*"))
        answers = pd.read_parquet(file).set_index("sample_id")["boxes"]
        lines = map(json.loads, (done.films / "phrases.jsonl").read_text().splitlines())
        truth = {line["image_id"]: line["boxes"] for line in lines}
        images = pd.read_parquet(file).set_index("sample_id")["image_id"]
        return np.mean([painted(answers[i], truth[images[i]]) for i in answers.index])

    apart = [miou(FULL, seed) - miou("without-sigmoid", seed) for seed in (0, 1)]
    rows = table(done).query("task == 'grounding' and metric == 'miou' and share == 50")
    assert rows[rows["group"] == "all"]["difference"].item() == pytest.approx(
        np.mean(apart), abs=2e-3
    )


def painted(one, other) -> float:
    """IoU of two sets of boxes on a grid of 512 x 512 pixels."""
    grids = []
    for boxes in (one, other):
        grid = np.zeros((512, 512), bool)
        for x1, y1, x2, y2 in np.reshape(np.asarray(boxes, float), (-1, 4)) * 512:
            grid[round(y1) : round(y2), round(x1) : round(x2)] = True
        grids.append(grid)
    union = (grids[0] | grids[1]).sum()
    return (grids[0] & grids[1]).sum() / union if union else 0.0


def test_the_representation_measure_is_of_the_encoder_of_the_arm(done):
    def encoder(arm, *inner):
        folder = done.out.joinpath("training", arm, *inner, "model")
        values = load_file(folder / "model.safetensors")
        return {k: v for k, v in values.items() if k.startswith("towers.vision_model.")}

    arms = [path.name for path in sorted((done.out / "training").iterdir())]
    assert len(arms) == 4
    own = [encoder(arm) for arm in arms]
    for arm, trained in zip(arms, own, strict=True):
        frozen = encoder(arm, "representation")
        assert frozen.keys() == trained.keys()
        assert all(torch.equal(value, trained[name]) for name, value in frozen.items())
    for one, other in itertools.combinations(own, 2):
        assert not all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_report_has_tables_figures_and_says_under_trained(done):
    text = (done.out / "ablation.md").read_text()
    assert "under-trained: direction only" in text
    assert "not taught" in text
    assert (done.out / "ablation.tex").read_text().startswith(r"\begin{table}")
    for name in ("forest", "curves"):
        with PIL.Image.open(done.out / "figures" / f"{name}.png") as picture:
            assert picture.size[0] > 300
    for line in text.splitlines():
        if line.startswith("!["):
            assert (done.out / line.rpartition("(")[2].rstrip(")")).is_file()


def test_a_finished_arm_is_known_without_its_weights_and_not_trained_again(done, tmp_path):
    small = done.copied(tmp_path)
    shutil.rmtree(small.out / "training")
    before = (small.out / "ablation.csv").read_text()
    assert small.run(spread=nothing).exit_code == 0
    assert (small.out / "ablation.csv").read_text() == before


def test_what_is_to_be_committed_is_told_apart_from_weights(done):
    ignored = (done.out / ".gitignore").read_text().split()
    assert "training/" in ignored
    assert not any(name.startswith(("arms", "cells", "ablation")) for name in ignored)


def test_an_arm_whose_outcomes_are_gone_is_measured_again_to_the_same_numbers(done, tmp_path):
    small = done.copied(tmp_path)
    before = (small.out / "ablation.csv").read_text()
    shutil.rmtree(next((small.out / "cells").glob("grounding*full-seed1-50*")))
    shutil.rmtree(small.out / "training")
    trained = []

    def counted(executor, function, orders, heard):
        trained.extend(order.arguments[0].arm.title for order in orders)
        return here(executor, function, orders, heard)

    assert small.run(spread=counted).exit_code == 0
    assert trained == ["full seed 1"]
    assert (small.out / "ablation.csv").read_text() == before


def test_more_seeds_are_added_to_what_is_finished(done, tmp_path):
    small = done.copied(tmp_path)
    trained = []

    def none(_executor, _function, orders, _heard):
        trained.extend(order.arguments[0].arm.title for order in orders)
        return iter(())

    small.run("--seeds", "0-2", spread=none)
    assert trained == ["full seed 2", "without-sigmoid seed 2"]


def test_other_steps_in_the_same_folder_are_refused_with_the_difference(done):
    result = done.run("--steps", "6", spread=nothing)
    assert isinstance(result.exception, BenchError)
    assert "settings.training.steps 4 and 6" in str(result.exception)


def test_another_arm_of_the_same_name_is_refused(done, tmp_path):
    small = done.copied(tmp_path)
    changes = [{"name": "without-sigmoid", "set": {"chunk": 1}}]
    result = small.run(spread=nothing, losses=[], changes=changes)
    assert isinstance(result.exception, BenchError)
    assert "losses.sigmoid=0.0, now in chunk=1" in str(result.exception)


def test_an_arm_of_other_data_is_a_failure_row_and_is_not_trained_again(done, tmp_path):
    small = done.copied(tmp_path)
    for seed in (0, 1):
        file = arm_file(small.out, "without-sigmoid", seed)
        record = json.loads(file.read_text())
        record["training"]["data"]["source"]["fingerprint"] = "other"
        file.write_text(json.dumps(record))
    for options in ((), ("--report-only",)):
        result = small.run(*options, spread=nothing)
        assert result.exit_code == 1, result.exception
        assert isinstance(result.exception, SystemExit)
        rows = table(small)
        assert set(rows["arm"]) == {"without-sigmoid"}
        assert set(rows["status"]) == {"failed"}
        assert rows["note"].str.contains("source.fingerprint").all()
        assert "without-sigmoid-seed0.json" in (small.out / "ablation.md").read_text()


def test_a_killed_arm_goes_on_to_the_weights_of_one_that_was_not(done, tmp_path, monkeypatch):
    small = Small(tmp_path, monkeypatch)
    original, calls = Run._step, []

    def killed(run):
        calls.append(1)
        if len(calls) == 4:  # after the weights at 25 and 50 % were kept
            raise RuntimeError("killed")
        return original(run)

    monkeypatch.setattr(Run, "_step", killed)
    options = ("-o", "training.checkpoint_minutes=0", "--representation-steps", "0", "--seeds", "0")
    assert "killed" in str(small.run(*options, losses=["captioning"]).exception)
    assert read_arms(small.out) == []
    small.run(*options, losses=["captioning"])
    record = read_arms(small.out)[0]
    assert record.training.sessions == 2
    assert hashes(small) == {k: v for k, v in hashes(done).items() if k in hashes(small)}
    assert len(hashes(small)) == 6  # two tasks at three shares


def hashes(small: Small) -> dict[tuple[str, str], str]:
    """The hash of the weights behind each cell of the full arm of seed 0."""
    found = {}
    for file in (small.out / "cells").glob("*-full-seed0-*/record.json"):
        record = json.loads(file.read_text())
        found[record["model"]["name"], record["task"]] = record["model"]["weights"]
    return found


def test_the_steps_of_a_budget_are_measured_once_and_kept(tmp_path, monkeypatch):
    small = Small(tmp_path, monkeypatch)
    speeds = [Speed(per_step=1.0, start=0.0)]
    monkeypatch.setattr("lofi.ablate_budget.measure", lambda *_, **__: speeds.pop())
    for _ in range(2):
        small.run("--budget", "80s", spread=lambda *_: iter(()), steps=None)
        plan = json.loads((small.out / "ablation.json").read_text())
        # 80 s for two arms of two seeds, half of each arm's 20 s for training.
        assert (plan["budget"], plan["steps"]) == ("80s", 10)


def test_a_report_alone_times_nothing_for_a_budget(done, tmp_path, monkeypatch):
    small = done.copied(tmp_path)
    monkeypatch.setattr("lofi.ablate_budget.measure", lambda *_, **__: pytest.fail("timed"))
    options = ("--report-only", "--budget", "20m")
    result = small.run(*options, spread=nothing, steps=None)
    assert isinstance(result.exception, BenchError), result.exception
    assert "--budget 20m: found arms of no budget" in str(result.exception)
    assert "--steps 4" in str(result.exception)
    plan = json.loads((small.out / "ablation.json").read_text())
    (small.out / "ablation.json").write_text(json.dumps({**plan, "budget": "20m"}))
    assert small.run(*options, spread=nothing, steps=None).exit_code == 0
