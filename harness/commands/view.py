"""`bench view RUNS`: look at samples, boxes and retrieved texts in a browser."""

from collections.abc import Sequence
from pathlib import Path

import click

from harness.commands.options import data_option, output_options


@click.command("view")
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
@click.option("--open/--no-open", "opens", default=True, help="Open the browser.")
@data_option
@output_options
def command(
    runs: Sequence[Path],
    port: int,
    opens: bool,
    data: Sequence[str],
    log_json: bool,
    quiet: bool,
) -> None:
    """Serve a viewer of RUNS to this machine only, until Ctrl-C.

    Images are read from your own data folders when they are looked at, and stored nowhere.
    """
    import webbrowser

    from harness.commands.progress import RunProgress
    from harness.roots import data_roots
    from reports.runs import dataset_source, read_runs, training_bank
    from reports.viewer import open_server
    from reports.viewer_data import Gallery

    with RunProgress(quiet=quiet, log_json=log_json) as told:
        roots = data_roots(data)
        source = dataset_source(roots, told.progress)
        gallery = Gallery(read_runs(runs), source, training_bank(roots))
        server, address = open_server(gallery, port)
    click.echo(f"viewer: {address}  (this machine only; Ctrl-C ends it)")
    if opens:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo("viewer closed")
    finally:
        server.server_close()
