"""Orders over processes and Slurm jobs: one that is lost cancels no other."""

import importlib
import json
import os
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from click.testing import CliRunner

from harness import executors
from harness.cli import cli
from harness.errors import BenchError
from harness.executors import Executor, Order, spread
from harness.isolate import Limits
from harness.store import Store

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "data" / "example"
REPOSITORY = HERE.parents[1]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Slurm on this machine; the folder of its logs."""
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    top = tmp_path / "slurm"
    top.mkdir()
    monkeypatch.setenv("FAKE_SLURM", str(top))
    monkeypatch.setenv("PATH", f"{HERE / 'slurm'}{os.pathsep}{os.environ['PATH']}")
    paths = [os.environ.get("PYTHONPATH", ""), str(REPOSITORY), str(HERE)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setattr(executors, "POLL", 0.1)
    return top


@pytest.fixture(autouse=True)
def executor_work(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("executor_work")


@pytest.mark.parametrize("workers", [1, 3])
def test_an_order_that_is_killed_cancels_no_other(
    workers: int, executor_work: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.isolate.kills_for_memory", lambda: 0)
    heard: list[tuple[int, int]] = []
    orders = [Order((number,)) for number in range(5)]
    found = dict(
        spread(
            Executor("processes", workers),
            executor_work.double,
            orders,
            lambda index, message: heard.append((index, message)),
        )
    )
    assert [found[n].value for n in range(5)] == [0, 2, 4, None, 8]
    assert found[3].status == "failed"
    assert "signal 9" in found[3].reason
    assert sorted(heard) == [(n, n) for n in (0, 1, 2, 4)]


def test_each_worker_knows_its_place(
    executor_work: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(executors.SLOT, raising=False)
    orders = [Order(()) for _ in range(4)]
    found = dict(spread(Executor("processes", 2), executor_work.place, orders))
    assert {ended.value for ended in found.values()} <= {"0", "1"}


def test_an_order_that_cannot_be_sent_is_a_failure_of_its_own(executor_work: ModuleType) -> None:
    orders = [Order((lambda: 0,)), Order((1,))]
    found = dict(spread(Executor("processes", 1), executor_work.double, orders))
    assert found[0].status == "failed"
    assert "could not be started" in found[0].reason
    assert found[1].value == 2


def test_a_lost_job_cancels_no_other(
    slurm: Path, executor_work: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLURM_LOSES", "1")
    orders = [Order((number,)) for number in (1, 2, 3, 4)]
    executor = Executor("slurm", 4, Limits(seconds=300), slurm / "jobs")
    found = dict(spread(executor, executor_work.double, orders))
    assert (found[0].value, found[3].value) == (2, 8)
    assert found[1].status == "failed"
    assert "lost (node_fail)" in found[1].reason
    assert "signal 9" in found[2].reason  # killed inside its job
    [script] = [path.read_text() for path in slurm.glob("*.job")]
    assert "--array=0-3%4" in script
    assert "--time=15" in script


def test_without_slurm_the_user_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="no sbatch on this machine"):
        list(spread(Executor("slurm"), print, []))


@pytest.mark.usefixtures("slurm")
def test_a_suite_runs_as_jobs_and_what_is_lost_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = {name: tmp_path / f"{name}.log" for name in ("one", "two")}
    models = [
        {"name": n, "use": "suite_models:pixels", "options": {"name": n, "log": str(log)}}
        for n, log in logs.items()
    ]
    asked = {"task": "retrieval", "dataset": "manifest", "split": "all", "options": {"draws": 2}}
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps({"suite": "s", "models": models, "evaluations": [asked]}))
    out = tmp_path / "out"
    arguments = ["run", str(path), "--data", f"manifest={EXAMPLE}", "--out", str(out), "--quiet"]
    arguments += ["--executor", "slurm", "--device", "cpu"]
    monkeypatch.setenv("FAKE_SLURM_LOSES", "0")
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1, result.output
    found = {record.model.name: record for record in Store(out).records()}
    assert (found["one"].status, found["two"].status) == ("failed", "ok")
    assert "lost" in found["one"].reason
    asked = logs["two"].read_text()
    monkeypatch.delenv("FAKE_SLURM_LOSES")
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    records = Store(out).records()
    assert {r.model.name for r in records if r.status == "ok"} == {"one", "two"}
    assert logs["two"].read_text() == asked
    assert logs["one"].exists()


@pytest.mark.usefixtures("slurm")
def test_what_is_done_can_be_collected_while_other_jobs_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, out = tmp_path / "go", tmp_path / "out"
    waiting = {"name": "waits", "use": "suite_models:waits", "options": {"file": str(go)}}
    models = [{"name": "one", "use": "suite_models:pixels", "options": {"name": "one"}}, waiting]
    asked = {"task": "retrieval", "dataset": "manifest", "split": "all", "options": {"draws": 2}}
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps({"suite": "s", "models": models, "evaluations": [asked]}))
    collected: list[dict[str, str]] = []

    def look(_: float) -> None:
        """Between two looks at the jobs: report what there is, then let the other job go on."""
        done = {record.model.name for record in Store(out).records() if record.status == "ok"}
        if not go.exists() and done == {"one"}:
            result = CliRunner().invoke(cli, ["report", str(out), "--tables-only"])
            assert result.exit_code == 0, result.output
            rows = (out / "report.csv").read_text().splitlines()[1:]
            collected.append({row.split(",")[0]: row for row in rows})
            go.touch()
        real(0.1)

    real = time.sleep
    monkeypatch.setattr("harness.executors.time", SimpleNamespace(sleep=look))
    arguments = ["run", str(path), "--data", f"manifest={EXAMPLE}", "--out", str(out), "--quiet"]
    result = CliRunner().invoke(cli, [*arguments, "--executor", "slurm", "--device", "cpu"])
    assert result.exit_code == 0, (result.output, result.exception)
    assert [set(rows) for rows in collected] == [{"one"}]
    assert {record.model.name for record in Store(out).records()} == {"one", "waits"}
