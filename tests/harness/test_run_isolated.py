"""Models in processes of their own: whatever one does, the others get their rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import harness.run
from harness.cli import cli
from harness.data_access import DataAccess
from harness.executors import Executor
from harness.isolate import Ended, Limits, run_isolated
from harness.plan import CellPlan
from harness.process_memory import machine_memory
from harness.registry import Entry, Handle
from harness.run import Settings, run_cells
from harness.suite_schema import Evaluation, ModelReference
from harness.tasks import find_task

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "data" / "example"
RETRIEVAL = {"task": "retrieval", "dataset": "manifest", "split": "all", "options": {"draws": 20}}
PATIENT = 120.0  # seconds: more than a spawned process takes on a busy machine
HASTY = 6.0


def suite(folder: Path, *models: Any) -> str:
    path = folder / "isolated.yaml"
    named = [
        m if isinstance(m, dict) or m == "oracle" else {"name": m, "use": f"suite_models:{m}"}
        for m in models
    ]
    content = {"suite": "isolated", "models": named, "evaluations": [RETRIEVAL]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def run(path: str, out: Path, *arguments: str) -> Result:
    data = ["--data", f"manifest={EXAMPLE}", "--device", "cpu", "--quiet"]
    return CliRunner().invoke(cli, ["run", path, "--out", str(out), *data, *arguments])


def board(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "leaderboard.csv", keep_default_na=False)


@pytest.fixture(autouse=True)
def _test_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture
def one_is_hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the model that hangs meets the time limit, however busy the machine."""

    def hurried(work: Callable[..., Any], plan: CellPlan, *rest: Any, limits: Limits, **more: Any):
        hangs = plan.handle.reference.name == "hangs"
        seconds = HASTY if hangs else PATIENT
        return run_isolated(work, plan, *rest, limits=Limits(seconds, limits.memory), **more)

    monkeypatch.setattr(harness.run, "run_isolated", hurried)


@pytest.mark.usefixtures("one_is_hurried")
def test_five_models_that_fail_in_five_ways_leave_rows_and_the_others_are_right(
    tmp_path: Path,
) -> None:
    dying = ["raises", "hangs", "swallows", "segfaults"]
    nan = {"name": "nan", "use": "suite_models:pixels", "options": {"nan_after": 3}}
    path = suite(tmp_path, *dying, nan, "pixels", "oracle")
    result = run(path, tmp_path / "out", "--timeout", "2", "--memory", "1")
    assert result.exit_code == 1, result.output
    rows = board(tmp_path / "out")
    status = rows.groupby("model").status.first().to_dict()
    assert status == {
        "raises": "failed",
        "hangs": "timeout",
        "swallows": "out_of_memory",
        "segfaults": "failed",
        "nan": "failed",
        "pixels": "ok",
        "oracle": "ok",
    }
    reason = rows.groupby("model").reason.first()
    assert "no such chip" in reason["raises"]
    assert "not done after 6 s" in reason["hangs"]
    assert "more than its 0.93 GiB" in reason["swallows"]
    assert "segmentation fault (signal 11)" in reason["segfaults"]
    assert "non-finite" in reason["nan"]
    for model in dying:
        assert f"{model} on retrieval manifest all" in result.output
    assert run(suite(tmp_path, "pixels", "oracle"), tmp_path / "calm").exit_code == 0
    calm = board(tmp_path / "calm")
    left = rows[rows.model.isin(["pixels", "oracle"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(left, calm)


def plan_of(handle: Handle) -> CellPlan:
    evaluation = Evaluation(**RETRIEVAL)
    options = {**find_task("retrieval").defaults, "draws": 20}
    return CellPlan(evaluation, handle, "official", 0, options)


def test_an_external_model_is_isolated_without_being_asked_to(tmp_path: Path) -> None:
    entry = Entry("card", "suite_models:segfaults", "suite_models:describe_external")
    plan = plan_of(Handle(ModelReference(name="worker"), entry))
    access = DataAccess({"manifest": EXAMPLE})
    [(record, _)] = run_cells([plan], access, Settings(tmp_path, device="cpu"))
    assert record.status == "failed"
    assert "segmentation fault" in record.reason
    assert record.model.family == "external"
    assert record.key == plan.key(plan.handle.card(), access.load(plan.evaluation).dataset)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Limits(), Limits(3 * 86400.0, 900)),
        (Limits(seconds=5.0), Limits(5.0, 900)),
        (Limits(memory=7), Limits(3 * 86400.0, 7)),
    ],
)
def test_an_isolated_cell_has_limits_that_nobody_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Limits, expected: Limits
) -> None:
    used = []

    def noted(*_: Any, limits: Limits, **__: Any) -> Ended:
        used.append(limits)
        return Ended("failed", "not run")

    monkeypatch.setattr("harness.isolate.machine_memory", lambda: 1000)
    monkeypatch.setattr(harness.run, "run_isolated", noted)
    entry = Entry("card", "suite_models:segfaults", "suite_models:describe_external")
    plan = plan_of(Handle(ModelReference(name="worker"), entry))
    settings = Settings(tmp_path, device="cpu", executor=Executor(limits=given))
    list(run_cells([plan], DataAccess({"manifest": EXAMPLE}), settings))
    assert used == [expected]


def test_a_container_s_memory_is_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.process_memory.CGROUP", tmp_path / "memory.max")
    whole = machine_memory()
    assert whole > 2**20
    (tmp_path / "memory.max").write_text("max\n")
    assert machine_memory() == whole
    (tmp_path / "memory.max").write_text("1048576\n")
    assert machine_memory() == 2**20


def test_cells_over_processes_give_the_rows_of_a_plain_run(tmp_path: Path) -> None:
    models = [
        {"name": n, "use": "suite_models:pixels", "options": {"name": n}} for n in ("one", "two")
    ]
    path = suite(tmp_path, *models, "segfaults", "oracle")
    spread = run(path, tmp_path / "spread", "--executor", "processes", "--workers", "2")
    assert spread.exit_code == 1
    assert run(suite(tmp_path, *models, "oracle"), tmp_path / "plain").exit_code == 0
    rows = board(tmp_path / "spread")
    assert rows[rows.model == "segfaults"].status.tolist() == ["failed"]
    left = rows[rows.model != "segfaults"].reset_index(drop=True)
    pd.testing.assert_frame_equal(left, board(tmp_path / "plain"))
