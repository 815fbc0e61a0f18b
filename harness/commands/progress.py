"""What a run tells while it goes: bars with ETA on a terminal, lines elsewhere, JSON if asked."""

import json
import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from harness.plan import CellPlan
from harness.record import RunRecord

_MARKS = {"ok": "[green]done[/]", "skipped": "[dim]skipped[/]", "not_scored": "[dim]not scored[/]"}


class RunProgress:
    """The callbacks of `harness.run.Watch`; a context manager that owns the bar.

    Bars go to stderr, so that stdout holds the leaderboard alone.
    """

    def __init__(self, *, quiet: bool = False, log_json: bool = False):
        self.quiet = quiet
        self.log_json = log_json
        self.computed = 0  # cells that were not found finished
        self.console = Console(stderr=True, quiet=quiet or log_json)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self._cells: TaskID | None = None
        self._inner: TaskID | None = None
        self._what = ""

    def __enter__(self) -> "RunProgress":
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar.live.is_started:  # else it would end with a blank line
            self._bar.stop()

    def started(self, plan: CellPlan, index: int, total: int) -> None:
        """A cell begins."""
        if self._cells is None:
            self._cells = self._bar.add_task("cells", total=total)
        self._bar.update(self._cells, completed=index, description=plan.title)
        self._json("started", cell=plan.title, index=index, total=total)

    def progress(self, what: str, done: int, total: int) -> None:
        """Inside a cell, or before one: so much of so many."""
        if self._inner is None or what != self._what:
            if self._inner is not None:
                self._bar.remove_task(self._inner)
            self._inner = self._bar.add_task(f"  {what}", total=total)
            self._what = what
            self._json("progress", what=what, done=done, total=total)
        self._bar.update(self._inner, completed=done, total=total)

    def finished(self, record: RunRecord, cached: bool) -> None:
        """A cell is over."""
        self.computed += not cached and record.status != "skipped"
        if self._inner is not None:
            self._bar.remove_task(self._inner)
            self._inner = None
        if self._cells is not None:
            self._bar.advance(self._cells)
        if record.status not in ("skipped", "not_scored") and not cached:
            mark = Text.from_markup(_MARKS.get(record.status, f"[red]{record.status}[/]"))
            where = f"{record.task} {record.dataset.name} {record.dataset.split}"
            seconds = (f"{sum(record.seconds.values()):.1f} s", "dim")
            self.console.print(Text.assemble(mark, f" {record.model.name} on {where} ", seconds))
        self._json(
            "finished",
            model=record.model.name,
            task=record.task,
            dataset=record.dataset.name,
            status=record.status,
            cached=cached,
        )

    def _json(self, event: str, **fields: Any) -> None:
        if self.log_json:
            line = json.dumps({"time": time.time(), "event": event, **fields})
            print(line, file=sys.stderr, flush=True)
