"""`bench compare A B`: is the difference real?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.options import data_option, output_options

if TYPE_CHECKING:
    from reports.compare import Side


@click.command("compare")
@click.argument("a")
@click.argument("b")
@click.option(
    "--runs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Where models are looked up by name (default: runs). Repeatable.",
)
@click.option("--metric", "metrics", multiple=True, help="Only these metrics. Repeatable.")
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    help="Exit 1 unless the interval shows that A is not worse than B by more than this.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write compare.html, .md and .csv.")
@data_option
@output_options
def command(
    a: str,
    b: str,
    runs: Sequence[Path],
    metrics: Sequence[str],
    max_drop: float | None,
    out: Path | None,
    data: Sequence[str],
    log_json: bool,
    quiet: bool,
) -> None:
    """Compare A with B sample by sample: A - B with its interval over patients.

    A and B are models of one runs folder (a,b,c compares each with B), cells (a folder or its
    record.json), FOLDER:MODEL, or two runs folders: then every model with itself, for a check in
    CI. Only cells on the same data can be compared.
    """
    from harness.commands.progress import RunProgress
    from harness.errors import BenchError
    from harness.roots import data_roots
    from reports.compare import compare_all, gate, pair_up
    from reports.runs import dataset_source
    from reports.sides import find_sides

    ours, theirs = (find_sides(name, runs or [Path("runs")]) for name in (a, b))
    both_folders = ours.whole_folder and theirs.whole_folder
    pairs = list(pair_up(ours.sides, theirs.sides, by_model=both_folders))
    if not pairs:
        raise BenchError(
            f"{a} and {b}: no table has both. A has {_tables(ours.sides)}; B has "
            f"{_tables(theirs.sides)}."
        )
    with RunProgress(quiet=quiet, log_json=log_json) as told:
        found = compare_all(pairs, dataset_source(data_roots(data), told.progress), metrics=metrics)
    _say(found, out, quiet=quiet)
    if max_drop is None:
        return
    reasons = gate(found, max_drop)
    for reason in reasons:
        click.echo(f"drop: {reason}", err=True)
    if reasons:
        raise SystemExit(1)
    click.echo(f"no drop of more than {max_drop:g} in {len(found)} comparisons")


def _tables(sides: "Sequence[Side]") -> str:
    from reports.tidy import section_key

    keys = {section_key(side.record) for side in sides}
    return (
        ", ".join(sorted({f"{k.task} {k.dataset} {k.split}" for k in keys})) or "no finished cell"
    )


def _say(found: "Sequence[Any]", out: Path | None, *, quiet: bool) -> None:
    from rich.console import Console

    from harness.atomic import write_text
    from reports.compare_text import (
        comparison_frame,
        comparison_html,
        comparison_markdown,
        print_comparisons,
    )
    from reports.csv_text import csv_text

    if not quiet:
        print_comparisons(found, Console())
    if out is not None:
        write_text(out / "compare.html", comparison_html(found))
        write_text(out / "compare.md", comparison_markdown(found))
        write_text(out / "compare.csv", csv_text(comparison_frame(found)))
        click.echo(f"comparison: {out / 'compare.html'} (and .md, .csv)")
