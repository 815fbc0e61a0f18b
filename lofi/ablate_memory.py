"""The most memory that the training of an arm ever held, over all sessions of it."""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.ablation import ALL_SESSIONS
from harness.atomic import write_json

Say = Callable[[str], None]


class Memory:
    """The largest peak of all sessions of a training: a stopped one leaves its own in the folder.

    `whole` is False where a session before this one left none.
    """

    def __init__(self, folder: Path):
        self.file = folder / "memory.json"
        stored = self._stored()
        resumed = any((folder / name).is_dir() for name in ("checkpoint", "checkpoint.old"))
        self.whole = bool(stored.get("whole", not resumed))
        self.before = int(stored.get("peak", 0))

    def _stored(self) -> dict[str, Any]:
        try:
            value: dict[str, Any] = json.loads(self.file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return value

    def peak(self) -> int:
        """Bytes, this session's among them."""
        return max(self.before, peak_memory()[1])

    def kind(self, *, sessions: int) -> str:
        """What was measured, and that it is of all sessions where there were several."""
        return peak_memory()[0] + ALL_SESSIONS * (self.whole and sessions > 1)

    def watching(self, say: Say) -> Say:
        """`say`, which also writes down the peak so far."""

        def told(text: str) -> None:
            write_json(self.file, {"peak": self.peak(), "whole": self.whole})
            say(text)

        return told


def peak_memory() -> tuple[str, int]:
    """Of the device where there is one, else the most this process ever had resident."""
    import torch

    if torch.cuda.is_available():
        return "cuda", int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return "resident", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
