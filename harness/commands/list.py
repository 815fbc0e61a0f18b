"""`bench list models|datasets|metrics|tasks`."""

from collections.abc import Callable, Sequence

import click
from rich.console import Console
from rich.table import Table

from harness.commands.options import data_option


@click.command("list")
@click.argument("what", type=click.Choice(["models", "datasets", "metrics", "tasks"]))
@data_option
def command(what: str, data: Sequence[str]) -> None:
    """Print what there is: models, datasets, metrics or tasks."""
    tables: dict[str, Callable[[Sequence[str]], Table]] = {
        "models": _models,
        "datasets": _datasets,
        "metrics": _metrics,
        "tasks": _tasks,
    }
    console = Console()
    if not console.is_terminal:  # in a pipe or a file, one line per row
        console = Console(width=240)
    console.print(tables[what](data))


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    return table


def _models(data: Sequence[str]) -> Table:
    del data
    from harness.commands.models_table import model_rows

    table = _table("name", "kind", "family", "licence", "trained on", "verified", "state")
    for row in model_rows():
        table.add_row(*row)
    return table


def _datasets(data: Sequence[str]) -> Table:
    from harness.datasets.counts import dataset_rows
    from harness.roots import data_roots

    table = _table(
        "name", "state", "split", "patients", "studies", "images", "phrases", "published"
    )
    for row in dataset_rows(data_roots(data)):
        table.add_row(*row)
    return table


def _metrics(data: Sequence[str]) -> Table:
    del data
    from harness.tasks import TASKS, find_task

    table = _table("name", "definition")
    for task in TASKS:
        table.add_row(f"[bold]{task}[/]", "")
        for metric in find_task(task).metrics.values():
            facts = [metric.definition, f"Needs {metric.needs}." * bool(metric.needs)]
            facts += ["Lower is better."] * (not metric.higher_is_better)
            table.add_row(metric.name, " ".join(filter(None, facts)))
    return table


def _tasks(data: Sequence[str]) -> Table:
    del data
    from harness.tasks import TASKS, find_task

    table = _table("name", "metrics", "options", "what is asked")
    for name in TASKS:
        task = find_task(name)
        options = ", ".join(f"{key}={value}" for key, value in task.defaults.items())
        module = __import__(TASKS[name], fromlist=["TASK"])
        first = (module.__doc__ or "").strip().splitlines()[0]
        table.add_row(name, str(len(task.metrics)), options, first)
    return table
