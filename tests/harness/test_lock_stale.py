"""Whose lock is broken: the living are respected, the dead are not waited for."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.errors import BenchError
from harness.lock import RunLock
from harness.process_start import machine_id, process_start
from tests.harness.locks import BEAT, holder, lock, owned_by


def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


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


def test_a_process_that_ended_but_was_not_collected_is_not_alive() -> None:
    assert process_start(os.getpid()) is not None
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert process_start(ended.pid) is None
