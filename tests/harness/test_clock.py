"""What the clock says decides nothing: it may stand still or go back between runs."""

import json
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.quarantine import quarantine
from harness.store import Store

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "data" / "example"
ASKED = [{"task": "retrieval", "dataset": "manifest", "split": "all", "options": {"draws": 20}}]


@pytest.fixture(autouse=True)
def _test_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def at(monkeypatch: pytest.MonkeyPatch, year: int) -> None:
    """From now on every record is made at the first second of that year."""
    stopped = SimpleNamespace(now=lambda _: datetime(year, 1, 1, tzinfo=timezone.utc))
    monkeypatch.setattr("harness.cell_record.datetime", stopped)
    monkeypatch.setattr("time.time", stopped.now(None).timestamp)


def run(top: Path, *models: object, out: str = "out") -> pd.DataFrame:
    suite = top / "suite.json"
    suite.write_text(json.dumps({"suite": "s", "models": models, "evaluations": ASKED}))
    data = ["--data", f"manifest={EXAMPLE}", "--device", "cpu", "--quiet"]
    CliRunner().invoke(cli, ["run", str(suite), "--out", str(top / out), *data])
    return pd.read_csv(top / out / "leaderboard.csv", keep_default_na=False)


def logged(top: Path) -> dict[str, object]:
    options = {"log": str(top / "asked.log")}
    return {"name": "pixels", "use": "suite_models:pixels", "options": options}


def test_two_runs_in_the_same_second_keep_what_each_of_them_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 2030)
    fails = {"name": "fails", "use": "suite_models:raises"}
    run(tmp_path, logged(tmp_path), fails)
    run(tmp_path, "oracle", fails)
    records = Store(tmp_path / "out").records()
    assert {r.created for r in records} == {"2030-01-01T00:00:00+00:00"}
    found = {record.model.name: record.status for record in records}
    assert found == {"pixels": "ok", "fails": "failed", "oracle": "ok"}
    both = run(tmp_path, logged(tmp_path), fails, "oracle")
    assert set(both.model) == {"pixels", "fails", "oracle"}


def test_a_clock_that_is_set_back_between_two_runs_changes_no_number_and_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 2030)
    calm = run(tmp_path, logged(tmp_path), "oracle")
    asked = (tmp_path / "asked.log").read_text()
    at(monkeypatch, 2020)
    again = run(tmp_path, logged(tmp_path), "oracle", "chance")
    assert (tmp_path / "asked.log").read_text() == asked
    pd.testing.assert_frame_equal(again[again.model != "chance"].reset_index(drop=True), calm)
    assert (again[again.model == "chance"].status == "ok").all()


def test_a_failure_from_the_future_does_not_hide_what_came_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = {"name": "late", "use": "suite_models:missing_file"}
    use["options"] = {"file": str(tmp_path / "weights")}
    at(monkeypatch, 2030)
    assert set(run(tmp_path, use).status) == {"failed"}
    at(monkeypatch, 2020)
    (tmp_path / "weights").touch()
    assert set(run(tmp_path, use).status) == {"ok", "not_scored"}  # some metrics need labels


def test_two_files_of_one_name_set_aside_in_the_same_second_are_both_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 2030)
    for content in "ab":
        (tmp_path / "x.parquet").write_text(content)
        quarantine(tmp_path / "x.parquet", tmp_path, "is damaged")
    kept = {path.read_text() for path in (tmp_path / "quarantine").iterdir()}
    assert kept == {"a", "b"}
