"""Options that several commands share, spelled once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def data_option(command: Command) -> Command:
    """``--data name=path``, repeatable."""
    return click.option(
        "--data",
        "data",
        multiple=True,
        metavar="NAME=PATH",
        help="Where a dataset lies, e.g. mimic-cxr-jpg=/data/mimic-cxr-jpg. Repeatable.",
    )(command)


def out_option(default: str) -> Callable[[Command], Command]:
    """``--out FOLDER``."""
    return click.option(
        "--out", type=click.Path(path_type=Path), default=None, help=f"Folder (default: {default})."
    )


def evaluation_options(command: Command) -> Command:
    """``--limit --device --seed --models`` and ``--data``: all commands that evaluate take them."""
    command = click.option(
        "--limit", type=click.IntRange(min=1), help="Only the first N studies or images."
    )(command)
    command = click.option(
        "--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps or auto."
    )(command)
    command = click.option("--seed", type=int, default=None, help="Instead of the suite's seeds.")(
        command
    )
    command = click.option(
        "--models",
        default="",
        metavar="A,B",
        help="Only these models; one that the suite does not name is added.",
    )(command)
    return data_option(command)


def output_options(command: Command) -> Command:
    """``--quiet`` and ``--log-json``."""
    command = click.option("--quiet", is_flag=True, help="Print errors and the result only.")(
        command
    )
    return click.option("--log-json", is_flag=True, help="Progress as JSON lines on stderr.")(
        command
    )


def row_options(quiet: str) -> Callable[[Command], Command]:
    """``--quiet`` and ``--log-json`` of a command whose result is a table; `quiet` is its help."""

    def add(command: Command) -> Command:
        command = click.option("--quiet", is_flag=True, help=quiet)(command)
        return click.option("--log-json", is_flag=True, help="JSON lines instead of a table.")(
            command
        )

    return add
