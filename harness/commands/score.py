"""`bench score RUNS`: metrics from stored outcomes, without the model."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from harness.cell_record import with_scores
from harness.commands.options import data_option, output_options
from harness.commands.progress import RunProgress
from harness.data_access import DataAccess
from harness.errors import BenchError, unknown
from harness.record import RunRecord
from harness.roots import data_roots
from harness.store import Store
from harness.suite_schema import Evaluation
from harness.tasks import find_task


@click.command("score")
@click.argument("runs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--metric", "metrics", multiple=True, help="Only these; the others keep their value.")
@click.option("--limit", type=click.IntRange(min=1), help="The --limit of the run.")
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

    store = Store(runs)
    with RunProgress(quiet=quiet, log_json=log_json) as told:
        access = DataAccess(data_roots(data), limit, told.progress)
        records = list(_rescored(store, access, metrics))
    if not records:
        raise BenchError(f"{runs}: no finished cell. Is it a runs folder? See: bench status {runs}")
    write_leaderboard(records, runs)
    if not quiet:
        print_leaderboard(records, Console())
    click.echo(f"{len(records)} cells scored; leaderboard: {runs / 'leaderboard.html'}")


def _rescored(store: Store, data: DataAccess, metrics: Sequence[str]) -> Iterator[RunRecord]:
    for record in store.records():
        if record.status != "ok":
            yield record
            continue
        task = find_task(record.task)
        for metric in metrics:
            if metric not in task.metrics:
                raise unknown(f"metric of task {task.name}", metric, task.metrics)
        yield _rescore(store, data, record, metrics)


def _rescore(
    store: Store, data: DataAccess, record: RunRecord, metrics: Sequence[str]
) -> RunRecord:
    info = record.dataset
    evaluation = Evaluation(
        task=record.task, dataset=info.name, split=info.split, cohort=info.cohort
    )
    dataset = data.load(evaluation).dataset
    if dataset is None or dataset.fingerprint() != info.fingerprint:
        found = dataset.fingerprint()[:12] if dataset else "nothing"
        raise BenchError(
            f"{info.name} {info.split}: the record was made on data {info.fingerprint[:12]}, here "
            f"lies {found}. Name the same folders and the same --limit as in: {record.command}"
        )
    cell = store.cell(record.task, info.name, info.split, record.model.name, record.key)
    task = find_task(record.task)
    scored = task.score(dataset, cell, {**task.defaults, **record.options}, metrics)
    fresh = with_scores(record, scored)
    if metrics:
        kept = [score for score in record.scores if score.metric not in metrics]
        others = {n: why for n, why in record.not_scored.items() if n not in metrics}
        update = {"scores": [*kept, *fresh.scores], "not_scored": others | fresh.not_scored}
        fresh = fresh.model_copy(update=update)
    return cell.write_record(fresh)
