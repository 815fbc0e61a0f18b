"""`bench reproduce RECORD`: run a record again and compare every number."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import data_option, output_options

if TYPE_CHECKING:
    from rich.console import Console

    from reports.reproduce import Reproduction

SHOWN = 24  # numbers on screen; all of them count


@click.command("reproduce")
@click.argument("record", type=click.Path(exists=True, path_type=Path))
@click.option("--device", default="", help="Default: the record's.")
@click.option(
    "--tolerance", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Per number."
)
@click.option("--out", type=click.Path(path_type=Path), help="Keep the new cell (default: no).")
@data_option
@output_options
def command(
    record: Path,
    device: str,
    tolerance: float,
    out: Path | None,
    data: Sequence[str],
    log_json: bool,
    quiet: bool,
) -> None:
    """Run RECORD (a record.json or its folder) again; print old, new and difference.

    Exit code 1: a number moved by more than --tolerance. On a CPU nothing should move at all.
    """
    from rich.console import Console

    from harness.commands.progress import RunProgress
    from harness.data_access import DataAccess
    from harness.errors import BenchError
    from harness.record_file import read_record
    from harness.roots import data_roots
    from harness.run import Watch
    from reports.reproduce import reproduce

    file = record / "record.json" if record.is_dir() else record
    old = read_record(file)
    if old is None:
        raise BenchError(f"{file}: no record. Give a record.json, or the folder of a cell.")
    with (
        RunProgress(quiet=quiet, log_json=log_json) as told,
        tempfile.TemporaryDirectory(prefix="bench-") as scratch,
    ):
        found = reproduce(
            old,
            DataAccess(data_roots(data), None, told.progress),
            out or Path(scratch),
            device=device or old.environment.device,
            watch=Watch(told.started, told.progress, told.finished),
        )
    if not quiet:
        _show(Console(), found, tolerance)
    same = found.within(tolerance)
    moved = sum(change.difference != 0 for change in found.changes)
    click.echo(
        f"{'reproduced' if same else 'NOT reproduced'}: {len(found.changes)} numbers, {moved} moved"
        f"{f', tolerance {tolerance:g}' if tolerance else ''}"
    )
    if not same:
        raise SystemExit(1)


def _show(console: "Console", found: "Reproduction", tolerance: float) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("metric", "group", "direction", "relevance"):
        table.add_column(name)
    for name in ("old", "new", "difference"):
        table.add_column(name, justify="right")
    ordered = sorted(found.changes, key=lambda c: -abs(c.difference or 0.0))
    for change in ordered[:SHOWN]:
        score, gap = change.score, change.difference
        bad = gap is None or abs(gap) > tolerance
        texts = [score.metric, score.group, score.direction, score.relevance]
        values = ["–" if v is None else f"{v:.6g}" for v in (change.old, change.new, gap)]
        table.add_row(
            *map(Text, texts + values[:2]), Text(values[2], style="red" if bad else "green")
        )
    console.print(table)
    if len(ordered) > SHOWN:
        console.print(Text(f"and {len(ordered) - SHOWN} more", style="dim"))
    for remark in found.remarks:
        console.print(Text(remark, style="yellow"))
