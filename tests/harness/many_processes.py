"""`bench` as one or several processes that share each cell, as `accelerate launch` starts them."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
EXAMPLE = HERE.parent / "data" / "example"

# Small shards, so that a dozen images are several; die at the n-th file that is put in its place.
SCRIPT = """
import os, signal, sys
sys.path[:0] = [{here!r}, {repository!r}]
import harness.tasks.embedding as embedding, harness.tasks.grounding as grounding
embedding.SHARD, grounding.SHARD = 3, 4
replace, left = os.replace, [int(os.environ.get("DIE_AT", "-1"))]
def replace_or_die(*args, **kwargs):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*args, **kwargs)
    if "COUNT" in os.environ:
        with open(os.environ["COUNT"], "a") as file:
            file.write("x")
os.replace = replace_or_die
from harness.cli import main
main()
"""


def bench(arguments: Sequence[str], *, processes: int = 1, **environment: str) -> list[int]:
    """The exit codes of that many processes of `bench`."""
    script = SCRIPT.format(here=str(HERE), repository=str(REPOSITORY))
    command = [sys.executable, "-c", script, *arguments, "--device", "cpu", "--quiet"]
    port = _free_port()
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, **environment, **_place(rank, processes, port)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(processes)
    ]
    return [process.wait() for process in started]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _place(rank: int, world: int, port: int) -> dict[str, str]:
    if world == 1:
        return {}
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
