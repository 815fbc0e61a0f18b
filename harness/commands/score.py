"""`bench score RUNS`: metrics from stored outcomes, without the model."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.atomic import write_error
from harness.cell import Cell
from harness.cell_record import only_metrics, with_scores
from harness.commands.options import data_option, out_option, output_options
from harness.commands.progress import RunProgress
from harness.errors import BenchError, unknown
from harness.lock import RunLock
from harness.record import RunRecord, Score
from harness.roots import data_roots
from harness.tasks import find_task

if TYPE_CHECKING:
    from reports.runs import DatasetSource, Runs


@click.command("score")
@click.argument("runs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--metric", "metrics", multiple=True, help="Only these; the others keep their value.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="The --limit of the run (default: as recorded)."
)
@out_option("RUNS itself")
@data_option
@output_options
def command(
    runs: Path,
    metrics: Sequence[str],
    limit: int | None,
    out: Path | None,
    data: Sequence[str],
    log_json: bool,
    quiet: bool,
) -> None:
    """Recompute the metrics of all finished cells below RUNS and write the leaderboard anew.

    With --out RUNS stays as it is: its cells are copied there and scored in the copy.
    """
    from rich.console import Console

    from reports.leaderboard import print_leaderboard, write_leaderboard
    from reports.runs import dataset_source, read_runs

    if not any((runs / "cells").glob("*/record.json")):
        raise BenchError(f"{runs}: no finished cell. Is it a runs folder? See: bench status {runs}")
    found = read_runs([runs])
    _refuse_unknown(found.records, metrics)
    folder = out or runs
    with _locked(folder):
        with RunProgress(quiet=quiet, log_json=log_json) as told:
            source = dataset_source(data_roots(data), told.progress, limit=limit)
            fresh = [_rescored(found, source, record, metrics) for record in found.records]
        records = [_written(found, record, folder) for record in fresh]
        shown = [only_metrics(record, record.options.get("metrics", ())) for record in records]
        write_leaderboard(shown, folder)
    if not quiet:
        print_leaderboard(shown, Console())
    scored = sum(record.status == "ok" for record in records)
    click.echo(f"{scored} cells scored; leaderboard: {folder / 'leaderboard.html'}")


def _locked(folder: Path) -> RunLock:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder / "leaderboard.csv", error) from error
    return RunLock(folder / ".lock")


def _refuse_unknown(records: Sequence[RunRecord], metrics: Sequence[str]) -> None:
    """Do nothing if every metric is one of a task that was run.

    Raises:
        BenchError: one is not.
    """
    tasks = dict.fromkeys(record.task for record in records if record.status == "ok")
    known = [name for task in tasks for name in find_task(task).metrics]
    for metric in metrics:
        if metric not in known:
            raise unknown(f"metric of task {' or '.join(tasks)}", metric, known)


def _rescored(
    runs: "Runs", source: "DatasetSource", record: RunRecord, metrics: Sequence[str]
) -> RunRecord:
    """The record with fresh scores; one without outcomes, or without these metrics, as it is."""
    if record.status != "ok":
        return record
    task = find_task(record.task)
    wanted = [name for name in metrics if name in task.metrics]
    if metrics and not wanted:
        return record
    dataset, reason = source(record)
    if dataset is None:
        raise BenchError(f"{reason} The run was: {record.command}")
    scored = task.score(dataset, runs.cell(record), {**task.defaults, **record.options}, wanted)
    fresh = with_scores(record, scored)
    fresh = fresh.model_copy(update={"counts": {**record.counts, **scored.counts}})
    if wanted:
        kept = [score for score in record.scores if score.metric not in wanted]
        scores = _in_order([*kept, *fresh.scores], record.scores)
        others = {n: why for n, why in record.not_scored.items() if n not in wanted}
        update = {"scores": scores, "not_scored": others | fresh.not_scored}
        fresh = fresh.model_copy(update=update)
    return fresh


def _in_order(scores: Sequence[Score], before: Sequence[Score]) -> list[Score]:
    """The scores where they stood before; what was not there comes last."""
    places = {_identity(score): place for place, score in enumerate(before)}
    return sorted(scores, key=lambda score: places.get(_identity(score), len(places)))


def _identity(score: Score) -> tuple[str, ...]:
    return (score.metric, score.group, score.direction, score.relevance)


def _written(runs: "Runs", record: RunRecord, folder: Path) -> RunRecord:
    """The record as it now lies in `folder`; what was skipped is a row there and no cell."""
    cell = runs.cell(record)
    if not (cell.folder / "record.json").is_file():
        return record
    if folder.resolve() != runs.homes[record.key].resolve():
        cell = _copied(cell, folder / "cells" / cell.folder.name)
    if record.status != "ok":
        return record
    written: RunRecord = cell.write_record(record)
    return written


def _copied(cell: Cell, target: Path) -> Cell:
    """The cell in another folder: outcomes first, so that a record there is one of whole ones."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        if (cell.folder / "outcomes").is_dir():
            shutil.copytree(cell.folder / "outcomes", target / "outcomes", dirs_exist_ok=True)
        shutil.copyfile(cell.folder / "record.json", target / "record.json")
    except OSError as error:
        raise write_error(target / "record.json", error) from error
    return Cell(target, cell.key)
