"""Which machine this is and when a process on it began.

The two tell a living process from a dead one whose number was given away again.
"""

import os
import socket
import subprocess
from pathlib import Path

PROC = Path("/proc")


def machine_id() -> str:
    """Host name, boot and process-number space; two processes see each other only if it is equal.

    Containers may share a host name, and a number means another process after a reboot.
    """
    parts = [socket.gethostname()]
    try:
        parts.append((PROC / "sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink(PROC / "self/ns/pid"))
    except OSError:  # not Linux: the host name has to do
        pass
    return "/".join(parts)


def process_start(pid: int) -> str | None:
    """A word for the time process `pid` began, equal whenever it is asked; None if it is not alive.

    A process that has ended but was not yet collected by its parent is not alive.
    """
    if (PROC / "self/stat").exists():
        try:
            # The name in parentheses may hold anything; fields are counted after it (man 5 proc).
            fields = (
                (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
            )
        except OSError:
            return None
        return None if fields[0] in "ZXx" else fields[19]
    asked = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None
