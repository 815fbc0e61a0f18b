"""Whatever a model does in a process of its own, the caller goes on and knows what happened."""

import importlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from harness import isolate
from harness.isolate import Limits, run_isolated
from harness.process_memory import group_memory, kills_for_memory
from harness.process_start import process_start

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def unruly(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("unruly")


def eventually(holds: Callable[[], bool]) -> bool:
    return any(holds() or threading.Event().wait(0.02) for _ in range(1000))


def test_an_answer_comes_from_another_process_without_torch(unruly: ModuleType) -> None:
    ended = run_isolated(unruly.answer, 1, "two")
    assert ended.status == "ok"
    assert ended.value[:2] == (1, "two")
    assert ended.value[2] != os.getpid()
    assert ended.value[3] is False
    assert ended.seconds > 0


def test_messages_are_heard_in_order(unruly: ModuleType) -> None:
    heard: list[int] = []
    assert run_isolated(unruly.count, 500, heard=heard.append).value == 500
    assert heard == list(range(500))
    assert run_isolated(unruly.count, 5).status == "ok"


def test_an_error_is_named_with_its_place(unruly: ModuleType) -> None:
    ended = run_isolated(unruly.fail, "bad weights")
    assert ended.status == "failed"
    assert ended.reason.startswith("RuntimeError: bad weights (at unruly.py:")
    assert ended.value is None


def test_a_private_error_tells_no_message(unruly: ModuleType) -> None:
    ended = run_isolated(unruly.fail, "Large left effusion", private=True)
    assert ended.reason.startswith("RuntimeError (at unruly.py:")


@pytest.mark.parametrize("kind", ["python", "torch"])
def test_an_allocation_that_fails_is_out_of_memory(unruly: ModuleType, kind: str) -> None:
    assert run_isolated(unruly.exhaust, kind).status == "out_of_memory"


def test_a_segmentation_fault_is_named_with_its_place(unruly: ModuleType) -> None:
    ended = run_isolated(unruly.segfault)
    assert ended.status == "failed"
    assert "segmentation fault (signal 11) in string_at" in ended.reason


def test_an_abort_is_named(unruly: ModuleType) -> None:
    ended = run_isolated(unruly.kill_itself, int(signal.SIGABRT))
    assert ended.status == "failed"
    assert "signal 6" in ended.reason
    assert "in kill_itself (unruly.py:" in ended.reason


def test_a_kill_is_for_memory_only_if_the_system_says_so(
    unruly: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([4, 5])
    monkeypatch.setattr(isolate, "kills_for_memory", lambda: next(counts))
    ended = run_isolated(unruly.kill_itself, int(signal.SIGKILL))
    assert ended.status == "out_of_memory"
    monkeypatch.setattr(isolate, "kills_for_memory", lambda: 5)
    ended = run_isolated(unruly.kill_itself, int(signal.SIGKILL))
    assert (ended.status, "signal 9" in ended.reason) == ("failed", True)


@pytest.mark.parametrize("code", [0, 3])
def test_a_process_that_leaves_without_an_answer_has_failed(unruly: ModuleType, code: int) -> None:
    ended = run_isolated(unruly.leave, code)
    assert (ended.status, f"exit code {code}" in ended.reason) == ("failed", True)


def test_sys_exit_is_a_failure(unruly: ModuleType) -> None:
    assert run_isolated(unruly.leave_with, 0).status == "failed"


def test_an_answer_that_cannot_be_sent_is_a_failure(unruly: ModuleType) -> None:
    ended = run_isolated(unruly.unpicklable)
    assert ended.status == "failed"
    assert "lambda" in ended.reason


@pytest.mark.parametrize("name", ["hang", "ignore_signals"])
def test_what_hangs_ends_at_its_time(unruly: ModuleType, name: str) -> None:
    ended = run_isolated(getattr(unruly, name), limits=Limits(seconds=0.5))
    assert (ended.status, ended.reason) == ("timeout", "not done after 0.5 s")


def test_the_workers_of_what_is_interrupted_end_with_it(unruly: ModuleType) -> None:
    started: list[int] = []

    def interrupt(worker: int) -> None:
        started.append(worker)
        assert process_start(worker) is not None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_isolated(unruly.hang_in_a_worker, heard=interrupt)
    assert eventually(lambda: process_start(started[0]) is None)


def test_what_takes_more_memory_than_it_may_is_ended(unruly: ModuleType) -> None:
    ended = run_isolated(unruly.swallow, 400 << 20, limits=Limits(memory=300 << 20))
    assert ended.status == "out_of_memory"
    assert "more than its 0.29 GiB" in ended.reason
    assert 300 << 20 < ended.peak_memory < 2000 << 20


def test_an_answer_counts_though_the_process_does_not_end(
    unruly: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolate, "GRACE", 0.3)
    ended = run_isolated(unruly.answer_and_hang)
    assert (ended.status, ended.value) == ("ok", "done")


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "child"
    code = f"import unruly; unruly.start_and_wait({str(file)!r})"
    paths = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)])
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}
    ) as parent:
        assert eventually(lambda: file.exists() and file.read_text() != "")
        child = int(file.read_text())
        assert process_start(child) is not None
        parent.kill()
    assert eventually(lambda: process_start(child) is None)


def test_arguments_that_cannot_be_sent_are_refused_here(unruly: ModuleType) -> None:
    with pytest.raises((AttributeError, TypeError)):
        run_isolated(unruly.answer, lambda: None)


def test_memory_of_a_group_is_that_of_its_processes() -> None:
    hold = "x = bytearray(80 << 20); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        whole = group_memory(process.pid)
        shares = group_memory(process.pid, cap=0)
        process.stdin.write(b"\n")
    assert 80 << 20 < shares <= whole < 200 << 20
    assert group_memory(process.pid) == 0


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps")
def test_memory_is_seen_without_proc_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = group_memory(os.getpgrp())
    monkeypatch.setattr("harness.process_memory.PROC", tmp_path)
    assert kills_for_memory() is None
    assert 0.5 * known < group_memory(os.getpgrp()) < 2 * known


def test_processes_that_end_while_they_are_counted_count_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.process_memory.PROC", tmp_path)
    for name, stat in (("self", "1 (x) S 1 7"), ("8", "8 (a b) S 1 7 7"), ("9", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stat").write_text(stat)
    (tmp_path / "10").mkdir()
    assert group_memory(7) == 0
    (tmp_path / "8" / "status").write_text("Name:\tx\nVmRSS:\t   12 kB\n")
    assert group_memory(7) == 12 * 1024


def test_the_kernels_count_is_a_number_or_unknown() -> None:
    kills = kills_for_memory()
    assert kills is None or kills >= 0
