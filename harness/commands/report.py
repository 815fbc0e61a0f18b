"""`bench report RUNS`: one self-contained page, and the same tables as Markdown, CSV and LaTeX."""

from collections.abc import Sequence
from pathlib import Path

import click

from harness.commands.options import data_option, output_options


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder (default: the first RUNS).")
@click.option("--title", default="", help="Heading of the page (default: the suites' names).")
@click.option("--private", is_flag=True, help="Add text and pixels of restricted data; stamped.")
@click.option(
    "--picture", type=click.Path(path_type=Path), help="Also a PNG of the page (needs Chromium)."
)
@click.option("--tables-only", is_flag=True, help="No ranks, figures or samples; opens no data.")
@data_option
@output_options
def command(
    runs: Sequence[Path],
    out: Path | None,
    title: str,
    private: bool,
    picture: Path | None,
    tables_only: bool,
    data: Sequence[str],
    log_json: bool,
    quiet: bool,
) -> None:
    """Write report.html, report.md, report.csv and report.tex from one or more runs folders.

    The page may be published: without --private it holds no text and no pixel of data under a use
    agreement. Ranks and figures need the data of the run (--data, or its phantoms).
    """
    from harness.commands.progress import RunProgress
    from harness.roots import data_roots
    from reports.report import write_report
    from reports.runs import dataset_source, read_runs

    found = read_runs(runs)
    folder = out or runs[0]
    with RunProgress(quiet=quiet, log_json=log_json) as told:
        source = None if tables_only else dataset_source(data_roots(data), told.progress)
        files = write_report(found, folder, source=source, title=title, private=private)
    if not quiet:
        click.echo(f"report: {files[0]} (and {', '.join(file.name for file in files[1:])})")
    if picture is not None:
        from reports.picture import take_picture

        click.echo(f"picture: {take_picture(files[0], picture)}")
    if private:
        click.echo("private: holds text or pixels of restricted data; do not publish.", err=True)
