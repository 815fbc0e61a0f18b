"""Models that misbehave in every way, for `test_isolate`; each is called in its own process."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Tell = Callable[[Any], None]


class OutOfMemoryError(RuntimeError):
    """As torch's."""


def answer(_: Tell, *args: Any) -> tuple[Any, ...]:
    return (*args, os.getpid(), "torch" in sys.modules)


def count(tell: Tell, number: int) -> int:
    for step in range(number):
        tell(step)
    return number


def fail(_: Tell, text: str) -> None:
    raise RuntimeError(text)


def leave(_: Tell, code: int) -> None:
    os._exit(code)


def exhaust(_: Tell, kind: str) -> None:
    raise {"python": MemoryError, "torch": OutOfMemoryError}[kind]("no room")


def segfault(_: Tell) -> None:
    ctypes.string_at(0)


def kill_itself(_: Tell, number: int) -> None:
    os.kill(os.getpid(), number)


def hang(_: Tell) -> None:
    while True:
        time.sleep(60)


def hang_in_a_worker(tell: Tell) -> None:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    tell(worker.pid)
    worker.wait()


def swallow(_: Tell, size: int) -> None:
    held = []
    while True:
        held.append(b"\1" * (size // 10))
        time.sleep(0.05)


def answer_and_hang(_: Tell) -> str:
    threading.Thread(target=hang, args=(None,)).start()
    return "done"


def unpicklable(_: Tell) -> Any:
    return lambda: None


def leave_with(_: Tell, code: int) -> None:
    sys.exit(code)


def start_and_wait(file: str) -> None:
    """A parent with an isolated child that never ends."""
    from harness.isolate import run_isolated

    run_isolated(note_and_hang, Path(file))


def note_and_hang(_: Tell, file: Path) -> None:
    file.write_text(str(os.getpid()))
    hang(_)


def ignore_signals(_: Tell) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hang(_)


def quote(_: Tell, *__: Any) -> None:
    raise RuntimeError("the report says: slithy consolidation")
