"""How much memory a group of processes uses, and whether the system has run out of it."""

import os
import subprocess
from pathlib import Path

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup/memory.max")  # of a container, version 2


def group_memory(group: int, cap: int | None = None) -> int:
    """Bytes resident in all processes of process group `group`.

    Pages that forked workers share are counted once per process, which is quick but too much; where
    that sum exceeds `cap`, they are counted in shares (PSS, Linux only) before it is believed.
    """
    if not (PROC / "self/stat").exists():
        return _group_memory_by_ps(group)
    members = [folder for folder in PROC.glob("[0-9]*") if _group_of(folder) == group]
    resident = sum(_kilobytes(folder / "status", "VmRSS:") for folder in members) * 1024
    if cap is None or resident <= cap:
        return resident
    shares = [_kilobytes(folder / "smaps_rollup", "Pss:") for folder in members]
    return sum(shares) * 1024 or resident


def machine_memory() -> int:
    """Bytes that all processes here may use together: the machine's, or less in a container."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(whole, int(CGROUP.read_text()))
    except (OSError, ValueError):  # no container, or one that may use "max"
        return whole


def kills_for_memory() -> int | None:
    """How often the kernel has killed for want of memory since boot; None if it does not say."""
    try:
        lines = (PROC / "vmstat").read_text().splitlines()
    except OSError:
        return None
    counts = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
    return int(counts[0]) if counts else None


def _group_of(folder: Path) -> int:
    try:
        # Fields after the name in parentheses: state, parent, process group (man 5 proc).
        return int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[2])
    except (OSError, IndexError):  # it has ended
        return -1


def _kilobytes(file: Path, label: str) -> int:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:  # it has ended, or belongs to somebody else
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(label))


def _group_memory_by_ps(group: int) -> int:
    asked = subprocess.run(
        ["ps", "-A", "-o", "pgid=,rss="], capture_output=True, text=True, check=False
    )
    rows = (line.split() for line in asked.stdout.splitlines())
    return sum(int(row[1]) for row in rows if len(row) == 2 and row[0] == str(group)) * 1024
