"""What a user means by A: a model, a cell, a folder's model, or a whole runs folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BenchError, unknown
from harness.record import RunRecord
from harness.tasks import find_task
from reports.compare import Side
from reports.runs import Runs, read_runs


@dataclass(frozen=True)
class Sides:
    """The finished cells that a name stands for."""

    sides: tuple[Side, ...]
    whole_folder: bool = False


def find_sides(name: str, lookup: Sequence[Path]) -> Sides:
    """The finished cells of a model name, cell, FOLDER:MODEL or runs folder.

    Raises:
        BenchError: nothing of that name, with the nearest known ones.
    """
    path = Path(name)
    if path.is_file() or (path / "record.json").is_file():
        return _cell(path if path.is_file() else path / "record.json")
    if path.is_dir():
        runs = read_runs([path])
        return Sides(_finished(runs, runs.records), whole_folder=True)
    folder, _, model = name.rpartition(":")
    if folder and Path(folder).is_dir():
        return _named(model, read_runs([Path(folder)]))
    present = [home for home in lookup if home.is_dir()]
    if not present:
        raise BenchError(
            f"{name}: neither a folder nor a record, and there is no runs folder "
            f"{', '.join(str(home) for home in lookup)} to look for a model of that name. Use "
            "--runs FOLDER."
        )
    runs = read_runs(present)
    found = [_named(part, runs).sides for part in name.split(",") if part]
    return Sides(tuple(side for sides in found for side in sides))


def _cell(record_file: Path) -> Sides:
    folder = record_file.parent.parent.parent
    runs = read_runs([folder])
    here = [
        record
        for record in runs.records
        if record_file.parent.resolve() == runs.cell(record).folder.resolve()
    ]
    return Sides(_finished(runs, here))


def _named(model: str, runs: Runs) -> Sides:
    records = [record for record in runs.records if record.model.name == model]
    if not records:
        raise unknown("model in these runs", model, {r.model.name for r in runs.records})
    finished = _finished(runs, records)
    if not finished:
        why = records[0].reason or f"{records[0].status}, without outcomes of single samples"
        raise BenchError(f"{model}: no cell in these runs that can be compared: {why}")
    return Sides(finished)


def _finished(runs: Runs, records: Sequence[RunRecord]) -> tuple[Side, ...]:
    return tuple(Side(record, runs) for record in records if comparable(record))


def comparable(record: RunRecord) -> bool:
    """Whether single samples can be looked at; analytic chance has none."""
    kind = find_task(record.task).kinds[0]
    return record.status == "ok" and any(name.startswith(f"{kind}-") for name in record.outcomes)
