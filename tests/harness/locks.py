"""Locks that beat fast, one that another process wrote, and a process that holds one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
