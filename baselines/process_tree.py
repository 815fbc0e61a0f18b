"""A process and all that it started, ended together.

A worker stays in our process group: whoever ends that group, or counts its memory, means the worker
too (`harness.isolate`). So it cannot be ended by a group of its own, and its tree is walked.
"""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

PROC = Path("/proc")


def end_tree(process: Any) -> None:
    """End a `subprocess.Popen` and its descendants at once; no error if they have ended.

    `sh -c "conda run ..."` hands the work to grandchildren, which outlive the shell.
    """
    below = _descendants(process.pid)  # asked first: what loses its parent can no longer be found
    process.kill()
    for pid in below:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _descendants(root: int) -> list[int]:
    parents = _parents()
    found = [root]
    for known in found:  # grows while it is read
        found += [pid for pid, parent in parents.items() if parent == known]
    return found[1:]


def _parents() -> dict[int, int]:
    """The parent of each process that is running."""
    if (PROC / "self/stat").exists():
        named = ((folder.name, _parent_of(folder)) for folder in PROC.glob("[0-9]*"))
        return {int(pid): parent for pid, parent in named if parent is not None}
    asked = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False
    )
    return {int(pid): int(parent) for pid, parent in map(str.split, asked.stdout.splitlines())}


def _parent_of(folder: Path) -> int | None:
    try:
        # Fields after the name in parentheses: state, parent (man 5 proc).
        return int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError):  # it has ended
        return None
