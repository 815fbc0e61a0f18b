"""`bench run --dry-run`: the cells, what is cached, what is missing; nothing is loaded."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.bank import with_bank
from harness.data_access import DataAccess, Loaded
from harness.datasets.table import dataset_spec
from harness.errors import WeightsAbsent
from harness.plan import CellPlan
from harness.run import Settings
from harness.store import Store
from harness.suite_schema import Evaluation


def print_plan(cells: Sequence[CellPlan], data: DataAccess, settings: Settings) -> None:
    """Print one line per cell, finished, to do or skipped; below, once each, why it is skipped.

    Phantoms that are not rendered yet are not rendered for this: such cells are "to do". Those that
    are there are opened only where the folder has a cell that may be of them.
    """
    store = Store(settings.out)
    table = Table(title=f"{settings.suite}: {len(cells)} cells", title_justify="left", box=None)
    for column in ("model", "task", "dataset", "split", "text policy", "state"):
        table.add_column(column, overflow="fold")
    loaded: dict[str, Loaded | str] = {}
    reasons: dict[str, list[str]] = {}
    for plan in cells:
        evaluation, name = plan.evaluation, plan.handle.reference.name
        state, why = _state(plan, data, store, loaded)
        reasons.setdefault(why, []).append(name)
        table.add_row(
            name,
            evaluation.task,
            evaluation.dataset + (f" ({evaluation.cohort})" if evaluation.cohort else ""),
            evaluation.split,
            plan.text_policy,
            state,
        )
    console = Console()
    console.print(table)
    for why, names in reasons.items():
        if why:
            console.print(Text(f"{', '.join(dict.fromkeys(names))}: {why}"), soft_wrap=True)


def _state(
    plan: CellPlan, data: DataAccess, store: Store, loaded: dict[str, Loaded | str]
) -> tuple[str, str]:
    """The state of a cell in a word or two, and what else is to be said of it."""
    name = plan.evaluation.model_dump_json()
    if name not in loaded:
        loaded[name] = _look(plan, data, store)
    found = loaded[name]
    if not isinstance(found, str) and found.dataset is None:
        return "skipped", found.reason
    if not plan.handle.entry.describe:
        return "to do", "it must be loaded to be known, so it may be finished"
    try:
        card = plan.handle.card()
    except WeightsAbsent as absent:
        return "skipped", str(absent)
    if isinstance(found, str) or found.dataset is None:
        return "to do", str(found)
    evaluation, dataset = plan.evaluation, found.dataset
    key = with_bank(plan, data, dataset, {}).key(card, dataset)
    row = plan.handle.reference.name
    cell = store.cell(evaluation.task, dataset.name, dataset.split, row, key)
    return ("finished" if cell.finished() else "to do"), ""


def _look(plan: CellPlan, data: DataAccess, store: Store) -> Loaded | str:
    """The data, or what is to be said of phantoms that need not be opened to know the state."""
    evaluation = plan.evaluation
    if not dataset_spec(evaluation.dataset).is_phantom(data.roots):
        return data.load(evaluation)
    if not data.is_rendered(evaluation):
        return "phantoms, rendered on first use; what is finished is not run again"
    return data.load(evaluation) if _has_cells(evaluation, store) else ""


def _has_cells(evaluation: Evaluation, store: Store) -> bool:
    """Whether the folder has a cell of such an evaluation; of which data, its key alone tells."""
    named = f"{evaluation.task}-{evaluation.dataset}-{evaluation.split}-*/record.json"
    return any((store.root / "cells").glob(named))
