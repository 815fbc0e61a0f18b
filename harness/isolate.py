"""A function in a process of its own: whatever it does, the caller goes on and knows what happened.

The child is spawned, never forked: it inherits no CUDA context and no half-held lock, and its end
gives back all memory, the GPU's too. It leads its own process group, so its workers end with it.
"""

import faulthandler
import multiprocessing
import os
import pickle
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from harness.hidden import place_of
from harness.process_memory import group_memory, kills_for_memory, machine_memory

Fate = Literal["ok", "failed", "timeout", "out_of_memory"]
TICK = 0.2  # seconds between two looks at memory: some 500 MB at the speed of page faults
GRACE = 10.0  # seconds a child may take to end after it has answered
USUAL_SECONDS = 3 * 24 * 3600.0  # of an isolated cell: a weekend, and then somebody should look
USUAL_SHARE = 0.9  # of the machine's memory: before the system chooses a process to kill


@dataclass(frozen=True)
class Limits:
    """What a child may use: wall-clock seconds and resident bytes, its workers included."""

    seconds: float | None = None
    memory: int | None = None


def usual_limits(given: Limits) -> Limits:
    """The limits given, and where one is not: three days, nine tenths of the machine's memory."""
    return Limits(
        seconds=USUAL_SECONDS if given.seconds is None else given.seconds,
        memory=int(USUAL_SHARE * machine_memory()) if given.memory is None else given.memory,
    )


@dataclass(frozen=True)
class Ended:
    """How a child ended. `value` is what the function returned, None unless `status` is "ok"."""

    status: Fate
    reason: str = ""
    value: Any = None
    seconds: float = 0.0
    peak_memory: int = 0  # bytes resident, seen about every `TICK`; 0 if never


def run_isolated(
    function: Callable[..., Any],
    *args: Any,
    limits: Limits | None = None,
    heard: Callable[[Any], None] | None = None,
    private: bool = False,
) -> Ended:
    """How ``function(tell, *args)`` ended in a spawned child; never raises for what it does.

    Args:
        function: of a module, so that the child can import it; `tell(message)` in it calls `heard`
            here, e.g. for progress.
        *args: what can be pickled.
        limits: none by default.
        heard: called in this process for each message.
        private: reasons hold the type and place of an error but not its message, which could quote
            a report.

    Raises:
        pickle.PicklingError, TypeError, AttributeError: function or arguments cannot be sent.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        crash = Path(folder) / "crash"
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        order = pickle.dumps((function, args))
        child = context.Process(target=_work, args=(sender, order, crash, private))
        watch = _Watch(child, receiver, limits or Limits(), heard)
        try:
            child.start()
            sender.close()
            return watch.until_end(crash)
        finally:
            watch.kill()
            receiver.close()


class _Watch:
    """A running child and what is known of it so far."""

    def __init__(
        self, child: Any, receiver: Connection, limits: Limits, heard: Callable[[Any], None] | None
    ):
        self.child = child
        self.receiver = receiver
        self.limits = limits
        self.heard = heard
        self.answer: Ended | None = None
        self.answered = 0.0
        self.started = time.monotonic()
        self.looked = self.started
        self.peak = 0
        self.kernel_kills = kills_for_memory()

    def until_end(self, crash: Path) -> Ended:
        """Wait for the answer, the end of the child, or the passing of a limit."""
        sources: list[Any] = [self.child.sentinel, self.receiver]
        ended: Ended | None = None
        while ended is None:
            ready = wait(sources, timeout=TICK)
            if self.receiver in ready:
                if not self._receive():
                    sources.remove(self.receiver)
            elif self.child.sentinel in ready:
                ended = self.answer or self._died(crash)
            ended = ended or self._over()
        seconds = (self.answered or time.monotonic()) - self.started
        return replace(ended, seconds=seconds, peak_memory=self.peak)

    def kill(self) -> None:
        """End the child and all it has started; no error if nothing is left."""
        if self.child.pid is None:
            return
        # Before it is collected, so that its number cannot be another's. A child that has not yet
        # made its own group has started nothing either.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.kill()
        self.child.join()
        self.child.close()

    def _receive(self) -> bool:
        try:
            what, content = self.receiver.recv()
        except (EOFError, OSError):
            return False
        except Exception as error:
            what, content = "ended", Ended("failed", f"its answer cannot be read: {error!r}")
        if what == "ended":
            self.answer, self.answered = content, time.monotonic()
        elif self.heard is not None:
            self.heard(content)
        return True

    def _over(self) -> Ended | None:
        now = time.monotonic()
        if self.answer is not None:
            return self.answer if now - self.answered > GRACE else None
        if self.limits.seconds is not None and now - self.started > self.limits.seconds:
            return Ended("timeout", f"not done after {self.limits.seconds:g} s")
        if now - self.looked < TICK:
            return None
        used, self.looked = group_memory(self.child.pid, self.limits.memory), now
        self.peak = max(self.peak, used)
        if self.limits.memory is not None and used > self.limits.memory:
            return Ended(
                "out_of_memory", f"used {_size(used)}, more than its {_size(self.limits.memory)}"
            )
        return None

    def _died(self, crash: Path) -> Ended:
        self.child.join()
        code = self.child.exitcode
        if code >= 0:
            return Ended("failed", f"its process ended without an answer, exit code {code}")
        kills = kills_for_memory()
        if -code == signal.SIGKILL and (kills is None or kills != self.kernel_kills):
            seen = f"; it used {_size(self.peak)} when last seen" if self.peak else ""
            return Ended("out_of_memory", f"killed by the system for want of memory{seen}")
        told = (signal.strsignal(-code) or "unknown").lower()
        return Ended("failed", f"{told} (signal {-code}){_crash_place(crash)}")


def _work(sender: Connection, order: bytes, crash: Path, private: bool) -> None:
    """The child: do the order and send how it ended."""
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    turn = threading.Lock()

    def tell(message: Any) -> None:
        with turn:
            sender.send(("told", message))

    with crash.open("w") as file:
        faulthandler.enable(file)
        try:
            function, args = pickle.loads(order)
            ended = ("ended", Ended("ok", value=function(tell, *args)))
            with turn:
                sender.send(ended)
        except BaseException as error:
            with turn:
                sender.send(("ended", _raised(error, private)))
        faulthandler.disable()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)


def _raised(error: BaseException, private: bool) -> Ended:
    # torch's OutOfMemoryError is known by name: this package does not import torch.
    name = type(error).__name__
    memory = isinstance(error, MemoryError) or name == "OutOfMemoryError"
    message = "" if private or not str(error) else f": {error}"
    return Ended("out_of_memory" if memory else "failed", f"{name}{message}{place_of(error)}")


def _crash_place(crash: Path) -> str:
    """Where the interpreter was, by faulthandler's "Current thread" paragraph; places only."""
    try:
        current = crash.read_text(errors="replace").partition("Current thread")[2]
    except OSError:
        return ""
    frame = re.search(r'File "([^"]+)", line (\d+) in (\S+)', current)
    return f" in {frame[3]} ({Path(frame[1]).name}:{frame[2]})" if frame else ""


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
