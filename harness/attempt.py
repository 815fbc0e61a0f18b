"""One cell: described, asked, scored and written, in this process."""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.cell_record import (
    blank_record,
    failed_record,
    model_info,
    skipped_record,
    with_scores,
)
from harness.data_access import DataAccess, Loaded
from harness.embedding_cache import EmbeddingCache, open_cache
from harness.environment import environment, pick_device
from harness.errors import WeightsAbsent
from harness.executors import SLOT, Executor
from harness.exposure import exposure, worst
from harness.models import ModelCard, NotScorable
from harness.plan import CellPlan
from harness.ranks import ALONE, Ranks
from harness.record import RunRecord
from harness.samples import Dataset
from harness.store import Cell, Store
from harness.tasks import find_task
from harness.tasks.task import Asking

Progress = Callable[[str, int, int], None]  # what, done, of


def _nobody(_: object) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Settings:
    """How to run, none of which decides a number.

    `isolate`: None means only models of the family `external`.
    """

    out: Path
    suite: str = ""
    device: str = "auto"
    batch_size: int = 32
    store_text: bool = False
    command: str = ""
    cache_embeddings: bool = True
    isolate: bool | None = None
    executor: Executor = field(default_factory=Executor)
    ranks: Ranks = ALONE


@dataclass(frozen=True)
class Attempt:
    """A cell about to be asked, and who is told how far it is.

    `known` is told the card as soon as there is one: whoever survives this process can then name
    the cell that did not.
    """

    plan: CellPlan
    loaded: Loaded
    data: DataAccess
    settings: Settings
    progress: Progress
    known: Callable[[ModelCard], None] = _nobody

    @property
    def dataset(self) -> Dataset:
        """The data; only asked for where they are there."""
        if self.loaded.dataset is None:
            raise ValueError(f"{self.plan.title}: there are no data to ask about")
        return self.loaded.dataset

    def cell(self, card: ModelCard) -> Cell:
        """Where its outcomes are kept."""
        plan, dataset = self.plan, self.dataset
        name = plan.handle.reference.name
        key = plan.key(card, dataset)
        store = Store(self.settings.out)
        return store.cell(plan.evaluation.task, dataset.name, dataset.split, name, key)

    def blank(self, card: ModelCard | None) -> RunRecord:
        """Its record before anything is known; `card` None if the model cannot even say that."""
        settings = self.settings
        if card is None:
            plan = self.plan
            kind = plan.handle.entry.kind
            card = ModelCard(plan.handle.reference.name, kind, trained_on=None)
        record = blank_record(self.plan, card, self.dataset, settings.suite)
        return record.model_copy(
            update={"private": settings.store_text, "command": settings.command}
        )

    def device(self) -> str:
        """The device of the model, shared out where several processes have one machine."""
        # Controls need none, and asking torch takes seconds that a finished suite need not pay.
        if self.plan.handle.entry.kind == "control" and self.plan.inner == self.plan.handle:
            return "cpu"
        device = pick_device(self.settings.device)
        slot = os.environ.get("LOCAL_RANK") or os.environ.get(SLOT)
        if device != "cuda" or not slot:
            return device
        import torch

        return f"cuda:{int(slot) % torch.cuda.device_count()}"


def look(attempt: Attempt) -> tuple[RunRecord | None, ModelCard | None]:
    """What is known without loading a model: a record if nothing need be asked, and the card.

    The record is the finished one, or says that data or weights are not there.
    """
    plan, loaded, suite = attempt.plan, attempt.loaded, attempt.settings.suite
    if loaded.dataset is None:
        absent = skipped_record(plan, None, loaded.reason, suite)
        status = "failed" if loaded.damaged else "skipped"
        return absent.model_copy(update={"status": status}), None
    if not plan.handle.entry.describe:
        return None, None
    try:
        card = plan.handle.card()
    except WeightsAbsent as error:
        return skipped_record(plan, loaded.dataset, str(error), suite), None
    except Exception:
        return None, None  # it fails again where it is recorded
    cell = attempt.cell(card)
    record = cell.record() if cell.finished() else None
    return (with_card(record, card, attempt) if record else None), card


def with_card(record: RunRecord, card: ModelCard, attempt: Attempt) -> RunRecord:
    """A finished record with what the card says today: a corrected card reaches old rows.

    The exposure never gets better than it was: a stored threshold may have made it worse.
    """
    mark = worst([record.exposure, exposure(card, attempt.dataset)])
    update = {"model": model_info(card, attempt.plan), "exposure": mark}
    return record.model_copy(update=update)


def run_cell(attempt: Attempt) -> tuple[RunRecord, bool]:
    """The record of the cell, and whether it had been finished before.

    Whatever the model raises is a record that says so. With several ranks all must call this; the
    first one scores and writes.
    """
    card: ModelCard | None = None
    try:
        with attempt.settings.ranks.together():
            card, model = attempt.plan.handle.describe(_describing(attempt))
            attempt.known(card)
        return _closed(attempt, card, model)
    except WeightsAbsent as error:
        suite = attempt.settings.suite
        return skipped_record(attempt.plan, attempt.dataset, str(error), suite), False
    except Exception as error:
        return failed(attempt, card, error), False


def failed(attempt: Attempt, card: ModelCard | None, error: Exception) -> RunRecord:
    """The failure as a record, written by the first rank."""
    blank = attempt.blank(card)
    return write(attempt, card, failed_record(blank, error, attempt.dataset))


def write(attempt: Attempt, card: ModelCard | None, record: RunRecord) -> RunRecord:
    """The record as its cell holds it; only the first rank writes."""
    if not attempt.settings.ranks.first:
        return record
    plan, dataset = attempt.plan, attempt.dataset
    if card is not None:
        return attempt.cell(card).write_record(record)
    name, task = plan.handle.reference.name, plan.evaluation.task
    store = Store(attempt.settings.out)
    return store.cell(task, dataset.name, dataset.split, name, record.key).write_record(record)


def _describing(attempt: Attempt) -> str:
    # A model that can say who it is without being loaded needs no device for that.
    return "cpu" if attempt.plan.handle.entry.describe else attempt.device()


def _closed(attempt: Attempt, card: ModelCard, model: Any) -> tuple[RunRecord, bool]:
    cell, ranks = attempt.cell(card), attempt.settings.ranks
    with ExitStack() as stack:
        with ranks.together():
            if ranks.first and not cell.finished():
                # Held by another run, it may well be finished once it is free.
                stack.enter_context(cell.lock(wait=True))
        done = ranks.from_first(cell.record() if ranks.first and cell.finished() else None)
        if done is not None:
            return with_card(done, card, attempt), True
        blank = attempt.blank(card)
        try:
            record = _asked(attempt, blank, (card, model), cell)
        except NotScorable as reason:
            # LoFi says which loss it was not given: such a cell is no failure to measure.
            status = "not_taught" if str(reason).startswith("not taught") else "not_scored"
            record = blank.model_copy(update={"status": status, "reason": str(reason)})
        except WeightsAbsent as absent:
            record = blank.model_copy(update={"status": "skipped", "reason": str(absent)})
        except Exception as error:
            record = failed_record(blank, error, attempt.dataset)
        return write(attempt, card, record), False


def _asked(attempt: Attempt, blank: RunRecord, who: tuple[ModelCard, Any], cell: Cell) -> RunRecord:
    plan, dataset, ranks = attempt.plan, attempt.dataset, attempt.settings.ranks
    clock = [time.perf_counter()]
    task = find_task(plan.evaluation.task)
    with ranks.together():
        asking = _asking(attempt, who, cell)
        clock.append(time.perf_counter())
        counts = task.ask(asking)
    clock.append(time.perf_counter())
    if not ranks.first:
        return blank
    scored = task.score(dataset, cell, plan.options, ())
    clock.append(time.perf_counter())
    phases = zip(("load", "ask", "score"), clock, clock[1:], strict=False)
    update = {
        "environment": environment(attempt.device()),
        "seconds": {phase: end - start for phase, start, end in phases},
        "counts": {**counts, **scored.counts},
    }
    return with_scores(blank, scored).model_copy(update=update)


def _asking(attempt: Attempt, who: tuple[ModelCard, Any], cell: Cell) -> Asking:
    plan, data, dataset = attempt.plan, attempt.data, attempt.dataset
    settings = attempt.settings
    card, model = who
    cache = partial(_open_cache, plan.inner_options(card))
    return Asking(
        model=model or plan.handle.load(attempt.device()),
        card=card,
        dataset=dataset,
        sink=cell,
        options=plan.options,
        table=lambda: data.box_table(plan.evaluation, dataset),
        calibration=partial(
            data.calibration, str(plan.options.get("calibrate", "")), phantom=dataset.phantom
        ),
        other=partial(data.other, phantom=dataset.phantom),
        device=attempt.device(),
        embeddings=cache if settings.cache_embeddings else None,
        text_policy=plan.text_policy,
        seed=plan.seed,
        batch_size=settings.batch_size,
        store_text=settings.store_text,
        progress=attempt.progress,
        ranks=settings.ranks,
    )


def _open_cache(
    options: Mapping[str, Any], card: ModelCard, modality: str
) -> EmbeddingCache | None:
    # Without a hash of the weights, other weights could stand behind the same name.
    return open_cache(card, modality, options=options) if card.weights else None
