"""`bench check MODEL`: a verdict for each promise of the model's protocols."""

import tempfile
from pathlib import Path

import click

from harness.commands.options import row_options
from harness.commands.rows import print_rows

_STYLES = {"kept": "green", "broken": "red", "not asked": "dim", "measured": "dim"}


@click.command("check")
@click.argument("model")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps or auto.")
@click.option("--variant", default="", help="A variant of the card, e.g. full-field.")
@row_options("Print only the promises that are broken.")
def command(model: str, device: str, variant: str, log_json: bool, quiet: bool) -> None:
    """Show phantoms to MODEL and say which promises of its protocols it keeps.

    MODEL is a name, a folder with its card and weights, or my_pkg.my_file:load. Exits 1 if a
    promise is broken.
    """
    from harness.check import check_model
    from harness.environment import pick_device
    from harness.registry import find_model
    from harness.suite_schema import ModelReference

    options = {"variant": variant} if variant else {}
    handle = find_model(ModelReference(name=model, options=options))
    loaded = handle.load(pick_device(device))
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {
                "promise": verdict.promise,
                "verdict": str(verdict.outcome),
                "found": verdict.detail,
                "likely_mistake": verdict.hint,
            }
            for verdict in check_model(loaded, Path(folder))
        ]
    broken = [row for row in rows if row["verdict"] == "broken"]
    print_rows(broken if quiet else rows, log_json=log_json, styles=_STYLES)
    if broken:
        if not log_json:
            click.echo(f"{model}: {len(broken)} promise(s) broken")
        raise SystemExit(1)
    if not log_json:
        click.echo(f"{model}: keeps every promise it makes")
