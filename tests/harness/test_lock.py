"""One writer per folder: the living are respected, the dead are not waited for."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import pytest

from harness.errors import BenchError
from harness.lock import RunLock
from harness.process_start import machine_id, process_start

BEAT, STALE = 0.02, 0.06
REPOSITORY = Path(__file__).parents[2]
HOLDER = """
import sys
from harness.lock import RunLock
with RunLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def lock(file: Path, *, wait: bool = False, stale: float = STALE) -> RunLock:
    return RunLock(file, wait=wait, beat=BEAT, stale=stale)


def owned_by(file: Path, **changes: object) -> None:
    """Write a lock file as if another process had."""
    owner = {
        "token": "other",
        "pid": os.getpid(),
        "process_start": process_start(os.getpid()),
        "host": "a-host",
        "machine": machine_id(),
        "started": "2026-01-01T00:00:00+00:00",
    }
    file.write_text(json.dumps(owner | changes))


def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


@contextmanager
def holder(file: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lock until it is killed or the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_lock_is_held_inside_and_gone_after(tmp_path: Path) -> None:
    with lock(tmp_path / "runs" / ".lock") as held:
        assert held.held()
        owner = json.loads(held.path.read_text())
        assert owner["pid"] == os.getpid()
    assert not held.held()
    assert not held.path.exists()


def test_a_lock_is_given_back_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), lock(tmp_path / "l"):
        raise KeyboardInterrupt
    with lock(tmp_path / "l"):
        pass


def test_a_second_run_is_told_who_holds_it_and_what_to_do(tmp_path: Path) -> None:
    with holder(tmp_path / "l") as process:
        with pytest.raises(BenchError) as raised, lock(tmp_path / "l"):
            pass
        for word in (str(process.pid), str(tmp_path), "--out"):
            assert word in str(raised.value)


def test_a_killed_holder_is_found_out_at_once(tmp_path: Path) -> None:
    with holder(tmp_path / "l") as process:
        process.kill()
        process.wait()
        with lock(tmp_path / "l", stale=3600.0) as held:
            assert held.held()


def test_a_lock_of_a_dead_process_is_broken_though_its_heartbeat_lies_in_the_future(
    tmp_path: Path,
) -> None:
    file = tmp_path / "l"
    owned_by(file, pid=dead_pid())
    os.utime(file, (time.time() + 3600, time.time() + 3600))
    with lock(file, stale=3600.0) as held:
        assert held.held()


def test_a_process_number_given_away_again_does_not_keep_a_dead_lock(tmp_path: Path) -> None:
    owned_by(tmp_path / "l", process_start="before the flood")
    with lock(tmp_path / "l") as held:
        assert held.held()


def test_a_living_holder_is_respected_whatever_the_clock_says(tmp_path: Path) -> None:
    file = tmp_path / "l"
    with holder(file):
        for shift in (-1e6, 1e6):
            os.utime(file, (time.time() + shift, time.time() + shift))
            with pytest.raises(BenchError), lock(file):
                pass


def test_a_fresh_lock_of_another_machine_is_respected(tmp_path: Path) -> None:
    owned_by(tmp_path / "l", machine="elsewhere", pid=dead_pid())
    with pytest.raises(BenchError), lock(tmp_path / "l", stale=3600.0):
        pass


def test_a_lock_of_another_machine_without_a_heartbeat_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "l"
    owned_by(file, machine="elsewhere")
    os.utime(file, (time.time() - 1000, time.time() - 1000))
    with lock(file) as held:
        assert held.held()


def test_a_beating_lock_of_a_machine_whose_clock_is_an_hour_late_is_respected(
    tmp_path: Path,
) -> None:
    file, stop = tmp_path / "l", threading.Event()
    owned_by(file, machine="elsewhere")
    os.utime(file, (1e9, 1e9))

    def beat() -> None:
        for number in range(10**6):
            os.utime(file, (1e9 + number, 1e9 + number))
            if stop.wait(BEAT / 4):
                return

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(BenchError), RunLock(file, beat=0.5, stale=2.0):
            pass
    finally:
        stop.set()
        thread.join()


def test_a_clock_set_back_delays_but_does_not_stop_one_who_waits(tmp_path: Path) -> None:
    file = tmp_path / "l"
    owned_by(file, machine="elsewhere")
    os.utime(file, (time.time() + 1e6, time.time() + 1e6))
    with pytest.raises(BenchError), lock(file):
        pass
    with lock(file, wait=True) as held:
        assert held.held()


def test_one_who_waits_gets_the_lock_when_it_is_given_back(tmp_path: Path) -> None:
    first = lock(tmp_path / "l")
    first.acquire()
    order: list[str] = []

    def second() -> None:
        with lock(tmp_path / "l", wait=True):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    order.append("first")
    first.release()
    thread.join()
    assert order == ["first", "second"]


def test_the_heartbeat_moves(tmp_path: Path) -> None:
    with lock(tmp_path / "l") as held:
        before = held.path.stat().st_mtime_ns
        watched = threading.Event()
        for _ in range(500):
            if held.path.stat().st_mtime_ns != before:
                watched.set()
                break
            threading.Event().wait(BEAT)
        assert watched.is_set()


def test_a_holder_whose_lock_was_taken_knows_it_and_leaves_the_new_one_alone(
    tmp_path: Path,
) -> None:
    first = lock(tmp_path / "l")
    first.acquire()
    owned_by(tmp_path / "l")
    assert not first.held()
    first.release()
    assert (tmp_path / "l").exists()


def test_a_holder_whose_lock_was_taken_stops_beating_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with lock(tmp_path / "l") as held:
        owned_by(tmp_path / "l")
        assert held._thread is not None
        held._thread.join()
    assert "has taken the lock" in caplog.text


def test_a_lock_works_where_the_file_system_has_no_flock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(filelock.FileLock, "acquire", missing)
    with lock(tmp_path / "l") as held:
        assert held.held()
        with pytest.raises(BenchError), lock(tmp_path / "l"):
            pass
    assert not held.path.exists()


def test_a_guard_that_is_never_free_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(guard: filelock.FileLock) -> None:
        raise filelock.Timeout(guard.lock_file)

    monkeypatch.setattr(filelock.FileLock, "acquire", busy)
    with pytest.raises(BenchError, match="guard"), lock(tmp_path / "l"):
        pass


def test_a_clock_that_cannot_be_read_makes_no_lock_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "l"
    owned_by(file, machine="elsewhere")
    os.utime(file, (1e9, 1e9))

    def failing(*_: object, **__: object) -> None:
        raise PermissionError(13, "closed")

    monkeypatch.setattr(Path, "touch", failing)
    with pytest.raises(BenchError), lock(file):
        pass


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps")
def test_processes_are_told_apart_without_proc_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = dead_pid()
    monkeypatch.setattr("harness.process_start.PROC", tmp_path)
    assert machine_id() == socket.gethostname()
    assert process_start(os.getpid()) == process_start(os.getpid()) != process_start(1)
    assert process_start(gone) is None
    with lock(tmp_path / "l"), pytest.raises(BenchError), lock(tmp_path / "l"):
        pass


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"[1]", b'{"token": "x"'])
def test_a_damaged_lock_file_is_waited_for_and_broken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "l").write_bytes(content)
    with lock(tmp_path / "l", wait=True) as held:
        assert held.held()


@pytest.mark.parametrize("pid", ["x", None, [1], 1.5, True])
def test_a_lock_of_this_machine_without_a_process_number_is_broken_at_once(
    tmp_path: Path, pid: object
) -> None:
    owned_by(tmp_path / "l", pid=pid)
    with lock(tmp_path / "l") as held:
        assert held.held()


def test_a_child_process_does_not_give_back_the_lock_of_its_parent(tmp_path: Path) -> None:
    with lock(tmp_path / "l") as held:
        held._pid += 1  # as seen from a fork
        held.release()
        held._pid -= 1
        assert held.held()


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="file"), lock(tmp_path / "file" / "l"):
        pass


def test_a_stale_time_shorter_than_three_beats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="three beats"):
        RunLock(tmp_path / "l", beat=5.0, stale=10.0)


def test_a_process_that_ended_but_was_not_collected_is_not_alive() -> None:
    assert process_start(os.getpid()) is not None
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert process_start(ended.pid) is None
