"""`bench run SUITE`: models x evaluations -> outcomes, records, leaderboard."""

import hashlib
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import click
from rich.console import Console

from harness.atomic import write_error, write_text
from harness.cell_record import only_metrics
from harness.commands.execution import execution_options, limits_of
from harness.commands.options import evaluation_options, output_options
from harness.commands.progress import RunProgress
from harness.data_access import DataAccess, Loaded
from harness.errors import BenchError
from harness.executors import Executor, Kind
from harness.lock import RunLock
from harness.plan import CellPlan, plan_cells
from harness.ranks import ranks_here
from harness.record import RunRecord
from harness.roots import data_roots
from harness.run import Settings, Watch, run_cells
from harness.suite import pick_models, read_suite

STAMP = ".leaderboard"  # of which records the leaderboard was made
Done: TypeAlias = Sequence[tuple[RunRecord, Loaded]]
FAILURES = {"failed", "timeout", "out_of_memory"}


@click.command("run")
@click.argument("suite")
@evaluation_options
@click.option("--out", type=click.Path(path_type=Path), help="Folder (default: runs/SUITE).")
@click.option("-o", "overrides", multiple=True, metavar="A.B=C", help="Override a suite value.")
@click.option("--dry-run", is_flag=True, help="Print the cells, what is cached, what is missing.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--store-text", is_flag=True, help="Keep raw answers; outputs are marked private.")
@execution_options
@output_options
def command(
    suite: str,
    data: Sequence[str],
    models: str,
    seed: int | None,
    device: str,
    limit: int | None,
    out: Path | None,
    overrides: Sequence[str],
    dry_run: bool,
    batch_size: int,
    store_text: bool,
    isolate: bool | None,
    timeout: float | None,
    memory: float | None,
    executor: Kind,
    workers: int,
    log_json: bool,
    quiet: bool,
) -> None:
    """Run SUITE (a YAML file, or the name of a shipped suite) and write its leaderboard.

    What is finished is not run again; a killed run goes on where it stopped. Several GPUs or nodes
    share each cell under `accelerate launch -m harness.cli run SUITE`; with --executor the cells
    are spread instead, and what is done can be seen with `bench report` meanwhile.
    """
    resolved, file = read_suite(suite, overrides)
    resolved = pick_models(resolved, [name for name in models.split(",") if name])
    cells = plan_cells(resolved, [] if seed is None else [seed])
    folder = out or Path("runs") / resolved.suite
    settings = Settings(
        out=folder,
        suite=resolved.suite,
        device=device,
        batch_size=batch_size,
        store_text=store_text,
        command=_command_line(),
        isolate=True if timeout or memory else isolate,
        executor=Executor(executor, workers, limits_of(timeout, memory), folder / "jobs"),
    )
    with ranks_here() as ranks:
        first = ranks.first
        settings = replace(settings, ranks=ranks)
        with RunProgress(quiet=quiet or not first, log_json=log_json and first) as told:
            told.console.print(f"[dim]suite {file}, {len(cells)} cells, into {folder}[/]")
            access = DataAccess(data_roots(data), limit, told.progress)
            done = _run(cells, access, settings, told) if not dry_run else None
        if dry_run and first:
            from harness.commands.dry_run import print_plan

            print_plan(cells, access, settings)
    if done is not None and first:
        _finish(done, folder, quiet=quiet)


def _run(
    cells: Sequence[CellPlan], access: DataAccess, settings: Settings, told: RunProgress
) -> Done:
    """All cells, and the leaderboard where anything is new; several ranks run, the first writes."""
    folder, ranks = settings.out, settings.ranks
    watch = Watch(told.started, told.progress, told.finished)
    with ExitStack() as stack:
        with ranks.together():
            if ranks.first:
                _make_folder(folder)
                stack.enter_context(_alone(folder, settings))
                _write_plan(folder, cells)
        ran = zip(cells, run_cells(cells, access, settings, watch), strict=True)
        # The cell keeps every metric; `metrics` of the suite says what its leaderboard shows.
        done = [(only_metrics(r, plan.evaluation.metrics), loaded) for plan, (r, loaded) in ran]
        _refuse_if_nothing_could_be_read(done)
    with _alone(folder, settings, writing=True):
        if ranks.first and (told.computed or not _is_current(done, folder)):
            _write(done, folder)
    return done


def _write_plan(folder: Path, cells: Sequence[CellPlan]) -> None:
    """What is to be done, so that `bench status` in another shell can say what waits."""
    from reports.plan_file import write_plan

    write_plan(folder, cells)


def _alone(
    folder: Path, settings: Settings, *, writing: bool = False
) -> AbstractContextManager[object]:
    """The lock of the folder: one run at a time, except that spread cells each have their own."""
    spread = settings.executor.kind != "local"
    if not settings.ranks.first or (spread and not writing):
        return nullcontext()
    return RunLock(folder / ".lock", wait=writing)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder / "leaderboard.csv", error) from error


def _refuse_if_nothing_could_be_read(done: Done) -> None:
    # One damaged dataset of several is a failure row; if there is nothing else, a user's mistake.
    reasons = dict.fromkeys(loaded.reason for _, loaded in done if loaded.damaged)
    if done and all(loaded.damaged for _, loaded in done):
        raise BenchError("\n".join(reasons))


def _command_line() -> str:
    return shlex.join(["bench", *sys.argv[1:]])


def _stamp(done: Done) -> str:
    text = "".join(record.model_dump_json(exclude={"created", "environment"}) for record, _ in done)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_current(done: Done, folder: Path) -> bool:
    stamp = folder / STAMP
    pages = [folder / f"leaderboard.{kind}" for kind in ("csv", "md", "html")]
    whole = all(page.is_file() for page in pages) and stamp.is_file()
    return whole and stamp.read_text(encoding="utf-8") == _stamp(done)


def _write(done: Done, folder: Path) -> None:
    from reports.in_context_numbers import write_in_context
    from reports.leaderboard import write_leaderboard
    from reports.runs import Runs
    from reports.samples import sample_pictures

    records = [record for record, _ in done]
    loaded = {record.key: (data.dataset, data.reason) for record, data in done}
    runs = Runs(tuple(records), dict.fromkeys(loaded, folder))
    write_leaderboard(
        records,
        folder,
        samples=lambda section: sample_pictures(section, runs, lambda r: loaded[r.key]),
    )
    write_in_context(runs, folder, lambda r: loaded[r.key])
    write_text(folder / STAMP, _stamp(done))


def _finish(done: Done, folder: Path, *, quiet: bool) -> None:
    from reports.screen import print_leaderboard

    records = [record for record, _ in done]
    if not quiet:
        print_leaderboard(records, Console())
    click.echo(f"leaderboard: {folder / 'leaderboard.html'} (and .csv, .md)")
    if (folder / "in-context.md").is_file():
        click.echo(f"what examples add: {folder / 'in-context.md'} (and .csv, figures/)")
    if records and all(record.status == "skipped" for record in records):
        reasons = dict.fromkeys(record.reason for record in records)
        click.echo("nothing was asked:\n" + "\n".join(f"- {reason}" for reason in reasons))
    failed = [record for record in records if record.status in FAILURES]
    for record in failed:
        where = f"{record.task} {record.dataset.name} {record.dataset.split}"
        click.echo(f"{record.status}: {record.model.name} on {where}: {record.reason}", err=True)
    if failed:
        raise SystemExit(1)
