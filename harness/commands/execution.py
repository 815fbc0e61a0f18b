"""Options that say where cells run and what each may use."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from harness.isolate import Limits

Command = TypeVar("Command", bound=Callable[..., Any])


def execution_options(command: Command) -> Command:
    """``--executor --workers --isolate --timeout --memory``."""
    options = (
        click.option(
            "--executor",
            type=click.Choice(["local", "processes", "slurm"]),
            default="local",
            show_default=True,
            help="Cells one by one, over processes, or as Slurm jobs (set SBATCH_PARTITION, "
            "SBATCH_GPUS, ... for sbatch).",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            default=None,
            callback=lambda _, __, value: value or 0,
            help="Cells at a time with --executor (default: one per core; Slurm: no limit).",
        ),
        click.option(
            "--isolate/--no-isolate",
            default=None,
            help="Each model in a process of its own, which may crash (default: external ones).",
        ),
        click.option(
            "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="MINUTES",
            help="For each cell; implies --isolate (an isolated cell without it: three days).",
        ),
        click.option(
            "--memory", type=click.FloatRange(min=0, min_open=True), metavar="GB",
            help="Resident memory for each cell; implies --isolate (an isolated cell without it: "
            "nine tenths of the machine's).",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def limits_of(timeout: float | None, memory: float | None) -> Limits:
    """The limits of minutes and gigabytes (1e9 bytes)."""
    return Limits(
        seconds=timeout * 60 if timeout else None, memory=int(memory * 1e9) if memory else None
    )
