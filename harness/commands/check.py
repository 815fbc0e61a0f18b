"""`bench check MODEL`: a verdict for each promise of the model's protocols."""

import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_MARKS = {"kept": "[green]kept[/]", "broken": "[red]broken[/]", "not asked": "[dim]not asked[/]"}


@click.command("check")
@click.argument("model")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps or auto.")
@click.option("--variant", default="", help="A variant of the card, e.g. full-field.")
def command(model: str, device: str, variant: str) -> None:
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
    console = Console()
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("promise", "verdict", "found", "likely mistake"):
        table.add_column(column, overflow="fold", no_wrap=column == "verdict")
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        for verdict in check_model(loaded, Path(folder)):
            broken += verdict.outcome == "broken"
            cells = (verdict.promise, _MARKS[verdict.outcome])
            table.add_row(*cells, escape(verdict.detail), escape(verdict.hint))
    console.print(table)
    if broken:
        console.print(f"{model}: {broken} promise(s) broken")
        raise SystemExit(1)
    console.print(f"{model}: keeps every promise it makes")
