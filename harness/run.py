"""Cells to records: knows no task, model or dataset by name."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cell_record import blank_record, failed_record, skipped_record, with_scores
from harness.data_access import DataAccess, Loaded
from harness.embedding_cache import EmbeddingCache, open_cache
from harness.environment import environment, pick_device
from harness.errors import BenchError, WeightsAbsent
from harness.models import ModelCard, NotScorable
from harness.plan import CellPlan
from harness.record import RunRecord
from harness.samples import Dataset
from harness.store import Cell, Store
from harness.suite_schema import Evaluation
from harness.tasks import find_task
from harness.tasks.task import Asking


@dataclass(frozen=True)
class Settings:
    """How to run, none of which decides a number."""

    out: Path
    suite: str = ""
    device: str = "auto"
    batch_size: int = 32
    store_text: bool = False
    command: str = ""
    cache_embeddings: bool = True


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
    store = Store(settings.out)
    last: tuple[Evaluation | None, Loaded] = (None, Loaded(None))
    for index, plan in enumerate(cells):
        told.started(plan, index, len(cells))
        if last[0] is None or plan.evaluation != last[0]:
            last = (plan.evaluation, _load(data, plan.evaluation))
        record, cached = _run_one(plan, last[1], store, (data, settings, told))
        told.finished(record, cached)
        yield record, last[1]


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


def _run_one(
    plan: CellPlan, loaded: Loaded, store: Store, how: tuple[DataAccess, Settings, Watch]
) -> tuple[RunRecord, bool]:
    settings = how[1]
    if loaded.dataset is None:
        absent = skipped_record(plan, None, loaded.reason, settings.suite)
        status = "failed" if loaded.damaged else "skipped"
        return absent.model_copy(update={"status": status}), False
    dataset = loaded.dataset
    try:
        card, model = plan.handle.describe(_device(plan, settings))
    except WeightsAbsent as error:
        return skipped_record(plan, dataset, str(error), settings.suite), False
    except Exception as error:
        unseen = ModelCard(plan.handle.reference.name, plan.handle.entry.kind, trained_on=None)
        blank = blank_record(plan, unseen, dataset, settings.suite)
        cell = _cell(store, plan, dataset, blank.key)
        return cell.write_record(failed_record(blank, error, dataset)), False
    cell = _cell(store, plan, dataset, plan.key(card, dataset))
    if cell.finished():
        record = cell.record()
        if record is not None:
            return record, True
    return cell.write_record(_attempt((plan, card, model), (dataset, cell), how)), False


def _cell(store: Store, plan: CellPlan, dataset: Dataset, key: str) -> Cell:
    name = plan.handle.reference.name
    return store.cell(plan.evaluation.task, dataset.name, dataset.split, name, key)


def _device(plan: CellPlan, settings: Settings) -> str:
    # Controls need none, and asking torch takes seconds that a finished suite need not pay.
    if plan.handle.entry.kind == "control":
        return "cpu"
    return settings.device if plan.handle.entry.describe else pick_device(settings.device)


def _attempt(
    who: tuple[CellPlan, ModelCard, Any],
    target: tuple[Dataset, Cell],
    how: tuple[DataAccess, Settings, Watch],
) -> RunRecord:
    dataset, _ = target
    settings = how[1]
    blank = blank_record(who[0], who[1], dataset, settings.suite).model_copy(
        update={"private": settings.store_text, "command": settings.command}
    )
    try:
        return _asked(blank, who, target, how)
    except NotScorable as reason:
        return blank.model_copy(update={"status": "not_scored", "reason": str(reason)})
    except WeightsAbsent as absent:
        return blank.model_copy(update={"status": "skipped", "reason": str(absent)})
    except Exception as error:
        return failed_record(blank, error, dataset)


def _asked(
    blank: RunRecord,
    who: tuple[CellPlan, ModelCard, Any],
    target: tuple[Dataset, Cell],
    how: tuple[DataAccess, Settings, Watch],
) -> RunRecord:
    plan, card, model = who
    dataset, cell = target
    data, settings, watch = how
    clock = [time.perf_counter()]
    device = _device(plan, settings)
    asking = Asking(
        model=model or plan.handle.load(pick_device(device)),
        card=card,
        dataset=dataset,
        sink=cell,
        options=plan.options,
        table=lambda: data.box_table(plan.evaluation, dataset),
        calibration=lambda: data.calibration(str(plan.options.get("calibrate", ""))),
        embeddings=_open_cache if settings.cache_embeddings else None,
        text_policy=plan.text_policy,
        seed=plan.seed,
        batch_size=settings.batch_size,
        store_text=settings.store_text,
        progress=watch.progress,
    )
    task = find_task(plan.evaluation.task)
    clock.append(time.perf_counter())
    counts = task.ask(asking)
    clock.append(time.perf_counter())
    scored = task.score(dataset, cell, plan.options, ())
    clock.append(time.perf_counter())
    phases = zip(("load", "ask", "score"), clock, clock[1:], strict=False)
    update = {
        "environment": environment(pick_device(device)),
        "seconds": {phase: end - start for phase, start, end in phases},
        "counts": {**counts, **scored.counts},
    }
    return with_scores(blank, scored).model_copy(update=update)


def _open_cache(card: ModelCard, modality: str) -> EmbeddingCache | None:
    # Without a hash of the weights, other weights could stand behind the same name.
    return open_cache(card, modality) if card.weights else None
