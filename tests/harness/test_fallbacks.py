"""What the harness does without git, a device or a model, and with a suite that is wrong."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import environment
from harness.commands.progress import RunProgress
from harness.errors import BenchError
from harness.plan import plan_cells
from harness.registry import find_entry, resolve
from harness.suite import read_suite
from harness.suite_schema import Suite

# --- where it runs


@pytest.fixture
def _fresh() -> Iterator[None]:
    caches = (environment._git, environment._versions)
    for one in caches:
        one.cache_clear()
    yield
    for one in caches:
        one.cache_clear()


@pytest.mark.usefixtures("_fresh")
def test_an_installed_package_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "harness" / "environment.py"))
    found = environment.environment("cpu")
    assert (found.commit, found.dirty) == ("", False)


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 5)])
def test_without_git_or_patience_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "harness" / "environment.py"))
    monkeypatch.setattr(subprocess, "run", fails)
    assert environment.environment("cpu").commit == ""


@pytest.mark.usefixtures("_fresh")
def test_packages_that_are_not_installed_have_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "a-package-nobody-has"))
    assert environment.environment("cpu").packages == {"numpy": np.__version__}


@pytest.mark.parametrize(
    ("cuda", "mps", "device"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_is_the_best_device_there_is(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, device: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert environment.pick_device("auto") == device
    assert environment.pick_device("cuda:1") == "cuda:1"


# --- models and suites


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mine", "expected module:function"),
        ("a_module_nobody_has:load", "cannot be imported"),
        ("json:lode", "the module has no 'lode'"),
    ],
)
def test_code_that_is_not_there_is_told(target: str, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        resolve(target)


def test_a_folder_that_is_no_model_is_told_with_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no such folder"):
        find_entry(str(tmp_path / "nowhere"))
    with pytest.raises(BenchError, match=r"no model here: found nothing; expected config\.json"):
        find_entry(str(tmp_path))
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(BenchError, match=r"no model here: found weights\.bin"):
        find_entry(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    entry = find_entry(str(tmp_path))
    assert (entry.kind, entry.options) == ("directory", {"checkpoint": str(tmp_path)})


def test_a_name_with_control_characters_is_refused_before_anything_runs() -> None:
    evaluation = {"task": "retrieval", "dataset": "manifest", "split": "all"}
    suite = Suite(suite="s", models=[{"name": "ora\x1bcle"}], evaluations=[evaluation])
    with pytest.raises(BenchError, match="its name has control characters"):
        plan_cells(suite)


def suite_of(folder: Path, text: str, *overrides: str) -> Suite:
    path = folder / "s.yaml"
    path.write_text(text, encoding="utf-8")
    return read_suite(str(path), overrides)[0]


TEXT = """
suite: s
models: [oracle{more}]
evaluations:
  - {{task: retrieval, dataset: manifest, split: all{asked}}}
"""


def test_a_model_named_twice_or_not_listed_is_told(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="models named twice: oracle"):
        suite_of(tmp_path, TEXT.format(more=", oracle", asked=""))
    with pytest.raises(BenchError, match=r"evaluations\[0\]\.models names chance, which"):
        suite_of(tmp_path, TEXT.format(more="", asked=", models: [chance]"))


def test_a_number_that_is_none_and_a_file_that_is_too_large_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BenchError, match=r"s\.yaml:5: .*cannot be read"):
        suite_of(tmp_path, TEXT.format(more="", asked=", cohort: 2026-99-99"))
    kept = suite_of(tmp_path, TEXT.format(more="", asked=""), "title='[not a list'")
    assert kept.title == "'[not a list'" or kept.title == "[not a list"
    monkeypatch.setattr("harness.suite_yaml._MAX_BYTES", 20)
    with pytest.raises(BenchError, match="larger than 20 bytes"):
        suite_of(tmp_path, TEXT.format(more="", asked=""))


# --- progress


def test_progress_in_lines_tells_each_part_once(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(log_json=True) as told:
        told.progress("reading", 1, 10)
        told.progress("reading", 2, 10)
        told.progress("embedding", 1, 5)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["what"], line["total"]) for line in lines] == [
        ("progress", "reading", 10),
        ("progress", "embedding", 5),
    ]
