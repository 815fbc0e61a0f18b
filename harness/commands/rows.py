"""Rows that are a command's result: a table on a screen, or one JSON object per line."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNFOLDED = 100_000  # columns in a pipe or a file, so that each row is one line


def print_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    log_json: bool,
    title: str = "",
    styles: Mapping[str, str] | None = None,
) -> None:
    """Print rows that share their keys; the first key's cells are never folded.

    Args:
        rows: what is printed, as it stands: a cell is text and no markup.
        log_json: JSON lines in place of a table; title and styles are then left out.
        title: a line above the table.
        styles: the color of a cell that holds exactly this text.
    """
    kept = list(rows)
    if log_json:
        for row in kept:
            click.echo(json.dumps(dict(row), ensure_ascii=False))
        return
    table = Table(title=title or None, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for number, name in enumerate(kept[0] if kept else ()):
        table.add_column(name.replace("_", " "), overflow="fold", no_wrap=number == 0)
    for row in kept:
        cells = map(str, row.values())
        table.add_row(*(Text(cell, style=(styles or {}).get(cell, "")) for cell in cells))
    console = Console()
    if not console.is_terminal:
        console = Console(width=UNFOLDED)
    if kept:
        console.print(table)
