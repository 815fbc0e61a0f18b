"""Commands that look: lists, plans, a viewer, a completion script."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from harness import cli as command_line
from harness.cli import cli
from harness.commands.models_table import model_rows
from harness.datasets import DATASETS
from harness.errors import BenchError
from harness.models import ModelCard
from harness.registry import CONTROLS, card_names
from harness.tasks import TASKS, find_task
from harness.tasks.retrieval import TASK as RETRIEVAL

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "data" / "example"


@pytest.fixture(autouse=True)
def _test_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def lines(*arguments: str) -> list[str]:
    result = bench(*arguments)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_every_model_that_can_be_named_is_listed_with_its_state() -> None:
    rows = {row[0]: row for row in model_rows()}
    assert set(CONTROLS) | set(card_names()) | {"shuffled"} <= set(rows)
    assert rows["oracle"][1:3] == ("control", "control")
    assert rows["oracle"][-1] == "present"
    absent = rows["biomedclip"]
    assert (absent[1], absent[-1]) == ("card", "missing")
    assert absent[2]  # the family is told without the weights
    shown = "\n".join(lines("list", "models"))
    assert all(name in shown for name in rows)


def test_a_card_that_cannot_be_read_is_a_row_and_not_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*, card: str) -> ModelCard:
        raise BenchError(f"{card}: no family")

    monkeypatch.setattr("baselines.cards.describe", broken)
    rows = {row[0]: row for row in model_rows()}
    assert rows["biomedclip"][-1] == "broken: biomedclip: no family"
    assert rows["oracle"][-1] == "present"


def test_a_model_with_undisclosed_training_data_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    card = ModelCard("x", "clip", trained_on=None, licence="MIT")
    monkeypatch.setattr("baselines.cards.describe", lambda **_: card)
    row = next(row for row in model_rows() if row[0] == "biomedclip")
    assert row == ("biomedclip", "card", "clip", "MIT", "undisclosed", "tiny random", "present")


def test_tasks_and_metrics_are_listed_as_they_are_defined() -> None:
    tasks = lines("list", "tasks")
    row = next(line for line in tasks if line.startswith("retrieval "))
    assert f" {len(RETRIEVAL.metrics)} " in row
    assert "draws=1000" in row
    assert row.rstrip().endswith("which image to this report?")
    metrics = "\n".join(lines("list", "metrics"))
    assert all(name in metrics for task in TASKS for name in find_task(task).metrics)
    assert "Lower is better." in metrics


def test_datasets_are_listed_with_what_lies_in_their_folders() -> None:
    shown = lines("list", "datasets", "--data", f"manifest={EXAMPLE}")
    assert {line.split()[0] for line in shown if line[:1].isalpha()} >= set(DATASETS)
    (row,) = (line for line in shown if line.startswith("manifest"))
    assert " 12 " in row  # images


def test_the_completion_script_names_the_program() -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_BENCH_COMPLETE" in "\n".join(lines("completion", shell))


def test_a_viewer_serves_until_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    suite = tmp_path / "s.json"
    evaluation = {"task": "retrieval", "dataset": "manifest", "split": "all"}
    evaluation["options"] = {"draws": 2}  # type: ignore[assignment]
    suite.write_text(json.dumps({"suite": "s", "models": ["oracle"], "evaluations": [evaluation]}))
    data = ["--data", f"manifest={EXAMPLE}", "--quiet"]
    assert bench("run", str(suite), "--out", str(tmp_path / "out"), *data).exit_code == 0
    opened, closed = [], []

    class Server:
        def serve_forever(self) -> None:
            raise KeyboardInterrupt

        def server_close(self) -> None:
            closed.append(True)

    def open_server(gallery: Any, port: int) -> tuple[Server, str]:
        assert port == 0
        assert gallery
        return Server(), "http://127.0.0.1:1234/"

    monkeypatch.setattr("reports.viewer.open_server", open_server)
    monkeypatch.setattr("webbrowser.open", opened.append)
    shown = lines("view", str(tmp_path / "out"), *data)
    assert shown == [
        "viewer: http://127.0.0.1:1234/  (this machine only; Ctrl-C ends it)",
        "viewer closed",
    ]
    assert opened == ["http://127.0.0.1:1234/"]
    lines("view", str(tmp_path / "out"), "--no-open", *data)
    assert len(opened) == 1
    assert closed == [True, True]


def dry_run(folder: Path, models: list[Any], dataset: str, *more: str) -> str:
    suite = folder / "s.json"
    evaluation = {"task": "retrieval", "dataset": dataset, "split": "all", "options": {"draws": 2}}
    suite.write_text(json.dumps({"suite": "s", "models": models, "evaluations": [evaluation]}))
    arguments = ["run", str(suite), "--out", str(folder / "out"), "--quiet", *more]
    return "\n".join(lines(*arguments))


def test_a_plan_tells_what_is_finished_to_do_or_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    data = ["--data", f"manifest={EXAMPLE}"]
    dry_run(tmp_path, ["oracle"], "manifest", *data)
    code = {"name": "mine", "use": "suite_models:pixels"}
    models = ["oracle", "chance", "biomedclip", code]
    shown = dry_run(tmp_path, models, "manifest", *data, "--dry-run").splitlines()
    states = {line.split()[0]: line.split()[-1] for line in shown if " manifest " in line}
    assert states == {"oracle": "finished", "chance": "do", "biomedclip": "skipped", "mine": "do"}
    (why,) = [line for line in shown if line.startswith("biomedclip: ")]
    assert "bench fetch biomedclip" in why
    assert "mine: it must be loaded to be known, so it may be finished" in shown
    absent = dry_run(tmp_path, ["oracle", "chance"], "manifest", "--dry-run")
    assert "oracle, chance: manifest: no manifest folder is set." in absent
    assert absent.count("no manifest folder is set") == 1


def test_a_plan_over_phantoms_renders_none_and_still_says_which_weights_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr("harness.phantom.cache.ensure_phantom", None)
    shown = dry_run(tmp_path, ["oracle", "biomedclip"], "mimic-cxr", "--dry-run")
    assert "oracle: phantoms, rendered on first use" in shown
    assert "biomedclip: " in shown


def test_a_plan_over_phantoms_that_are_there_tells_which_cells_are_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    content = {"suite": "s", "models": ["oracle"], "evaluations": [PROBE]}
    suite, out = tmp_path / "s.json", tmp_path / "out"

    def plan(*more: str) -> str:
        more = (*more, "--out", str(out), "--dry-run", "--quiet")
        return "\n".join(lines("run", str(suite), "--limit", "12", *more))

    suite.write_text(json.dumps(content))
    lines("run", str(suite), "--limit", "12", "--out", str(out), "--quiet")
    monkeypatch.setattr("harness.phantom.cache.ensure_probe", _only_if_rendered)
    suite.write_text(json.dumps({**content, "models": ["oracle", "collapsed"]}))
    states = [line.split()[0:1] + line.split()[-1:] for line in plan().splitlines()[2:]]
    assert states == [["oracle", "finished"], ["collapsed", "do"]]
    # Another limit asks other samples: not rendered, and not the cell that is there.
    other = plan("--limit", "13")
    assert "finished" not in other.replace("what is finished", "")
    assert "oracle, collapsed: phantoms, rendered on first use" in other


PROBE = {"task": "probe", "dataset": "probe", "split": "test", "options": {"draws": 2}}


def _only_if_rendered(root: Path, split: str, limit: int, **_: object) -> dict[str, Path]:
    folder = root / "probes" / "probe" / f"{split}-first-{limit}"
    assert (folder / "pairs.jsonl").is_file()
    return {"probe": folder, "truth": root / "probes" / "truth"}


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        (BenchError("runs\x1b[31m: no such folder"), 2, "bench: runs"),
        (click.UsageError("no such option"), 2, "no such option"),
        (KeyboardInterrupt(), 130, "what is finished is kept"),
        (click.Abort(), 130, "what is finished is kept"),
        (click.exceptions.Exit(3), 3, ""),
    ],
)
def test_how_a_command_ends_is_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ending: BaseException,
    code: int,
    said: str,
) -> None:
    def fails(**_: Any) -> None:
        raise ending

    monkeypatch.setattr(command_line, "cli", fails)
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == code
    told = capsys.readouterr().err
    assert said in told
    assert "\x1b" not in told


def test_the_program_is_run_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "nothing"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("bench: unknown command 'nothing'")
