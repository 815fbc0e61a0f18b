"""How far a run is, told from its folder alone: also when the run has died."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.process_start import machine_id, process_start
from harness.record import RunRecord
from harness.store import safe_name
from reports.plan_file import Planned, read_plan

FINISHED = ("ok", "not_scored", "not_taught")


@dataclass(frozen=True)
class CellState:
    """One planned or found cell: `state` is a record's status, `started` or `waiting`."""

    task: str
    dataset: str
    split: str
    model: str
    state: str
    detail: str = ""


@dataclass(frozen=True)
class Owner:
    """Who holds the folder's lock; `alive` is None where only its own machine could tell."""

    text: str
    alive: bool | None


def cell_states(folder: Path, records: Sequence[RunRecord]) -> list[CellState]:
    """Every cell of the plan, and those beyond it, with its state."""
    states = [_planned(folder, item, records) for item in read_plan(folder)]
    known = {(s.task, s.dataset, s.split, s.model) for s in states}
    for record in records:
        at = (record.task, record.dataset.name, record.dataset.split, record.model.name)
        if at not in known:
            states.append(CellState(*at, record.status, record.reason))
    return states


def _planned(folder: Path, item: Planned, records: Sequence[RunRecord]) -> CellState:
    at = (item.task, item.dataset, item.split, item.model)
    for record in records:
        data = record.dataset
        found = (record.task, data.name, data.split, record.model.name)
        if found == at and record.text_policy == item.text_policy:
            return CellState(*at, record.status, record.reason)
    rows = _rows_so_far(folder, at)
    return CellState(*at, "started", f"{rows:,} rows kept") if rows else CellState(*at, "waiting")


def _rows_so_far(folder: Path, at: tuple[str, str, str, str]) -> int:
    """Rows in the shards of cells without a record, from the files' footers alone."""
    import pyarrow.parquet

    prefix = "-".join(safe_name(part) for part in at)
    rows = 0
    for cell in (folder / "cells").glob(f"{prefix}-*"):
        if (cell / "record.json").is_file():
            continue
        for shard in cell.glob("outcomes/*.parquet"):
            try:
                rows += pyarrow.parquet.read_metadata(shard).num_rows
            except (OSError, pyarrow.ArrowException):
                continue
    return rows


def lock_owner(folder: Path) -> Owner | None:
    """Who holds the lock of a runs folder, None if nobody does."""
    try:
        told: Mapping[str, object] = json.loads((folder / ".lock").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return Owner("an unreadable lock", None)
    text = f"process {told.get('pid')}, since {told.get('started')}"
    if told.get("machine") != machine_id():
        return Owner(f"{text}, on another machine", None)
    start = process_start(int(str(told.get("pid", 0))))
    return Owner(text, start is not None and start == told.get("process_start"))
