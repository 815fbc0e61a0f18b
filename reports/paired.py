"""What each sample contributes to a metric under two or more models, aligned by sample id."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from harness.cell import Cell
from harness.errors import BenchError, unknown
from harness.metrics import compare
from harness.metrics.bootstrap import MIN_PATIENTS, draw_values
from harness.metrics.metric import Metric, contributions, scored, value_of_rows
from harness.record import RunRecord
from harness.samples import Dataset, ImageText, PhraseBoxes
from harness.tasks import find_task
from reports.runs import DatasetSource, Runs


@dataclass(frozen=True)
class Contributed:
    """One cell's rows for one metric, in the order of `samples`.

    Attributes:
        rows: (n, k), NaN where the metric does not speak of the sample.
        patients: (n,) integer codes, equal codes for equal patients in every cell of the data.
        samples: sample ids.
        groups: group -> (n,) mask; only ``all`` where the dataset is not at hand.
    """

    record: RunRecord
    metric: Metric
    rows: np.ndarray
    patients: np.ndarray
    samples: tuple[str, ...]
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The metric over group ``all``."""
        return value_of_rows(self.metric, self.rows[self.groups["all"]])


@dataclass(frozen=True)
class Question:
    """Which number is compared."""

    metric: str
    direction: str = ""
    relevance: str = ""


def contributed(
    record: RunRecord, question: Question, runs: Runs, source: DatasetSource
) -> Contributed:
    """What every sample of a finished cell contributes to one metric; see `open_cell`."""
    return open_cell(record, runs, source)(question)


def open_cell(
    record: RunRecord, runs: Runs, source: DatasetSource
) -> Callable[[Question], Contributed]:
    """The stored outcomes of a finished cell, read once, to be asked about any metric.

    Retrieval needs the stored ranks only; the other tasks need the truth, so the dataset.

    Raises:
        BenchError: no outcomes (analytic chance), or no dataset where one is needed; when asked,
            an unknown metric.
    """
    task = find_task(record.task)
    kind = task.kinds[0]
    frame = runs.cell(record).read(kind)
    if frame.empty:
        raise BenchError(
            f"{record.model.name}: no stored outcomes ({kind}) for {record.task} "
            f"{record.dataset.name}, so it cannot be compared sample by sample."
        )
    dataset, reason = source(record)
    if record.task == "retrieval":
        look = partial(_retrieval, record, frame, dataset)
    elif dataset is None:
        raise BenchError(f"{record.task} {record.dataset.name} needs its truth: {reason}")
    else:
        look = partial(_always, _SEEN[record.task](dataset, runs.cell(record)))

    def ask(question: Question) -> Contributed:
        if question.metric not in task.metrics:
            raise unknown(f"metric of task {task.name}", question.metric, task.metrics)
        metric = task.metrics[question.metric]
        seen = look(question)
        rows = contributions(metric, seen.outcomes)
        patients = np.asarray(seen.outcomes.patients)
        return Contributed(record, metric, rows, patients, seen.samples, seen.groups)

    return ask


@dataclass(frozen=True)
class _Seen:
    """Outcomes that a metric takes, with the samples they belong to."""

    outcomes: Any
    samples: tuple[str, ...]
    groups: Mapping[str, np.ndarray]


def _always(seen: _Seen, question: Question) -> _Seen:
    """The outcomes of all tasks but retrieval serve every question."""
    del question
    return seen


def _codes(patients: Sequence[str]) -> np.ndarray:
    return np.unique(np.asarray(patients, str), return_inverse=True)[1]


def _listed(record: RunRecord, direction: str, queries: int) -> int:
    """Among how many candidates label hits were counted: all asked texts, or all images."""
    if direction == "image_to_text":
        return queries
    return next((s.pool for s in record.scores if s.direction == direction and s.pool), queries)


def _retrieval(
    record: RunRecord, frame: pd.DataFrame, dataset: Dataset | None, question: Question
) -> _Seen:
    from harness.metrics.retrieval import RankedQueries
    from harness.tasks.retrieval_groups import retrieval_groups

    rows = frame[frame["direction"] == question.direction].sort_values("sample_id")
    name = question.relevance
    hits = rows["label_hits"]
    queries = RankedQueries(
        patients=_codes(rows["patient_id"].tolist()),
        rank=rows[f"rank/{name}"].to_numpy(np.int64),
        tied=rows[f"tied/{name}"].to_numpy(bool),
        relevant=rows[f"relevant/{name}"].to_numpy(np.int64),
        dcg=np.stack(list(rows[f"dcg/{name}"])),
        label_hits=None if hits.isna().any() else np.stack(list(hits)),
        candidates=_listed(record, question.direction, len(rows)),
    )
    ids = tuple(rows["sample_id"])
    groups = {"all": np.ones(len(ids), bool)}
    if dataset is not None:
        by_id = {s.sample_id: s for s in dataset.samples if isinstance(s, ImageText)}
        groups |= retrieval_groups([by_id[i] for i in ids])
    return _Seen(queries, ids, groups)


def _grounding(dataset: Dataset, cell: Cell) -> _Seen:
    from harness.metrics.grounding import from_samples
    from harness.tasks.grounding import answered
    from harness.tasks.grounding_groups import grounding_groups

    samples, answers = answered(dataset, cell)
    outcomes = from_samples(samples, answers)
    return _Seen(outcomes, tuple(s.sample_id for s in samples), grounding_groups(samples))


def _probe(dataset: Dataset, cell: Cell) -> _Seen:
    from harness.tasks.probe import choices_of, chosen_sides
    from harness.tasks.probe_groups import probe_groups

    samples = choices_of(dataset)
    outcomes = chosen_sides(samples, cell)
    return _Seen(outcomes, tuple(s.sample_id for s in samples), probe_groups(samples))


def _captioning(dataset: Dataset, cell: Cell) -> _Seen:
    from harness.tasks.caption_samples import caption_groups
    from harness.tasks.captioning import KIND, captioned

    samples, outcomes = captioned(dataset, cell.read(KIND))
    groups = caption_groups(
        [s for s in samples if isinstance(s, ImageText)],
        [s for s in samples if isinstance(s, PhraseBoxes)],
    )
    return _Seen(outcomes, tuple(s.sample_id for s in samples), groups)


_SEEN = {"grounding": _grounding, "probe": _probe, "captioning": _captioning}


def check_aligned(cells: Sequence[Contributed]) -> None:
    """Do nothing if all cells asked the same samples of the same data.

    Raises:
        BenchError: fingerprints differ, or a sample is in one and not in the other.
    """
    first = cells[0]
    for other in cells[1:]:
        one, two = first.record.dataset.fingerprint, other.record.dataset.fingerprint
        if one != two:
            raise BenchError(
                f"{first.record.model.name} was asked on data {one[:12]}, "
                f"{other.record.model.name} on {two[:12]}. Only cells on the same data can be "
                "compared: run both again with the same --data and --limit."
            )
        if first.samples != other.samples:
            odd = sorted(set(first.samples) ^ set(other.samples))
            raise BenchError(
                f"{first.record.model.name} and {other.record.model.name} were not asked the same "
                f"samples: {len(odd)} differ{f', the first is {odd[0]!r}' if odd else ' in order'}."
            )


def paired_draws(
    cells: Sequence[Contributed], *, group: str = "all", draws: int = 1000, seed: int = 0
) -> np.ndarray:
    """The value of each cell in each bootstrap draw, the same patients for all, (cells, draws)."""
    check_aligned(cells)
    mask = cells[0].groups[group][:, None]
    table = [(cell.metric, np.where(mask, cell.rows, np.nan)) for cell in cells]
    return draw_values(table, cells[0].patients, draws, seed)


def rank_ranges(
    cells: Sequence[Contributed], *, draws: int = 1000, seed: int = 0
) -> dict[str, str]:
    """The ranks each model can have, by record key: ``1``, or ``2–4`` for a tie group.

    A model's best rank is one more than the number of models that beat it, its worst the number of
    models that it does not beat; to beat is a paired 95 % interval that excludes zero. Fewer than
    20 patients: no rank.
    """
    if len(cells) < 2 or _patients(cells[0]) < MIN_PATIENTS:
        return {}
    drawn = paired_draws(cells, draws=draws, seed=seed)
    higher = cells[0].metric.higher_is_better
    ranges = compare.rank_ranges(drawn, higher_is_better=higher)
    return {
        cell.record.key: str(best) if best == worst else f"{best}–{worst}"
        for cell, (best, worst) in zip(cells, ranges, strict=True)
    }


def _patients(cell: Contributed) -> int:
    kept = scored(cell.rows) & cell.groups["all"]
    return len(np.unique(cell.patients[kept]))
