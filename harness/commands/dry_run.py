"""`bench run --dry-run`: the cells, what is cached, what is missing; nothing is loaded."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from harness.data_access import DataAccess, Loaded
from harness.datasets.table import dataset_spec
from harness.errors import WeightsAbsent
from harness.plan import CellPlan
from harness.run import Settings
from harness.store import Store


def print_plan(cells: Sequence[CellPlan], data: DataAccess, settings: Settings) -> None:
    """Print one line per cell: finished, to do, or why it will be skipped.

    Phantom data that are not rendered yet are not rendered for this: such cells are "to do".
    """
    store = Store(settings.out)
    table = Table(title=f"{settings.suite}: {len(cells)} cells", title_justify="left")
    for column in ("model", "task", "dataset", "split", "text policy", "state"):
        table.add_column(column, overflow="fold")
    loaded: dict[str, Loaded | str] = {}
    for plan in cells:
        evaluation = plan.evaluation
        table.add_row(
            plan.handle.reference.name,
            evaluation.task,
            evaluation.dataset + (f" ({evaluation.cohort})" if evaluation.cohort else ""),
            evaluation.split,
            plan.text_policy,
            _state(plan, data, store, loaded),
        )
    Console().print(table)


def _state(plan: CellPlan, data: DataAccess, store: Store, loaded: dict[str, Loaded | str]) -> str:
    name = plan.evaluation.model_dump_json()
    if name not in loaded:
        loaded[name] = _look(plan, data)
    found = loaded[name]
    if isinstance(found, str):
        return found
    if found.dataset is None:
        return f"skipped: {found.reason}"
    if not plan.handle.entry.describe:
        return "to do, unless finished (it must be loaded to be known)"
    try:
        card = plan.handle.card()
    except WeightsAbsent as absent:
        return f"skipped: {absent}"
    cell = store.cell(
        plan.evaluation.task,
        found.dataset.name,
        found.dataset.split,
        plan.handle.reference.name,
        plan.key(card, found.dataset),
    )
    return "finished" if cell.finished() else "to do"


def _look(plan: CellPlan, data: DataAccess) -> Loaded | str:
    spec = dataset_spec(plan.evaluation.dataset)
    if spec.is_phantom(data.roots):
        return "to do (phantom, rendered on first use)"
    return data.load(plan.evaluation)
