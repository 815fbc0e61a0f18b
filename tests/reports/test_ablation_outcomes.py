"""The report of an ablation from stored outcomes of models whose mistakes are known."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PilImage

from harness.ablation import ArmRecord, ArmTraining, AskedCell
from harness.errors import BenchError
from reports.ablation import write_ablation
from reports.drawing import PREDICTED_COLOR, TRUE_COLOR
from reports.runs import dataset_source, read_runs

# `sharp` is always right. On 48 films, three of each of 16 places, `blunt` is wrong on places 0, 3,
# 6, 9, 12 and 15, `blunter` on the eight even ones.
ARMS = {("full", 0): "sharp", ("full", 1): "sharp"}
OTHER = {("without-x", 0): "blunt", ("without-x", 1): "blunter"}


def training() -> ArmTraining:
    return ArmTraining(
        steps=10,
        samples=40,
        parameters=10,
        data={"source": {"fingerprint": "a"}},
        curve=[],
        validation=[],
        seconds=1.0,
        step_seconds=1.0,
        peak_memory=10**9,
    )


FLAT = [{"step": step, "image_to_text/recall@10": 0.5} for step in (5, 10)]


def arms_of(runs, models) -> list[ArmRecord]:
    out = []
    for (name, seed), model in models.items():
        asked = [
            AskedCell(
                share=100,
                measure="arm",
                model=model,
                task=r.task,
                dataset=r.dataset.name,
                split=r.dataset.split,
                cohort=r.dataset.cohort,
                text_policy=r.text_policy,
                status=r.status,
                reason=r.reason,
                key=r.key,
            )
            for r in runs.records
            if r.model.name == model
        ]
        record = ArmRecord(
            arm=name,
            seed=seed,
            parent="" if name == "full" else "full",
            shared={},
            losses=["sigmoid"],
            status="ok",
            training=training(),
            asked=asked,
        )
        out.append(record)
    return out


@pytest.fixture
def written(own_runs, toy_data):
    runs = read_runs([own_runs])
    source = dataset_source({"manifest": toy_data})
    found = write_ablation(own_runs, arms_of(runs, {**ARMS, **OTHER}), source)
    return own_runs, found


def test_every_p_value_takes_the_draws_that_its_family_needs(own_runs, toy_data, monkeypatch):
    monkeypatch.setattr("reports.ablation_pairs.PERMUTATIONS", 20)
    taken = []

    def count(*given):
        taken.append(given[-1])
        return 1.0

    monkeypatch.setattr("reports.ablation_pairs.checkpoints_p", count)
    models = {**ARMS, **OTHER, ("without-y", 0): "blunter"}
    source = dataset_source({"manifest": toy_data})
    write_ablation(own_runs, arms_of(read_runs([own_runs]), models), source)
    assert set(taken) == {2 * 100}


def test_differences_are_those_of_the_mistakes_that_were_built_in(written):
    folder, _ = written
    rows = pd.read_csv(folder / "ablation.csv").query("group == 'all'").set_index("metric")
    miou = rows.loc["miou"]
    assert miou["full"] == 1
    assert miou["without"] == pytest.approx((10 / 16 + 8 / 16) / 2)
    assert miou["difference"] == pytest.approx((6 / 16 + 8 / 16) / 2)
    assert miou["seeds"] == 2
    assert miou["patients"] == 48
    assert miou["low"] < miou["difference"] < miou["high"]
    # One right text among the three of a place ties with two others: at K = 1 nobody is right.
    recall = rows.loc["recall@10"].set_index("direction")
    assert recall.loc["image_to_text", "full"] == 1
    assert recall.loc["image_to_text", "difference"] == pytest.approx((6 / 16 + 8 / 16) / 2)


def test_sub_groups_have_their_own_differences(written):
    folder, _ = written
    rows = pd.read_csv(folder / "ablation.csv").query("metric == 'miou'").set_index("group")
    # PA films are the even places: `blunt` errs on 0, 6 and 12 of eight, `blunter` on all eight.
    assert rows.loc["view=PA", "difference"] == pytest.approx((3 / 8 + 1) / 2)
    assert rows.loc["view=AP", "difference"] == pytest.approx((3 / 8 + 0) / 2)
    assert rows.loc["view=PA", "patients"] == 24


def test_phrases_won_are_drawn_with_the_boxes_of_both_arms(written):
    folder, found = written
    text = (folder / "ablation.md").read_text()
    pictures = sorted(folder.glob("figures/*-won-*.png"))
    assert len(pictures) == 3
    assert not list(folder.glob("figures/*-lost-*.png"))  # the full arm never errs
    assert all(f"figures/{file.name}" in text for file in pictures)
    assert "IoU of full minus without-x +1.00, mean over 2 seeds; boxes of seed 0" in text.replace(
        "\\", ""
    )
    pixels = np.asarray(PilImage.open(pictures[0]).convert("RGB")).astype(int)
    half = pixels.shape[1] // 2
    for side in (pixels[:, :half], pixels[:, half:]):
        for color in (TRUE_COLOR, PREDICTED_COLOR):
            assert (np.abs(side - color).sum(axis=2) < 30).sum() > 40
    assert found.arms == ["without-x"]


def test_a_full_arm_that_failed_leaves_no_pair_of_its_seed(own_runs, toy_data):
    runs = read_runs([own_runs])
    records = arms_of(runs, {**ARMS, **OTHER})
    lost = records[1].model_copy(update={"status": "failed", "training": None, "asked": []})
    found = write_ablation(
        own_runs, [records[0], lost, *records[2:]], dataset_source({"manifest": toy_data})
    )
    miou = next(w for w in found.worths if w.question.metric == "miou" and w.group == "all")
    assert (miou.seeds, miou.note) == (1, "one seed: no interval")
    assert miou.difference == pytest.approx(6 / 16)


@pytest.mark.parametrize(
    ("rising", "said"), [({"full"}, True), ({"without-x"}, True), (set(), False)]
)
def test_verdicts_of_a_pair_carry_that_one_of_its_curves_is_not_flat(
    own_runs, toy_data, rising, said
):
    records = arms_of(read_runs([own_runs]), {**ARMS, **OTHER})
    for record in records:
        if record.arm not in rising:
            record.training.validation.extend(FLAT)
    write_ablation(own_runs, records, dataset_source({"manifest": toy_data}))
    rows = pd.read_csv(own_runs / "ablation.csv")
    verdicts = rows["verdict"][rows["difference"].notna()]
    assert len(verdicts) > 20
    assert set(verdicts.str.startswith("under-trained: direction only (")) == {said}
    tables = (own_runs / "ablation.md").read_text().split("\n## ")
    over = {one.splitlines()[0]: "*under-trained: direction only*\n\n|" in one for one in tables}
    assert over["Overview"] is over["Sub-groups"] is said


def test_the_table_holds_the_key_metrics_of_one_relevance(written):
    folder, _ = written
    rows = pd.read_csv(folder / "ablation.csv")
    recall = rows[rows["task"] == "retrieval"]
    assert set(recall["metric"]) == {"recall@1", "recall@5", "recall@10", "median_rank"}
    assert set(recall["relevance"]) == {"same_study"}
    assert {"all", "view=PA"} <= set(recall["group"])


def test_outcomes_that_are_gone_are_named(own_runs, toy_data):
    records = arms_of(read_runs([own_runs]), {**ARMS, **OTHER})
    for folder in (own_runs / "cells").glob("grounding-*-blunt-*"):
        for file in folder.glob("record.json"):
            file.unlink()
    with pytest.raises(BenchError, match="outcomes of blunt are gone"):
        write_ablation(own_runs, records, dataset_source({"manifest": toy_data}))
