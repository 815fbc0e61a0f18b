"""A run that is killed anywhere goes on where it stopped, run another way, to the same numbers."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from many_processes import EXAMPLE, bench
from safetensors import safe_open

POINTS = 20
COLUMNS = ["model", "task", "direction", "relevance", "group", "metric", "value", "low", "high"]


class Killed:
    """One suite whose models log how much they were asked, run into one folder."""

    def __init__(self, top: Path):
        top.mkdir()
        self.out, self.cache = top / "out", top / "cache"
        self.logs = {"pixels": top / "images.log", "boxer": top / "phrases.log"}
        models = [
            {"name": n, "use": f"suite_models:{n}", "options": {"log": str(log)}}
            for n, log in self.logs.items()
        ]
        evaluations = [
            {"task": t, "dataset": "manifest", "split": "all", "options": {"draws": 20}}
            for t in ("retrieval", "grounding")
        ]
        self.suite = top / "suite.json"
        content = {"suite": "s", "models": ["oracle", *models], "evaluations": evaluations}
        self.suite.write_text(json.dumps(content))

    def run(self, *, batch: int, processes: int = 1, **environment: str) -> list[int]:
        arguments = ["run", str(self.suite), "--data", f"manifest={EXAMPLE}"]
        arguments += ["--out", str(self.out), "--batch-size", str(batch)]
        return bench(arguments, processes=processes, BENCH_CACHE=str(self.cache), **environment)

    def asked(self) -> dict[str, int]:
        """Images and phrases the models were given so far."""
        return {
            name: sum(map(int, log.read_text().split())) if log.exists() else 0
            for name, log in self.logs.items()
        }

    def stored(self) -> dict[str, int]:
        """Images and phrases whose answers are on disk."""
        phrases = {
            name
            for path in self.out.glob("cells/grounding-*boxer*/outcomes/boxes-*.parquet")
            for name in pq.read_table(path).column("sample_id").to_pylist()
        }
        images = {row for path in self._vectors() for row in _rows(path)}
        return {"pixels": len(images), "boxer": len(phrases)}

    def board(self) -> pd.DataFrame:
        return pd.read_csv(self.out / "leaderboard.csv", keep_default_na=False)[COLUMNS]

    def _vectors(self) -> Iterator[Path]:
        return self.cache.glob("embeddings/*-image-*/*.safetensors")


def _rows(path: Path) -> list[bytes]:
    with safe_open(path, "numpy") as file:
        return [row.tobytes() for row in file.get_tensor("ids")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Killed, int]:
    """A run nobody killed, and how many files it put in their place."""
    top = tmp_path_factory.mktemp("whole")
    run = Killed(top / "run")
    assert run.run(batch=2, COUNT=str(top / "count")) == [0]
    assert run.asked() == run.stored()
    return run, len((top / "count").read_text())


def check(top: Path, whole: tuple[Killed, int], point: int, *, number: int) -> None:
    calm, _ = whole
    run = Killed(top / "run")
    # a rename that is never done, or the moment before it: the file is written and not yet there
    assert run.run(batch=2, DIE_AT=str(point)) == [-9]
    before, stored = run.asked(), run.stored()
    processes = 1 + number % 2
    assert run.run(batch=3 + number % 5, processes=processes) == [0] * processes
    whole_asked = calm.asked()
    for name, count in run.asked().items():
        assert count - before[name] == whole_asked[name] - stored[name], name
    pd.testing.assert_frame_equal(run.board(), calm.board())


def points(count: int, most: int) -> list[int]:
    return random.Random(20261123).sample(range(1, most + 1), count)


@pytest.mark.parametrize("number", range(2))
def test_a_killed_run_ends_at_the_same_numbers(
    tmp_path: Path, whole: tuple[Killed, int], number: int
) -> None:
    check(tmp_path, whole, points(2, whole[1])[number], number=number)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(POINTS))
def test_a_run_killed_at_twenty_points_ends_at_the_same_numbers(
    tmp_path: Path, whole: tuple[Killed, int], number: int
) -> None:
    check(tmp_path, whole, points(POINTS, whole[1])[number], number=number)
