"""`bench status RUNS`: how far a run is, and whether its folder is what was written."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.commands.options import output_options
from harness.roots import ROOTS

if TYPE_CHECKING:
    from reports.health import Health

_STYLES = {
    "ok": "green",
    "failed": "red",
    "timeout": "red",
    "out_of_memory": "red",
    "started": "yellow",
}


@click.command("status")
@click.argument("runs", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--verify/--no-verify", default=True, help="Check every file's checksum.")
@output_options
def command(runs: Sequence[Path], verify: bool, log_json: bool, quiet: bool) -> None:
    """Say how far the run in each RUNS folder is, verify its files, and print the environment.

    Works from another shell and after the run died; changes nothing. Exit code 1: a file is
    damaged.
    """
    from reports.health import check_folder
    from reports.runs import runs_folders

    console = Console(quiet=quiet or log_json)
    damaged = 0
    for folder in runs_folders(runs) if runs else []:
        health = check_folder(folder)
        damaged += len(health.damages) if verify else 0
        if log_json:
            click.echo(_json(folder, health))
            continue
        _print_progress(console, folder, health)
        if verify:
            _print_health(console, health)
    _print_environment(console)
    if damaged:
        raise SystemExit(1)


def _json(folder: Path, health: "Health") -> str:
    import json

    from reports.progress import cell_states

    states = cell_states(folder, health.records)
    damages = [
        {"file": d.path.name, "cell": d.path.parent.name, "why": d.reason} for d in health.damages
    ]
    told = {"folder": folder.name, "cells": [vars(s) for s in states], "damages": damages}
    return json.dumps(told)


def _print_progress(console: Console, folder: Path, health: "Health") -> None:
    from reports.progress import FINISHED, cell_states, lock_owner

    states = cell_states(folder, health.records)
    owner = lock_owner(folder)
    done = sum(state.state in FINISHED for state in states)
    counted = Counter(state.state for state in states)
    told = ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
    console.print(Text(f"{folder}", style="bold cyan"))
    console.print(f"{done} of {len(states)} cells finished ({told or 'none begun'})")
    if owner is None:
        console.print("no run is at work here", style="dim")
    elif owner.alive is False:
        told = f"the run died ({owner.text}); run the same command to go on"
        console.print(Text(told, style="red"))
    else:
        sure = "" if owner.alive else " (cannot be told from here whether it lives)"
        console.print(Text(f"a run is at work: {owner.text}{sure}", style="green"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("model", "task", "dataset", "split", "state", ""):
        table.add_column(name, overflow="fold")
    for state in states:
        style = _STYLES.get(state.state, "dim")
        policy = f" ({state.text_policy})" * (state.text_policy != "official")
        cohort = f" ({state.cohort})" * (state.cohort not in ("", "as-given", "frontal"))
        row = (state.model, state.task + policy, state.dataset + cohort, state.split)
        table.add_row(*map(Text, row), Text(state.state, style=style), Text(state.detail[:90]))
    console.print(table)


def _print_health(console: Console, health: "Health") -> None:
    for damage in health.damages:
        console.print(Text(f"damaged: {damage.path}: {damage.reason}", style="red"))
    for path in health.aside:
        console.print(Text(f"set aside earlier: {path}", style="yellow"))
    if not health.damages:
        text = f"{len(health.records)} records and {health.files} files are what was written"
        console.print(Text(text, style="green"))


def _print_environment(console: Console) -> None:
    """Versions and which data roots are set: no folder, no user, no token."""
    import os

    from harness.environment import environment

    found = environment("cpu")
    packages = ", ".join(f"{name} {version}" for name, version in sorted(found.packages.items()))
    commit = f", commit {found.commit[:12]}{' (changed)' if found.dirty else ''}" * bool(
        found.commit
    )
    console.print(Text("environment", style="bold cyan"))
    console.print(
        Text(f"python {found.python} on {found.platform}, {found.threads} threads{commit}")
    )
    console.print(Text(packages, style="dim"))
    named = [name for name, root in ROOTS.items() if os.environ.get(root.variable)]
    console.print(Text(f"data roots set in the environment: {', '.join(named) or 'none'}"))
