"""How far a run is, told from its folder alone: also when the run has died."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.process_start import machine_id, process_start
from harness.record import KEY_DIGITS, RunRecord
from harness.store import safe_name
from reports.plan_file import Planned, read_plan
from reports.runs import skipped_records

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
    cohort: str = ""
    text_policy: str = "official"


@dataclass(frozen=True)
class Owner:
    """Who holds the folder's lock; `alive` is None where only its own machine could tell."""

    text: str
    alive: bool | None


def cell_states(folder: Path, records: Sequence[RunRecord]) -> list[CellState]:
    """Every cell of the plan, and those beyond it, with its state.

    What the last leaderboard calls skipped has no record and does not wait for anything.
    """
    plan, skipped = read_plan(folder), skipped_records(folder)
    found = {id(record) for item in plan for record in records if _is_of(record, item)}
    states = [_planned(folder, item, [*records, *skipped]) for item in plan]
    return [*states, *(_state(record) for record in records if id(record) not in found)]


def _state(record: RunRecord) -> CellState:
    data = record.dataset
    return CellState(
        task=record.task,
        dataset=data.name,
        split=data.split,
        model=record.model.name,
        state=record.status,
        detail=record.reason,
        cohort=data.cohort,
        text_policy=record.text_policy,
    )


def _is_of(record: RunRecord, item: Planned) -> bool:
    data = record.dataset
    found = (record.task, data.name, data.split, record.model.name, record.text_policy)
    wanted = (item.task, item.dataset, item.split, item.model, item.text_policy)
    # A record of data that could not be had bears the suite's cohort, which may be none.
    return found == wanted and (not item.cohort or data.cohort in ("", item.cohort))


def _planned(folder: Path, item: Planned, records: Sequence[RunRecord]) -> CellState:
    mine = [record for record in records if _is_of(record, item)]
    at = (item.task, item.dataset, item.split, item.model)
    rows = _rows_so_far(folder, at) if not mine or mine[0].status == "skipped" else 0
    if rows:
        kept = f"{rows:,} rows kept"
        return CellState(*at, "started", kept, item.cohort, item.text_policy)
    if mine:
        return _state(mine[0])
    return CellState(*at, "waiting", "", item.cohort, item.text_policy)


def _rows_so_far(folder: Path, at: tuple[str, str, str, str]) -> int:
    """Rows in the shards of cells without a record, from the files' footers alone."""
    import pyarrow.parquet

    prefix = "-".join(safe_name(part) for part in at)
    rows = 0
    # The name of one model may begin another's: what follows it is a key.
    for cell in (folder / "cells").glob(f"{prefix}-{'[0-9a-f]' * KEY_DIGITS}"):
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
