"""Every command takes --quiet and --log-json, and what is then printed can be read by a program."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from harness.cli import cli
from harness.models import ModelCard
from harness.registry import CONTROLS
from harness.tasks import TASKS, find_task

EXAMPLE = Path(__file__).parent.parent / "data" / "example"


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def rows(*arguments: str) -> list[dict[str, str]]:
    result = bench(*arguments, "--log-json")
    return [json.loads(line) for line in result.stdout.splitlines()]


def commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for child in group.list_commands(context):
        command = group.get_command(context, child)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {child}")
        else:
            yield f"{name} {child}", command


def test_every_command_takes_both_options() -> None:
    found = dict(commands(cli, "bench"))
    assert {"bench run", "bench data check"} <= found.keys()
    for name, command in found.items():
        options = {text for parameter in command.params for text in parameter.opts}
        assert {"--quiet", "--log-json"} <= options, name


@pytest.mark.parametrize("what", ["models", "datasets", "metrics", "tasks"])
def test_a_list_is_names_alone_or_one_object_per_row(what: str) -> None:
    found = rows("list", what)
    names = [row["name"] for row in found]
    assert bench("list", what, "--quiet").output.splitlines() == list(dict.fromkeys(names))
    known = {
        "models": set(CONTROLS),
        "datasets": {"mimic-cxr", "manifest"},
        "metrics": {name for task in TASKS for name in find_task(task).metrics},
        "tasks": set(TASKS),
    }
    assert known[what] <= set(names)


def test_a_list_says_of_each_metric_whose_it_is() -> None:
    for row in rows("list", "metrics"):
        assert row["definition"].startswith(find_task(row["task"]).metrics[row["name"]].definition)


def test_the_check_of_a_tree_prints_problems_alone_or_one_object_per_line(tmp_path: Path) -> None:
    sound = f"manifest={EXAMPLE}"
    assert bench("data", "check", sound, "--quiet").output == ""
    found = rows("data", "check", sound)
    assert {row["dataset"] for row in found} == {"manifest"}
    assert {row["level"] for row in found} <= {"ok", "note"}
    table = (EXAMPLE / "manifest.csv").read_text().replace("images/", "films/")
    (tmp_path / "manifest.csv").write_text(table)
    quiet = bench("data", "check", f"manifest={tmp_path}", "--quiet")
    assert quiet.exit_code == 1
    assert "problem" in quiet.output
    assert not any(line.startswith(("ok", "note")) for line in quiet.output.splitlines())
    problems = [r for r in rows("data", "check", f"manifest={tmp_path}") if r["level"] == "problem"]
    assert quiet.output.splitlines()[-1] == f"{len(problems)} problem(s)"


def test_fetching_tells_what_is_missing_as_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    (row,) = rows("fetch", "biomedclip")
    assert row["model"] == "biomedclip"
    assert "biomedclip" in bench("fetch", "biomedclip", "--quiet").output


def test_the_check_of_a_model_prints_what_is_broken_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.check import Verdict

    class Handle:
        def load(self, device: str) -> object:
            return type("Model", (), {"card": ModelCard("x", "test"), "device": device})()

    verdicts = [Verdict("a [promise]", "kept", "so"), Verdict("another", "broken", "no", "a slip")]
    monkeypatch.setattr("harness.registry.find_model", lambda _: Handle())
    monkeypatch.setattr("harness.check.check_model", lambda *_: iter(verdicts))
    quiet = bench("check", "x", "--quiet")
    assert quiet.exit_code == 1
    assert "another" in quiet.output
    assert "a [promise]" not in quiet.output
    assert "a [promise]" in bench("check", "x").output
    assert rows("check", "x")[1] == {
        "promise": "another",
        "verdict": "broken",
        "found": "no",
        "likely_mistake": "a slip",
    }


def test_rendering_phantoms_is_told_as_objects_and_the_folders_stay_the_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def render(*_: object, progress: Callable[[int, int], None], **__: object) -> dict[str, Path]:
        progress(3, 7)
        return {"mimic-cxr": tmp_path}

    monkeypatch.setattr("harness.phantom.cache.ensure_phantom", render)
    result = bench("data", "phantom", "mimic-cxr", "test", "--log-json")
    assert result.stdout == f"mimic-cxr={tmp_path}\n"
    told = json.loads(result.stderr)
    assert (told["what"], told["done"], told["total"]) == ("rendering phantoms", 3, 7)
    assert bench("data", "phantom", "mimic-cxr", "test", "--quiet").stderr == ""
