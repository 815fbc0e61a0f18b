"""`bench list models|datasets|metrics|tasks`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from harness.commands.options import data_option, row_options
from harness.commands.rows import print_rows

Row = dict[str, Any]


@click.command("list")
@click.argument("what", type=click.Choice(["models", "datasets", "metrics", "tasks"]))
@data_option
@row_options("Print the names only.")
def command(what: str, data: Sequence[str], log_json: bool, quiet: bool) -> None:
    """Print what there is: models, datasets, metrics or tasks."""
    tables: dict[str, Callable[[Sequence[str]], Iterator[Row]]] = {
        "models": _models,
        "datasets": _datasets,
        "metrics": _metrics,
        "tasks": _tasks,
    }
    rows = tables[what](data)
    if quiet and not log_json:
        for name in dict.fromkeys(row["name"] for row in rows):
            click.echo(name)
        return
    print_rows(rows, log_json=log_json)


def _models(data: Sequence[str]) -> Iterator[Row]:
    del data
    from harness.commands.models_table import model_rows

    names = ("name", "kind", "family", "licence", "trained_on", "verified", "state")
    return (dict(zip(names, row, strict=True)) for row in model_rows())


def _datasets(data: Sequence[str]) -> Iterator[Row]:
    from harness.datasets.counts import dataset_rows
    from harness.roots import data_roots

    names = ("name", "state", "split", "patients", "studies", "images", "phrases", "published")
    return (dict(zip(names, row, strict=True)) for row in dataset_rows(data_roots(data)))


def _metrics(data: Sequence[str]) -> Iterator[Row]:
    del data
    from harness.tasks import TASKS, find_task

    for task in TASKS:
        for metric in find_task(task).metrics.values():
            facts = [metric.definition, f"Needs {metric.needs}." * bool(metric.needs)]
            facts += ["Lower is better."] * (not metric.higher_is_better)
            yield {"name": metric.name, "task": task, "definition": " ".join(filter(None, facts))}


def _tasks(data: Sequence[str]) -> Iterator[Row]:
    del data
    from harness.tasks import TASKS, find_task

    for name in TASKS:
        task = find_task(name)
        options = ", ".join(f"{key}={value}" for key, value in task.defaults.items())
        module = __import__(TASKS[name], fromlist=["TASK"])
        first = (module.__doc__ or "").strip().splitlines()[0]
        yield {
            "name": name,
            "metrics": len(task.metrics),
            "options": options,
            "what_is_asked": first,
        }
