"""What failed is in no difference and in every table: a cell, an arm of a seed, an arm of all."""

import pandas as pd
import pytest

from reports.ablation import print_ablation, write_ablation
from reports.runs import dataset_source, read_runs
from tests.reports.test_ablation_outcomes import ARMS, OTHER, arms_of

LOST = {"status": "failed", "reason": "loss is not finite", "training": None, "asked": []}


@pytest.fixture
def report(own_runs, toy_data):
    """The function that writes the report of changed records and reads its table."""
    records = arms_of(read_runs([own_runs]), {**ARMS, **OTHER})

    def write(change):
        changed = [change(one) for one in records]
        found = write_ablation(own_runs, changed, dataset_source({"manifest": toy_data}))
        text = (own_runs / "ablation.md").read_text().replace("\\", "")
        return found, pd.read_csv(own_runs / "ablation.csv"), text

    return write


def failing(record, arm, seed, task="grounding"):
    """The record, its cells of one task failed if it is that arm's of that seed."""
    if (record.arm, record.seed) != (arm, seed):
        return record
    lost = {"status": "out_of_memory", "reason": "9 GB wanted"}
    asked = [c.model_copy(update=lost) if c.task == task else c for c in record.asked]
    return record.model_copy(update={"asked": asked, "status": "failed", "reason": "see cells"})


@pytest.mark.parametrize("arm", ["full", "without-x"])
def test_a_failed_cell_of_one_seed_leaves_the_difference_of_the_other_and_a_row(report, arm):
    found, rows, text = report(lambda record: failing(record, arm, 1))
    miou = rows[(rows["metric"] == "miou") & (rows["group"] == "all")]
    good, bad = (miou[miou["status"] != "failed"], miou[miou["status"] == "failed"])
    # Of seed 0 alone: `blunt` is wrong on six of sixteen places.
    assert good["difference"].tolist() == pytest.approx([6 / 16])
    assert good["seeds"].tolist() == [1]
    assert bad["note"].tolist() == [f"{arm} seed 1 out of memory: 9 GB wanted"]
    assert bad["difference"].isna().all()
    lines = [line for line in text.splitlines() if "out of memory: 9 GB wanted" in line]
    assert [line[:1] for line in lines] == ["-", "|"]  # below the title, and in the table
    # Retrieval went well with both seeds, and the overview keeps the difference that there is.
    recall = rows[(rows["metric"] == "recall@10") & (rows["group"] == "all")]
    assert set(recall["seeds"]) == {2}
    headline = next(h for h in found.headlines() if h.metric == "miou")
    assert found.worth("without-x", headline).difference == pytest.approx(6 / 16)


@pytest.mark.parametrize("arm", ["full", "without-x"])
def test_an_arm_that_failed_at_one_seed_leaves_a_row_in_each_table(report, arm, capsys):
    where = (arm, 1)
    found, rows, text = report(
        lambda r: r.model_copy(update=LOST) if (r.arm, r.seed) == where else r
    )
    lost = rows[rows["status"] == "failed"]
    assert set(lost["note"]) == {f"{arm} seed 1 failed: loss is not finite"}
    assert set(lost["task"]) == set(rows["task"])
    retrieval = lost[lost["task"] == "retrieval"]
    assert set(retrieval["direction"]) == {"image_to_text", "text_to_image"}
    assert text.count(f"| {arm} seed 1 failed: loss is not finite |") == len(lost)
    assert set(rows[rows["status"] != "failed"]["seeds"]) == {1}
    print_ablation(found)
    assert f"Left out: {arm} seed 1 failed" in capsys.readouterr().out


def test_a_full_arm_that_failed_at_all_seeds_is_what_every_row_says(report):
    _, rows, text = report(lambda r: r.model_copy(update=LOST) if r.arm == "full" else r)
    assert set(rows["arm"]) == {"without-x"}
    assert set(rows["status"]) == {"failed"}
    assert set(rows["note"]) == {f"full seed {seed} failed: loss is not finite" for seed in (0, 1)}
    assert {"grounding", "retrieval"} <= set(rows["task"])
    assert "- full seed 0 failed: loss is not finite" in text


def test_where_every_arm_failed_a_row_per_seed_names_both(report):
    _, rows, text = report(lambda record: record.model_copy(update=LOST))
    assert rows["note"].tolist() == [
        f"full seed {seed} failed: loss is not finite; "
        f"without-x seed {seed} failed: loss is not finite"
        for seed in (0, 1)
    ]
    assert "## Nothing was asked" in text


def test_a_seed_that_one_arm_was_not_trained_with_is_no_failure(own_runs, toy_data):
    records = arms_of(read_runs([own_runs]), {**ARMS, ("without-x", 0): "blunt"})
    found = write_ablation(own_runs, records, dataset_source({"manifest": toy_data}))
    assert found.failures == []
    assert {one.seeds for one in found.worths} == {1}
