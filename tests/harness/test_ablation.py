"""Records of arms, when they may be compared, and the YAML of an ablation."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.ablation import (
    ArmRecord,
    ArmTraining,
    differences,
    read_arms,
    refuse_other_arms,
    with_other_data_failed,
    write_arm,
)
from harness.ablation_suite import read_ablation
from harness.commands.ablate_suite import asked_for, parse_seeds
from harness.commands.run import command as run
from harness.errors import BenchError

SHARED = {"limit": 24, "settings": {"training": {"steps": 8}}}
DATA = {"source": {"fingerprint": "aaa"}, "train": {"images": 24}}


def training(**changes) -> ArmTraining:
    values = {
        "steps": 8,
        "samples": 32,
        "parameters": 100,
        "data": DATA,
        "curve": [],
        "validation": [],
        "seconds": 2.0,
        "step_seconds": 1.5,
        "peak_memory": 10**9,
    }
    return ArmTraining(**{**values, **changes})


def arm(name="full", seed=0, **changes) -> ArmRecord:
    values = {"shared": SHARED, "losses": ["sigmoid"], "status": "ok", "training": training()}
    return ArmRecord(arm=name, seed=seed, **{**values, **changes})


def test_a_record_is_read_as_it_was_written_and_the_full_arm_comes_first(tmp_path):
    other = arm("a", 1, parent="full", difference={"losses.grounding": (5.0, 0.0)})
    for record in (other, arm(seed=1), arm(seed=0)):
        write_arm(tmp_path, record)
    assert read_arms(tmp_path) == [arm(seed=0), arm(seed=1), other]


def test_a_loss_that_was_not_finite_survives_the_file(tmp_path):
    write_arm(tmp_path, arm(training=training(curve=[{"step": 1, "loss/sigmoid": float("inf")}])))
    assert read_arms(tmp_path)[0].training.curve[0]["loss/sigmoid"] == float("inf")


def test_what_is_no_record_is_refused_with_its_name(tmp_path):
    write_arm(tmp_path, arm())
    (tmp_path / "arms" / "full-seed1.json").write_text('{"arm": "full"}')
    with pytest.raises(BenchError, match=r"full-seed1.json: no record of an arm"):
        read_arms(tmp_path)


def test_differences_name_every_leaf_that_differs():
    one = {"a": {"b": 1, "c": [1, 2]}, "d": None}
    other = {"a": {"b": 1, "c": [1, 3]}, "e": 0}
    assert differences(one, other) == {"a.c": ([1, 2], [1, 3]), "e": (None, 0)}
    assert differences(one, one) == {}
    asked = [{"task": "probe"}, {"task": "grounding", "split": "test"}]
    more = [{"task": "probe"}, {"task": "grounding", "split": "all"}, {"task": "captioning"}]
    assert differences({"evaluations": asked}, {"evaluations": more}) == {
        "evaluations.1.split": ("test", "all"),
        "evaluations.2": (None, {"task": "captioning"}),
    }


def test_arms_of_other_steps_are_refused_with_the_difference():
    longer = {**SHARED, "settings": {"training": {"steps": 80}}}
    with pytest.raises(BenchError, match=r"full seed 0.*settings.training.steps 8 and 80"):
        refuse_other_arms([arm()], longer, "runs/x")


def test_an_arm_trained_on_other_data_is_a_failure_that_says_so_and_the_others_are_kept():
    elsewhere = {**DATA, "source": {"fingerprint": "bbb"}}
    other = arm("a", training=training(data=elsewhere))
    lost = arm("b", status="failed", reason="not finite", training=None)
    kept = [arm(), arm("a", 1), arm("c")]
    found = with_other_data_failed([kept[0], other, *kept[1:], lost], Path("runs/x"))
    assert [one for one in found if one.title != other.title] == [*kept, lost]
    failed = found[1]
    assert (failed.status, failed.training, failed.asked) == ("failed", None, [])
    assert "source.fingerprint 'aaa' and 'bbb'" in failed.reason
    assert "a-seed0.json" in failed.reason  # what to remove


def test_answers_that_are_cut_are_no_other_data():
    # An arm without captioning has no reports to cut; one of fewer decoder tokens cuts more.
    cut = {**DATA, "train": {"images": 24, "cut: reports": 3}}
    pair = [arm(training=training(data=cut)), arm("a")]
    assert with_other_data_failed(pair, Path("runs/x")) == pair
    fewer = {**DATA, "train": {"images": 23, "cut: reports": 3}}
    pair = [arm(), arm("a", training=training(data=fewer))]
    assert "train.images 24 and 23" in with_other_data_failed(pair, Path("runs/x"))[1].reason


def test_the_key_of_an_arm_changes_with_its_seed_difference_and_what_is_shared():
    keys = {
        arm().key,
        arm(seed=1).key,
        arm("a", difference={"chunk": (1, 2)}).key,
        arm(shared={**SHARED, "limit": 25}).key,
    }
    assert len(keys) == 4
    assert arm("renamed").key == arm().key


GOOD = "ablation: mine\nlosses: [location]\nseeds: [0, 1]\n"
BAD = [
    ("ablation: mine\nlosess: [location]\n", r"x.yaml:2: losess: unknown key 'losess'.*'losses'"),
    (GOOD + "changes:\n  - {nam: a, set: {chunk: 1}}\n", r"unknown key 'nam'. Did you mean 'name'"),
    (GOOD + "changes:\n  - {name: a, set: {}}\n", r"x.yaml:5: changes.0.set"),
    (GOOD + "steps: 0\n", r"x.yaml:4: steps: found 0"),
    ("ablation: mine\nseeds: []\n", "seeds"),
    ("ablation: mine\nseeds: [0, 1, 0]\n", r"x.yaml:2: seeds: found \[0, 1, 0\].*each seed once"),
    (GOOD + "changes:\n  - {set: {training: {}}}\n", r"x.yaml:5: .*'training': found no settings"),
    ("ablation: ../mine\n", "ablation: found '../mine'"),
    (GOOD + "evaluations:\n  - {task: probe, dataset: probe, at: [30]}\n", r"\[25, 50, 100\]"),
    ("suite: mine\nmodels: []\nevaluations: []\n", "bench run"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_mistake_in_the_file_is_named_with_its_line(tmp_path, text, message):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(BenchError, match=message):
        read_ablation(str(file))


def test_an_ablation_given_to_bench_run_is_sent_to_bench_ablate():
    result = CliRunner().invoke(run, ["suites/ablation.yaml"])
    assert isinstance(result.exception, BenchError)
    assert "bench ablate suites/ablation.yaml" in str(result.exception)


def asked(suite=None, **changes):
    values = {"losses": [], "changes": [], "overrides": [], "seeds": "", "named": {}}
    return asked_for(suite, **{**values, **changes})


def test_the_command_line_names_arms_seeds_and_settings_of_both_arms():
    found = asked(
        losses=["location"],
        changes=["tokens.kind=heads"],
        overrides=["losses.captioning=0"],
        seeds="0,2-3",
        named={"steps": 60, "limit": 24, "representation_steps": 0, "captioning": True},
    )
    assert (found.ablation, found.losses, found.seeds) == (
        "ablate-lofi-tiny",
        ["location"],
        [0, 2, 3],
    )
    assert found.changes[0].set == {"tokens.kind": "heads"}
    assert found.set == {"losses.captioning": 0}
    assert (found.steps, found.limit, found.representation.steps) == (60, 24, 0)
    tasks = [one.task for one in found.evaluations]
    assert tasks == ["retrieval", "probe", "grounding", "captioning", "captioning"]
    assert {one.split for one in found.evaluations} == {"test"}  # what a claim is made on


def test_flags_change_a_suite_but_do_not_add_arms_to_it(tmp_path: Path):
    file = tmp_path / "x.yaml"
    file.write_text(GOOD)
    found = asked(str(file), seeds="7", named={"steps": 9})
    assert (found.seeds, found.steps, found.losses) == ([7], 9, ["location"])
    with pytest.raises(BenchError, match="names its arms itself"):
        asked(str(file), losses=["sigmoid"])


def test_captioning_that_a_suite_asks_already_is_asked_once():
    found = asked("suites/ablation.yaml", named={"captioning": True})
    assert found.evaluations == read_ablation("suites/ablation.yaml")[0].evaluations
    assert sum(one.task == "captioning" for one in found.evaluations) == 2


def test_settings_in_a_mapping_are_those_with_dotted_names(tmp_path: Path):
    file = tmp_path / "x.yaml"
    file.write_text(GOOD + "set: {data: {boxes: lesion, shift: 0.1}}\n")
    found = asked(str(file), overrides=["data={boxes: region}"])
    assert found.set == {"data.boxes": "region", "data.shift": 0.1}
    found = asked(changes=["tokens={kind: heads}"])
    assert (found.changes[0].set, found.changes[0].label) == (
        {"tokens.kind": "heads"},
        "tokens.kind=heads",
    )
    with pytest.raises(BenchError, match=r"'training': found no settings"):
        asked(changes=["training={}"])


@pytest.mark.parametrize("text", ["5-2", "0,5-2", "1-0"])
def test_a_range_of_seeds_without_any_is_refused(text):
    with pytest.raises(BenchError, match=r"--seeds '.*': found '\d-\d', which holds no seed"):
        parse_seeds(text)


@pytest.mark.parametrize("text", ["x", "1-", "-1", "1.5", "0,,a"])
def test_seeds_that_are_no_numbers_are_refused(text):
    with pytest.raises(BenchError, match="or 0-4"):
        parse_seeds(text)


def test_a_change_without_a_value_is_refused():
    with pytest.raises(BenchError, match=r"--change 'tokens.kind': found no '='"):
        asked(changes=["tokens.kind"])
