"""What asking again for a finished suite costs; run by hand: `pytest tests/speed -m speed -s`."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "tests" / "data" / "example"
MODELS = ["oracle", "findings-only", "commonest-text", "chance", "collapsed"]
DRAWS = (50, 60, 70, 80, 90, 100)  # six evaluations that differ


def suite(folder: Path) -> Path:
    """Thirty cells of control models."""
    evaluations = [
        {"task": "retrieval", "dataset": "manifest", "split": "all", "options": {"draws": draws}}
        for draws in DRAWS
    ]
    path = folder / "thirty.json"
    path.write_text(json.dumps({"suite": "s", "models": MODELS, "evaluations": evaluations}))
    return path


def run(folder: Path) -> tuple[float, float, float]:
    """Seconds on the clock, seconds of the processor, and those of an import of the command."""
    command = [sys.executable, "-m", "harness.cli", "run", str(suite(folder)), "--quiet"]
    command += ["--data", f"manifest={EXAMPLE}", "--out", str(folder / "out")]
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    clock, after = time.perf_counter() - began, os.times()
    subprocess.run([*command[:3], "--version"], cwd=REPOSITORY, check=True)
    last = os.times()
    return clock, _children(before, after), _children(after, last)


def _children(before: os.times_result, after: os.times_result) -> float:
    seconds = after.children_user + after.children_system
    return seconds - before.children_user - before.children_system


@pytest.mark.speed
def test_a_finished_suite_of_thirty_cells_is_only_looked_at(tmp_path: Path) -> None:
    first = run(tmp_path)
    records = sorted((tmp_path / "out" / "cells").glob("*/record.json"))
    written = [path.stat().st_mtime_ns for path in records]
    again = run(tmp_path)
    print(f"\nfirst: {first[0]:.2f} s, {first[1]:.2f} s of the processor")
    print(f"again: {again[0]:.2f} s, {again[1]:.2f} s of the processor")
    print(f"`bench --version`: {again[2]:.2f} s of the processor")
    assert len(records) == len(MODELS) * len(DRAWS)
    assert [path.stat().st_mtime_ns for path in records] == written
    assert again[1] < first[1]
