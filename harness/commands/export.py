"""`bench export RUNS`: Hugging Face metadata, COCO results, one Parquet of all outcomes."""

from collections.abc import Sequence
from pathlib import Path

import click

from harness.commands.options import data_option, output_options


@click.command("export")
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format",
    "kinds",
    type=click.Choice(["hf", "coco", "parquet"]),
    multiple=True,
    help="Repeatable. Default: hf and parquet, which need no data.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Default: export/ in the first RUNS.")
@click.option("--private", is_flag=True, help="Add raw answers and true boxes of restricted data.")
@data_option
@output_options
def command(
    runs: Sequence[Path],
    kinds: Sequence[str],
    out: Path | None,
    private: bool,
    data: Sequence[str],
    log_json: bool,
    quiet: bool,
) -> None:
    """Write RUNS in other formats.

    `hf` is the model-index block of a model card, `coco` the results (and the truth where it may
    leave) of each grounding cell, `parquet` one table of all outcomes.
    """
    from harness.commands.progress import RunProgress
    from harness.roots import data_roots
    from reports.exports import export
    from reports.runs import dataset_source, read_runs

    found = read_runs(runs)
    folder = out or runs[0] / "export"
    with RunProgress(quiet=quiet, log_json=log_json) as told:
        source = dataset_source(data_roots(data), told.progress)
        for kind in kinds or ("hf", "parquet"):
            written = export(found, kind, folder, source, private=private)
            for path in written:
                click.echo(f"{kind}: {path}")
            if not written:
                click.echo(f"{kind}: nothing written, since these runs hold controls only")
