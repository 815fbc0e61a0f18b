"""`bench score RUNS`: metrics from stored outcomes, without the model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cell_record import only_metrics, with_scores
from harness.commands.options import data_option, output_options
from harness.commands.progress import RunProgress
from harness.errors import BenchError, unknown
from harness.record import RunRecord
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
@data_option
@output_options
def command(
    runs: Path,
    metrics: Sequence[str],
    limit: int | None,
    data: Sequence[str],
    log_json: bool,
    quiet: bool,
) -> None:
    """Recompute the metrics of all finished cells below RUNS and write the leaderboard anew."""
    from rich.console import Console

    from reports.leaderboard import print_leaderboard, write_leaderboard
    from reports.runs import dataset_source, read_runs

    if not any((runs / "cells").glob("*/record.json")):
        raise BenchError(f"{runs}: no finished cell. Is it a runs folder? See: bench status {runs}")
    found = read_runs([runs])
    with RunProgress(quiet=quiet, log_json=log_json) as told:
        source = dataset_source(data_roots(data), told.progress, limit=limit)
        records = list(_rescored(found, source, metrics))
    shown = [only_metrics(record, record.options.get("metrics", ())) for record in records]
    write_leaderboard(shown, runs)
    if not quiet:
        print_leaderboard(shown, Console())
    scored = sum(record.status == "ok" for record in records)
    click.echo(f"{scored} cells scored; leaderboard: {runs / 'leaderboard.html'}")


def _rescored(runs: "Runs", source: "DatasetSource", metrics: Sequence[str]) -> Iterator[RunRecord]:
    """All records, those of finished cells with fresh scores; what was skipped stays a row."""
    for record in runs.records:
        if record.status != "ok":
            yield record
            continue
        task = find_task(record.task)
        for metric in metrics:
            if metric not in task.metrics:
                raise unknown(f"metric of task {task.name}", metric, task.metrics)
        yield _rescore(runs, source, record, metrics)


def _rescore(
    runs: "Runs", source: "DatasetSource", record: RunRecord, metrics: Sequence[str]
) -> RunRecord:
    dataset, reason = source(record)
    if dataset is None:
        raise BenchError(f"{reason} The run was: {record.command}")
    cell = runs.cell(record)
    task = find_task(record.task)
    scored = task.score(dataset, cell, {**task.defaults, **record.options}, metrics)
    fresh = with_scores(record, scored)
    fresh = fresh.model_copy(update={"counts": {**record.counts, **scored.counts}})
    if metrics:
        kept = [score for score in record.scores if score.metric not in metrics]
        others = {n: why for n, why in record.not_scored.items() if n not in metrics}
        update = {"scores": [*kept, *fresh.scores], "not_scored": others | fresh.not_scored}
        fresh = fresh.model_copy(update=update)
    written: RunRecord = cell.write_record(fresh)
    return written
