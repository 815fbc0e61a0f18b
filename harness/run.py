"""Cells to records: knows no task, model or dataset by name."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.attempt import Attempt, Progress, Settings, look, run_cell, write
from harness.bank import Banks, with_bank
from harness.data_access import DataAccess, Loaded
from harness.errors import BenchError, printable
from harness.executors import Executor, Order, spread
from harness.isolate import Ended, run_isolated, usual_limits
from harness.models import ModelCard
from harness.plan import CellPlan
from harness.ranks import ALONE
from harness.record import RunRecord
from harness.registry import CONTROLS
from harness.store import FINAL
from harness.suite_schema import Evaluation

__all__ = ["Settings", "Watch", "run_cells"]

EXTERNAL = "external"  # the family of models that answer from an environment of their own


def _silent(*_: object) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Watch:
    """Who is told how the run goes; every callback may be left as it is."""

    started: Callable[[CellPlan, int, int], None] = _silent
    progress: Callable[[str, int, int], None] = _silent
    finished: Callable[[RunRecord, bool], None] = _silent


def run_cells(
    cells: Sequence[CellPlan], data: DataAccess, settings: Settings, watch: Watch | None = None
) -> Iterator[tuple[RunRecord, Loaded]]:
    """One record per cell, in order, with the data it was asked about.

    A cell that fails leaves a record that says so, and the others go on.
    """
    told = watch or Watch()
    if settings.executor.kind != "local":
        yield from _spread(cells, data, settings, told)
        return
    for index, attempt in enumerate(_attempts(cells, data, settings, told)):
        told.started(attempt.plan, index, len(cells))
        record, cached = _run_one(attempt)
        told.finished(record, cached)
        yield record, attempt.loaded


def _attempts(
    cells: Sequence[CellPlan], data: DataAccess, settings: Settings, told: Watch
) -> Iterator[Attempt]:
    """The cells with their data; those of one evaluation stand together and share them."""
    last: tuple[Evaluation | None, Loaded] = (None, Loaded(None))
    banks: Banks = {}
    for plan in cells:
        if last[0] is None or plan.evaluation != last[0]:
            last = (plan.evaluation, _in_turn(data, plan.evaluation, settings))
        whole = with_bank(plan, data, last[1].dataset, banks)
        yield Attempt(whole, last[1], data, settings, told.progress)


def _in_turn(data: DataAccess, evaluation: Evaluation, settings: Settings) -> Loaded:
    # The first process renders phantoms and checks images; the others find them in the cache.
    if settings.ranks.first:
        loaded = _load(data, evaluation)
        settings.ranks.meet()
        return loaded
    settings.ranks.meet()
    return _load(data, evaluation)


def _load(data: DataAccess, evaluation: Evaluation) -> Loaded:
    try:
        loaded = data.load(evaluation)
    except BenchError as error:
        return Loaded(None, str(error), damaged=True)
    if loaded.dataset is not None and not loaded.dataset.samples:
        left_out = dict(loaded.dataset.excluded)
        where = f"{evaluation.dataset} {evaluation.split}"
        return Loaded(None, f"{where}: no sample is left; excluded: {left_out}.", damaged=True)
    return loaded


def _run_one(attempt: Attempt) -> tuple[RunRecord, bool]:
    ranks = attempt.settings.ranks
    record, card = ranks.from_first(look(attempt))
    if record is not None:
        return record, record.status in FINAL
    if not _is_isolated(attempt, card):
        return run_cell(attempt)
    # A process of its own is one process: the other ranks wait for it.
    return ranks.from_first(_isolated(attempt) if ranks.first else (attempt.blank(card), False))


def _is_isolated(attempt: Attempt, card: ModelCard | None) -> bool:
    chosen = attempt.settings.isolate
    if chosen is None:
        families = {card.family if card else "", *attempt.plan.inner_families()}
        return EXTERNAL in families
    # The controls are the project's own code, and starting a process takes longer than they do.
    return chosen and attempt.plan.handle.reference.target not in CONTROLS


class _Listener:
    """What is known of a cell that runs in another process; `progress` None: of no interest."""

    def __init__(self, attempt: Attempt, progress: Progress | None = None):
        self.attempt = attempt
        self.progress = progress
        self.card: ModelCard | None = None

    def hear(self, message: Any) -> None:
        if isinstance(message, ModelCard):
            self.card = message
        elif self.progress:
            self.progress(*message)

    def closed(self, ended: Ended) -> tuple[RunRecord, bool]:
        """The record the other process made, or one of how it ended."""
        if ended.status == "ok":
            record, cached = ended.value
            return record, cached
        card = self.card or look(self.attempt)[1]
        blank = self.attempt.blank(card)
        update = {
            "status": ended.status,
            "reason": printable(ended.reason),
            "seconds": {"until_it_ended": ended.seconds},
        }
        return write(self.attempt, card, blank.model_copy(update=update)), False


def _isolated(attempt: Attempt) -> tuple[RunRecord, bool]:
    listener = _Listener(attempt, attempt.progress)
    order = _order(attempt)
    limits = usual_limits(attempt.settings.executor.limits)
    return listener.closed(
        run_isolated(
            work, *order.arguments, limits=limits, heard=listener.hear, private=order.private
        )
    )


def _order(attempt: Attempt, loaded: Loaded | None = None) -> Order:
    dataset = attempt.dataset
    data = replace(attempt.data, report=None)
    sent = loaded if loaded is not None else attempt.loaded
    alone = replace(attempt.settings, isolate=False, executor=Executor(), ranks=ALONE)
    private = dataset.restricted and not dataset.phantom
    return Order((attempt.plan, sent, data, alone), private)


def work(
    tell: Callable[[Any], None],
    plan: CellPlan,
    loaded: Loaded,
    data: DataAccess,
    settings: Settings,
) -> tuple[RunRecord, bool]:
    """A cell in a process of its own; without data, it loads them itself."""
    if loaded.dataset is None:
        loaded = _load(data, plan.evaluation)

    def progress(what: str, done: int, total: int) -> None:
        tell((what, done, total))

    attempt = Attempt(plan, loaded, data, settings, progress, known=tell)
    record, _ = look(attempt)
    return (record, record.status in FINAL) if record is not None else run_cell(attempt)


def _spread(
    cells: Sequence[CellPlan], data: DataAccess, settings: Settings, told: Watch
) -> Iterator[tuple[RunRecord, Loaded]]:
    attempts = list(_attempts(cells, data, settings, told))
    done: dict[int, RunRecord] = {}
    listeners: dict[int, _Listener] = {}

    def close(index: int, record: RunRecord, cached: bool) -> None:
        done[index] = record
        told.started(attempts[index].plan, len(done) - 1, len(attempts))
        told.finished(record, cached)

    for index, attempt in enumerate(attempts):
        record, _ = look(attempt)
        if record is not None:
            close(index, record, record.status in FINAL)
        else:
            listeners[index] = _Listener(attempt)
    places = list(listeners)
    # A job reads the data itself: a file per job that holds the whole table would be large.
    sent = Loaded(None) if settings.executor.kind == "slurm" else None
    orders = [_order(attempts[index], sent) for index in places]

    def heard(number: int, message: Any) -> None:
        listeners[places[number]].hear(message)

    for number, ended in spread(settings.executor, work, orders, heard):
        index = places[number]
        close(index, *listeners[index].closed(ended))
    for index, attempt in enumerate(attempts):
        yield done[index], attempt.loaded
