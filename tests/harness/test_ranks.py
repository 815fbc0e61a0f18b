"""Processes that share a cell: each does its part, and the numbers are those of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import many_processes
import pandas as pd
import pytest
from many_processes import EXAMPLE, bench

from harness.ranks import ALONE, Ranks
from harness.store import Store

HERE = Path(__file__).parent
COLUMNS = ["model", "task", "group", "metric", "value", "low", "high", "n", "status"]


def suite(folder: Path, *models: Any) -> str:
    tasks = ("retrieval", "grounding")
    asked = [
        {"task": t, "dataset": "manifest", "split": "all", "options": {"draws": 20}} for t in tasks
    ]
    path = folder / "ranks.yaml"
    path.write_text(json.dumps({"suite": "ranks", "models": models, "evaluations": asked}))
    return str(path)


def code(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "use": f"suite_models:{name}", "options": options}


def run(path: str, out: Path, *, processes: int = 1, cache: Path | None = None) -> list[int]:
    arguments = ["run", path, "--data", f"manifest={EXAMPLE}", "--out", str(out)]
    folder = cache or out.with_name(f"{out.name}-cache")
    return bench(arguments, processes=processes, BENCH_CACHE=str(folder))


def board(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "leaderboard.csv", keep_default_na=False)


def test_a_lone_process_has_everything_and_waits_for_nobody() -> None:
    assert ALONE.share([1, 2, 3]) == [1, 2, 3]
    assert ALONE.from_first("x") == "x"
    with pytest.raises(RuntimeError), ALONE.together():
        raise RuntimeError


def test_shares_are_disjoint_and_leave_nothing_out() -> None:
    shares = [Ranks(rank, 3).share(range(10)) for rank in range(3)]
    assert sorted(item for share in shares for item in share) == list(range(10))
    assert max(map(len, shares)) - min(map(len, shares)) == 1


def test_two_processes_do_the_work_once_and_one_that_fails_fails_its_cell_only(
    tmp_path: Path,
) -> None:
    def models(log: str) -> list[Any]:
        shuffled = {"name": "mixed", "use": "shuffled", "options": {"model": code("pixels")}}
        logged = [code("pixels", log=str(tmp_path / f"{log}-images"))]
        logged += [code("boxer", log=str(tmp_path / f"{log}-phrases"))]
        return ["oracle", "chance", "nothing", code("raises_on", rank="1"), *logged, shuffled]

    assert run(suite(tmp_path, *models("two")), tmp_path / "two", processes=2) == [1, 0]
    assert run(suite(tmp_path, *models("one")), tmp_path / "one") == [0]
    two, one = board(tmp_path / "two"), board(tmp_path / "one")
    fails = two[(two.model == "raises_on") & (two.task == "retrieval")]
    assert fails.status.tolist() == ["failed"]
    assert "process 1: RuntimeError" in fails.reason.iloc[0]
    same = two[two.model != "raises_on"][COLUMNS].reset_index(drop=True)
    expected = one[one.model != "raises_on"][COLUMNS].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, expected)
    for what in ("images", "phrases"):
        counted = {
            run: sum(map(int, (tmp_path / f"{run}-{what}").read_text().split()))
            for run in ("one", "two")
        }
        assert counted["one"] == counted["two"]
    both = {r.model.name for r in Store(tmp_path / "two").records() if r.status == "ok"}
    assert both >= {"oracle", "pixels", "boxer", "mixed"}


# --cpu would start one process alone; this way there are two, and no GPU is asked for.
LAUNCH = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"


@pytest.mark.slow
def test_accelerate_launch_gives_the_numbers_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    path = suite(tmp_path, "oracle", code("rounding"), code("boxer"), code("placed", log=str(seen)))
    repository = many_processes.REPOSITORY
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(repository), str(HERE)]))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    command = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCH.split()]
    command += ["--main_process_port", "0"]
    command += ["-m", "harness.cli", "run", path, "--data", f"manifest={EXAMPLE}", "--quiet"]
    command += ["--out", str(tmp_path / "two"), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(seen.read_text().splitlines()) == {"0 of 2", "1 of 2"}
    seen.unlink()
    assert run(path, tmp_path / "one") == [0]
    assert set(seen.read_text().splitlines()) == {"0 of 1"}
    two, one = board(tmp_path / "two")[COLUMNS], board(tmp_path / "one")[COLUMNS]
    pd.testing.assert_frame_equal(two, one)
