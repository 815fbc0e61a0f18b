"""Commands that hand over to another room and say where the result lies."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.cli import cli
from harness.errors import BenchError
from lofi.config import read_preset

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "data" / "example"
DATA = ("--data", f"manifest={EXAMPLE}")


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@dataclass
class Converted:
    unmatched: list[str] = field(default_factory=list)
    losses_from: str = "assumed"
    model: Any = field(default_factory=lambda: SimpleNamespace(config=read_preset("lofi-tiny")))


def test_a_conversion_names_the_keys_that_found_no_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}

    def convert(checkpoint: Path, out: Path, **more: Any) -> Converted:
        asked.update(more, checkpoint=checkpoint, out=out)
        return Converted(["head.bias"])

    monkeypatch.setattr("lofi.convert_directory.convert", convert)
    source, out = tmp_path / "last.pt", tmp_path / "out"
    source.write_bytes(b"")
    arguments = ["convert", str(source), str(out), "--decoder", "gemma", "--gguf-file", "g.gguf"]
    result = bench(*arguments)
    assert result.exit_code == 0, result.output
    assert asked == {
        "checkpoint": source,
        "out": out,
        "encoder": "",
        "decoder": "gemma",
        "gguf_file": "g.gguf",
        "losses": (),
    }
    assert "head.bias" in result.output
    assert f"{out}: 1 keys unmatched" in result.output
    assert "head.bias" not in bench(*arguments, "--quiet").output


def test_the_tiny_models_are_written_where_asked_and_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("baselines.tiny.write_tiny_models", lambda out: [out / "tiny-clip"])
    result = bench("data", "tiny-models", str(tmp_path))
    assert result.output.splitlines()[0] == str(tmp_path / "tiny-clip")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with the retrieval of two controls."""
    suite = tmp_path / "s.json"
    evaluation = {"task": "retrieval", "dataset": "manifest", "split": "all"}
    evaluation["options"] = {"draws": 2}  # type: ignore[assignment]
    names = ["oracle", "collapsed"]
    suite.write_text(json.dumps({"suite": "s", "models": names, "evaluations": [evaluation]}))
    result = bench("run", str(suite), "--out", str(tmp_path / "runs"), "--quiet", *DATA)
    assert result.exit_code == 0, result.output
    return tmp_path / "runs"


def test_runs_without_a_table_in_common_are_told_what_each_has(runs: Path, tmp_path: Path) -> None:
    suite = tmp_path / "g.json"
    evaluation = {"task": "grounding", "dataset": "manifest", "split": "all"}
    evaluation["options"] = {"draws": 2}  # type: ignore[assignment]
    suite.write_text(json.dumps({"suite": "g", "models": ["oracle"], "evaluations": [evaluation]}))
    bench("run", str(suite), "--out", str(tmp_path / "other"), "--quiet", *DATA)
    found = bench("compare", str(runs), str(tmp_path / "other"), *DATA).exception
    assert isinstance(found, BenchError)
    assert "no table has both. A has retrieval manifest all; B has grounding manifest all" in str(
        found
    )


def test_scores_are_not_made_anew_on_other_data_or_of_an_unknown_metric(
    runs: Path, tmp_path: Path
) -> None:
    unknown = bench("score", str(runs), "--metric", "recal@1", *DATA).exception
    assert "Did you mean 'recall@1'" in str(unknown)
    limited = bench("score", str(runs), "--limit", "3", *DATA).exception
    assert "Name the folders of that run with --data. The run was: bench" in str(limited)
    (tmp_path / "empty").mkdir()
    nothing = bench("score", str(tmp_path / "empty"), *DATA).exception
    assert "no finished cell. Is it a runs folder?" in str(nothing)
    assert bench("score", str(runs), "--quiet", *DATA).output.startswith("2 cells scored")


def test_scores_made_anew_elsewhere_leave_the_runs_folder_as_it_is(
    runs: Path, tmp_path: Path
) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*")}

    for record in runs.glob("cells/*/record.json"):  # a number that scoring will set right
        text = record.read_text()
        record.write_text(text.replace('"value": 1.0', '"value": 0.5'))
    before, out = files(runs), tmp_path / "anew" / "scored"
    result = bench("score", str(runs), "--out", str(out), "--quiet", *DATA)
    assert result.output == f"2 cells scored; leaderboard: {out / 'leaderboard.html'}\n"
    assert files(runs) == before
    assert (out / "leaderboard.csv").read_text() == (runs / "leaderboard.csv").read_text()
    # What was written is a runs folder of its own: other commands read it.
    for name in ("record.json", "*.parquet"):
        assert len(list(out.glob(f"cells/**/{name}"))) == 2
    assert '"value": 1.0' in next(out.glob("cells/*oracle*/record.json")).read_text()
    again = bench("compare", "oracle", "collapsed", "--runs", str(out), *DATA)
    assert again.exit_code == 0, again.exception


@pytest.mark.parametrize("place", ["file", "file/inside"])
def test_a_place_that_cannot_be_written_to_is_named_before_anything_is_scored(
    place: str, runs: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    found = bench("score", str(runs), "--out", str(tmp_path / place), *DATA).exception
    assert isinstance(found, BenchError)
    assert str(tmp_path / "file") in str(found)
    assert "--out" in str(found)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_metric_of_one_task_is_made_anew_beside_cells_of_another(tmp_path: Path) -> None:
    suite, out = tmp_path / "s.json", tmp_path / "runs"
    tasks = [{"task": task, "dataset": "manifest", "split": "all", "options": {"draws": 2}}
             for task in ("retrieval", "grounding")]  # fmt: skip
    suite.write_text(json.dumps({"suite": "s", "models": ["oracle"], "evaluations": tasks}))
    assert bench("run", str(suite), "--out", str(out), "--quiet", *DATA).exit_code == 0
    before = (out / "leaderboard.csv").read_text()
    result = bench("score", str(out), "--metric", "miou", "--quiet", *DATA)
    assert result.exit_code == 0, result.exception
    assert (out / "leaderboard.csv").read_text() == before


def test_scores_are_made_anew_on_as_many_samples_as_the_run_asked(tmp_path: Path) -> None:
    """The --limit is in the record, and what the run skipped or did not show stays as it was."""
    suite, out = tmp_path / "s.json", tmp_path / "runs"
    evaluation = {"task": "grounding", "dataset": "manifest", "split": "all", "metrics": ["miou"]}
    evaluation["options"] = {"draws": 2}  # type: ignore[assignment]
    absent = {"task": "retrieval", "dataset": "open-i", "split": "all"}
    names = ["oracle", "nothing"]
    content = {"suite": "s", "models": names, "evaluations": [evaluation, absent]}
    suite.write_text(json.dumps(content))
    assert (
        bench("run", str(suite), "--out", str(out), "--limit", "4", "--quiet", *DATA).exit_code == 0
    )
    before = (out / "leaderboard.csv").read_text()
    assert "miou" in before
    assert "rodeo" not in before
    assert "skipped" in before
    result = bench("score", str(out), "--quiet", *DATA)
    assert result.output.startswith("2 cells scored"), result.output
    assert (out / "leaderboard.csv").read_text() == before


def test_a_report_may_be_photographed(
    runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken = []

    def take(page: Path, picture: Path) -> Path:
        taken.append(page.name)
        return picture

    monkeypatch.setattr("reports.picture.take_picture", take)
    picture = str(tmp_path / "page.png")
    result = bench("report", str(runs), "--picture", picture, "--tables-only", *DATA)
    assert result.exit_code == 0, result.output
    assert f"picture: {picture}" in result.output
    assert taken == ["report.html"]
    quiet = bench("report", str(runs), "--tables-only", "--private", "--quiet", *DATA)
    assert quiet.output.strip() == (
        "private: holds text or pixels of restricted data; do not publish."
    )
