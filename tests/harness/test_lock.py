"""One writer per folder: held inside, given back after, waited for, and never by two."""

import json
import os
import threading
from pathlib import Path

import filelock
import pytest

from harness.errors import BenchError
from harness.lock import RunLock
from tests.harness.locks import BEAT, holder, lock, owned_by


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
