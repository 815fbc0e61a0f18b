"""What ends a process or fails on a disk loses nothing that was said to be stored."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from harness.atomic import TEMPORARY
from harness.errors import BenchError

REPOSITORY = Path(__file__).parents[2]
WRITER = Path(__file__).with_name("faulty_writer.py")


def kill_runs(root: Path, points: list[Any]) -> dict[int, str]:
    """Fate of each run that was not killed from outside: the number of its calls, or "killed 9"."""
    asked = [sys.executable, str(WRITER), str(root), *map(str, points)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(asked, env=environment, check=True, capture_output=True, text=True)
    told = dict(line.split(": ") for line in done.stdout.splitlines())
    return {int(point): fate for point, fate in told.items()}


def check_resumed(writer: ModuleType, root: Path, caplog: pytest.LogCaptureFixture) -> int:
    """Resume with another batch size; the number of samples that still had to be computed."""
    cell = writer.cell_of(root)
    kept = set(cell.done_ids("ranks"))
    finished = cell.finished()
    computed: list[str] = writer.run(root, batch=7)
    assert set(computed) == (set() if finished else set(writer.SAMPLES) - kept)
    record = writer.cell_of(root).record()
    expected = pd.Series([writer.value_of(sample) for sample in writer.SAMPLES]).sum()
    assert record.scores[0].value == expected
    assert record.scores[0].n == len(writer.SAMPLES)
    found, vectors = writer.cache_of(root).get(writer.SAMPLES)
    assert found.all()
    for sample, vector in zip(writer.SAMPLES, vectors, strict=True):
        assert vector.tobytes() == writer.vector_of(sample).tobytes()
    assert not list(root.rglob("quarantine"))
    assert caplog.text == ""
    return len(computed)


def test_a_run_killed_at_any_call_is_resumed_with_the_same_numbers_and_only_the_missing_work(
    tmp_path: Path, writer: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    calls = int(kill_runs(tmp_path, [10**6])[10**6])
    points = list(range(1, calls + 1, 5))
    fates = kill_runs(tmp_path, points)
    assert set(fates.values()) == {f"killed {signal.SIGKILL}"}
    missing = [check_resumed(writer, tmp_path / str(point), caplog) for point in points]
    assert missing[0] == len(writer.SAMPLES)
    assert missing == sorted(missing, reverse=True)
    assert missing[-1] == 0
    assert len(set(missing)) == 6  # nothing, and five batches one after another


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_is_resumed_with_the_same_numbers(
    tmp_path: Path, writer: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    kill_runs(tmp_path, ["moments", 20])
    roots = [tmp_path / str(number) for number in range(1, 21)]
    missing = [check_resumed(writer, root, caplog) for root in roots]
    print("samples still to compute after each kill:", missing)
    assert len(set(missing)) > 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_disk_that_fails_at_any_write_of_a_run_is_told_and_the_run_resumed(
    tmp_path: Path,
    writer: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    call: str,
    code: int,
) -> None:
    real: Callable[..., Any] = getattr(os, call)
    number, ended = 0, False
    while not ended:
        number += 1
        left = [number]

        def failing(*args: Any, left: list[int] = left, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        root = tmp_path / str(number)
        told = ""
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                writer.run(root, batch=12)
            except BenchError as error:
                told = str(error)
        ended = left[0] > 0
        assert ended or (str(root) in told and "--out" in told)
        assert not list(root.rglob(f"*{TEMPORARY}"))
        check_resumed(writer, root, caplog)
    assert number > 5


def test_what_a_killed_writer_left_is_swept_when_the_cell_closes(
    tmp_path: Path, writer: ModuleType
) -> None:
    folder = writer.cell_of(tmp_path).folder / "outcomes"
    folder.mkdir(parents=True)
    (folder / f".ranks-0.parquet.abc{TEMPORARY}").write_bytes(b"half")
    writer.run(tmp_path, batch=12)
    assert len(list(folder.iterdir())) == 1


def test_shards_that_cannot_be_removed_do_no_harm(
    tmp_path: Path, writer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", failing)
        writer.run(tmp_path, batch=12)
    cell = writer.cell_of(tmp_path)
    assert cell.finished()
    assert cell.read("ranks")["sample_id"].tolist() == writer.SAMPLES
