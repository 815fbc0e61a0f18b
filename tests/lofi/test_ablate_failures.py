"""`bench ablate` where an arm fails or is lost, or there is nothing to report."""

import pickle

from click.testing import CliRunner

from harness.ablation import read_arms
from harness.commands.ablate import command
from harness.isolate import Ended
from lofi.train import Run
from tests.lofi.ablate_world import Small, nothing, table


def test_an_arm_that_is_not_finite_is_a_failure_row_and_the_others_go_on(tmp_path, monkeypatch):
    small = Small(tmp_path, monkeypatch)
    changes = [{"name": "wild", "set": {"training.learning_rate": 1e30}}]
    result = small.run(losses=["captioning"], changes=changes, seeds=[0])
    assert result.exit_code == 1
    records = {r.arm: r for r in read_arms(small.out)}
    assert {name: r.status for name, r in records.items()} == {
        "full": "ok",
        "without-captioning": "ok",
        "wild": "failed",
    }
    assert "not finite" in records["wild"].reason
    rows = table(small)
    wild = rows[rows["arm"] == "wild"]
    assert set(wild["status"]) == {"failed"}
    assert wild["difference"].isna().all()
    others = rows[(rows["arm"] == "without-captioning") & (rows["metric"] == "miou")]
    assert others["difference"].notna().all()
    assert others["low"].isna().all()  # one seed: no interval
    assert "One seed: no interval" in (small.out / "ablation.md").read_text()


def test_a_report_of_nothing_and_a_suite_of_another_kind_are_refused(tmp_path, monkeypatch):
    small = Small(tmp_path, monkeypatch)
    result = small.run("--report-only", spread=nothing)
    assert "no arm yet" in str(result.exception)
    assert not small.out.exists()
    result = CliRunner().invoke(command, ["suites/retrieval.yaml"])
    assert "bench run suites/retrieval.yaml" in str(result.exception)
    result = CliRunner().invoke(command, ["--loss", "location", "--budget", "9m", "--steps", "9"])
    assert "Give one of them" in str(result.exception)


def test_weights_whose_questions_failed_are_kept_and_asked_again(tmp_path, monkeypatch):
    small = Small(tmp_path, monkeypatch)
    options = ("--representation-steps", "0", "--seeds", "0")
    with monkeypatch.context() as broken:
        broken.setattr("lofi.adapter.LofiAdapter.ground", _fail)
        assert small.run(*options, losses=["captioning"]).exit_code == 1
    assert {r.status for r in read_arms(small.out)} == {"failed"}
    monkeypatch.setattr(Run, "_step", _fail)  # nothing is trained a second time
    assert small.run(*options, losses=["captioning"]).exit_code == 0
    assert {r.status for r in read_arms(small.out)} == {"ok"}


def _fail(*_args, **_options):
    raise RuntimeError("out of luck")


def test_a_process_that_was_lost_leaves_a_record_that_says_how(tmp_path, monkeypatch):
    small = Small(tmp_path, monkeypatch)

    def lost(_executor, _function, orders, _heard):
        for index, order in enumerate(orders):
            assert pickle.loads(pickle.dumps(order)) == order  # it travels to another process
            yield index, Ended("out_of_memory", "killed by the system for want of memory")

    result = small.run(spread=lost)
    assert result.exit_code == 1
    assert {r.status for r in read_arms(small.out)} == {"out_of_memory"}
    assert "want of memory" in (small.out / "ablation.md").read_text()
