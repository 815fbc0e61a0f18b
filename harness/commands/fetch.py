"""`bench fetch WHAT`: which weights are missing and how to get them; downloads only if allowed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from harness.commands.options import row_options
from harness.commands.rows import print_rows
from harness.errors import BenchError, WeightsAbsent, unknown
from harness.registry import card_names


@click.command("fetch")
@click.argument("what", nargs=-1, required=True)
@click.option("--allow-download", is_flag=True, help="Open a connection to the hub.")
@row_options("Print only what is missing.")
def command(what: Sequence[str], allow_download: bool, log_json: bool, quiet: bool) -> None:
    """Say which weights WHAT needs (a suite, or names of models), and get them if allowed.

    Without --allow-download nothing leaves this machine. Exit code 1: some are missing.
    """
    rows = []
    missing = 0
    for name in _cards(what):
        state, absent = _state(name, allow_download=allow_download)
        missing += absent
        if absent or not quiet:
            rows.append({"model": name, "state": state})
    print_rows(rows, log_json=log_json)
    if missing:
        raise SystemExit(1)


def _cards(what: Sequence[str]) -> list[str]:
    known = set(card_names())
    names: list[str] = []
    for item in what:
        names += [item] if item in known else _of_suite(item, known)
    if not names:
        raise BenchError(f"{' '.join(what)}: names no model with weights to fetch.")
    return list(dict.fromkeys(names))


def _of_suite(name: str, known: set[str]) -> list[str]:
    from harness.suite import read_suite, shipped_suites

    suites = {Path(file).stem for file in shipped_suites()}
    if Path(name).name == name and Path(name).stem not in suites and not Path(name).is_file():
        raise unknown("model or suite", name, known | suites)
    suite, _ = read_suite(name)
    named = [text for model in suite.models for text in (model.target, *_texts(model.options))]
    named += [text for asked in suite.evaluations for text in _texts(asked.options)]
    return [text for text in named if text in known]


def _texts(value: Any) -> Iterator[str]:
    """Every text in options: a control, a retriever or a grounder may name a model there."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from _texts(inner)


def _state(name: str, *, allow_download: bool) -> tuple[str, bool]:
    from baselines.cards import read_card
    from baselines.fetching import fetch
    from baselines.revisions import record_file
    from baselines.weights import locate

    card = read_card(name)
    try:
        return f"present: {locate(card).identity}", False
    except WeightsAbsent as absent:
        if not allow_download:
            return str(absent), True
    try:
        found = fetch(card).identity
    except BenchError as error:
        return str(error), True
    if card.source.pinned:
        return f"fetched: {found}", False
    return (
        f"fetched: {found} ({card.source.revision}, from now on this commit: {record_file()})",
        False,
    )
