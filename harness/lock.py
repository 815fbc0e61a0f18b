"""One writer per folder: an advisory lock that says who holds it, and survives its holder's death.

The lock is a small JSON file that its holder touches every few seconds (the heartbeat). A holder on
this machine is judged by its process; one on another machine by whether its heartbeat is *seen* to
stop, timed by this process's monotonic clock: no wall clock, set forward or back, breaks a lock.
"""

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import filelock

from harness import atomic
from harness.errors import BenchError
from harness.process_start import machine_id, process_start

LOG = logging.getLogger(__name__)

BEAT = 5.0  # seconds between heartbeats
STALE = 60.0  # seconds without one after which a holder on another machine counts as dead


class RunLock:
    """A context manager that holds `path` for this process.

    Args:
        path: the lock file, e.g. `runs/retrieval/.lock`; its folder is made.
        wait: wait until it is free; otherwise raise if another run holds it. (A lock of another
            machine that looks older than `stale` is watched for three beats before it is broken.)
        beat: seconds between heartbeats.
        stale: seconds; at least three beats.

    Raises:
        BenchError: on entering, if another run holds it and `wait` is false, or the folder cannot
            be written to.
    """

    def __init__(
        self, path: Path | str, *, wait: bool = False, beat: float = BEAT, stale: float = STALE
    ):
        if stale < 3 * beat:
            raise ValueError(f"stale {stale} s must be at least three beats of {beat} s")
        self.path = Path(path)
        self.wait = wait
        self.beat = beat
        self.stale = stale
        self._token = ""
        self._pid = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "RunLock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock, waiting or refusing as `wait` says, and start the heartbeat."""
        watch, told = _Watch(self.stale if self.wait else 3 * self.beat), False
        while True:
            with self._guard():
                owner = _read_owner(self.path)
                watch.look(owner)
                if self._free(owner, watch):
                    self._take(owner)
                    return
                seen_alive = owner.is_here() or watch.changes or self._age() < self.stale
                if seen_alive and not self.wait:
                    raise BenchError(self._taken(owner))
            if not told:
                LOG.warning("Waiting. %s", self._taken(owner))
                told = True
            time.sleep(min(self.beat / 2, 1.0))

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held by this process."""
        if not self._token or os.getpid() != self._pid:
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(BenchError, OSError), self._guard():
            if self.held():
                self.path.unlink()
        self._token = ""

    def held(self) -> bool:
        """Whether this object still holds it: false after a release, or if another run broke it."""
        return bool(self._token) and _read_owner(self.path).token == self._token

    def _free(self, owner: "_Owner", watch: "_Watch") -> bool:
        if not owner.exists:
            return True
        return not owner.is_alive() if owner.is_here() else watch.stopped()

    def _take(self, previous: "_Owner") -> None:
        if previous.exists:
            LOG.warning("%s: the run that held it is dead (%s).", self.path, previous.name())
        self._token, self._pid = secrets.token_hex(8), os.getpid()
        owner = {
            "token": self._token,
            "pid": self._pid,
            "process_start": process_start(self._pid),
            "host": socket.gethostname(),
            "machine": machine_id(),
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        atomic.write_json(self.path, owner)
        self._stop.clear()
        self._thread = threading.Thread(target=self._beat, name="lock heartbeat", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._stop.wait(self.beat):
            if _read_owner(self.path).token != self._token:
                LOG.warning("%s: another run has taken the lock from this one.", self.path)
                return
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def _age(self) -> float:
        """Seconds since the last heartbeat by the clock of the file system, which stamps both."""
        probe = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}{atomic.TEMPORARY}")
        try:
            probe.touch()
            return probe.stat().st_mtime - self.path.stat().st_mtime
        except OSError:
            return 0.0
        finally:
            probe.unlink(missing_ok=True)

    def _taken(self, owner: "_Owner") -> str:
        return (
            f"{self.path.parent}: another run is at work here ({owner.name()}). One run at a time "
            "may write to a folder. Wait until it ends, or name another folder with --out. (A run "
            f"that died on another machine is found out {self.stale:.0f} s after its last sign of "
            "life.)"
        )

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        # Looking, breaking and taking must be one step. Where a file system has no flock, two runs
        # that break the same stale lock in the same instant may both go on: shards cannot clash.
        guard = filelock.FileLock(f"{self.path}.guard", timeout=30)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            guard.acquire()
        except NotImplementedError:
            yield
            return
        except filelock.Timeout as error:
            raise BenchError(
                f"{self.path}.guard: held for 30 s. Remove it if no run is at work."
            ) from error
        except OSError as error:
            raise atomic.write_error(self.path, error) from error
        try:
            yield
        finally:
            guard.release()


@dataclass(frozen=True)
class _Owner:
    """What the lock file says; `pulse` changes with every heartbeat."""

    exists: bool
    pulse: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def token(self) -> str:
        return str(self.fields.get("token", ""))

    def is_here(self) -> bool:
        return self.fields.get("machine") == machine_id()

    def is_alive(self) -> bool:
        pid = self.fields.get("pid")
        if type(pid) is not int:  # damaged: nobody that could be asked
            return False
        start = process_start(pid)
        return start is not None and start == self.fields.get("process_start")

    def name(self) -> str:
        told = self.fields
        return f"process {told.get('pid')} on {told.get('host')}, since {told.get('started')}"


class _Watch:
    """Whether a heartbeat has been seen to stop, by this process's monotonic clock."""

    def __init__(self, patience: float):
        self.changes = 0
        self._patience = patience
        self._pulse: str | None = None
        self._since = time.monotonic()

    def look(self, owner: _Owner) -> None:
        if owner.pulse != self._pulse:
            self.changes += self._pulse is not None
            self._pulse, self._since = owner.pulse, time.monotonic()

    def stopped(self) -> bool:
        return time.monotonic() - self._since >= self._patience


def _read_owner(path: Path) -> _Owner:
    try:
        modified = path.stat().st_mtime_ns
        fields = json.loads(path.read_bytes())
    except FileNotFoundError:
        return _Owner(exists=False)
    except (OSError, ValueError):
        return _Owner(exists=True, pulse="unreadable")
    fields = fields if isinstance(fields, dict) else {}
    return _Owner(exists=True, pulse=f"{fields.get('token')} {modified}", fields=fields)
