"""What the viewer shows: tables, samples with both models' outcomes, pixels read when asked."""

from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import BenchError
from harness.metrics.calibration import with_boxes
from harness.models import Grounding
from harness.record import RunRecord
from harness.samples import Dataset, ImageText, PhraseBoxes
from harness.tasks.calibration import read_threshold
from harness.tasks.grounding import read_answers
from reports.paired import Question, open_cell
from reports.runs import DatasetSource, Runs
from reports.sides import comparable
from reports.tables import Section, sections
from reports.tidy import role_of

TASKS = ("grounding", "retrieval")
ROLES = ("model", "control", "ceiling")
SIDES = (160, 1200)  # pixels on the longest side: a thumbnail and the full view
TOP = 10


class Gallery:
    """The tables of some runs; outcomes and pixels are read when they are asked for."""

    def __init__(
        self,
        runs: Runs,
        source: DatasetSource,
        bank: Callable[[RunRecord], Dataset | None] | None = None,
    ):
        self.runs = runs
        self._bank = bank
        self._source = source
        self._memory: dict[tuple[object, ...], Any] = {}
        self._lock = RLock()
        found = [s for s in sections(runs.records) if s.key.task in TASKS]
        self.tables: list[Section] = [s for s in found if any(map(comparable, s.records))]

    def remembered(self, at: tuple[object, ...], make: Callable[[], Any]) -> Any:
        """What `make` gives, computed once."""
        with self._lock:
            if at not in self._memory:
                self._memory[at] = make()
            return self._memory[at]

    def record(self, table: int, key: str) -> RunRecord:
        """The record of that key in a table.

        Raises:
            KeyError: there is none that has outcomes.
        """
        found = (r for r in self.tables[table].records if r.key == key and comparable(r))
        record = next(found, None)
        if record is None:
            raise KeyError(f"record {key[:12]}")
        return record

    def dataset(self, table: int) -> Dataset:
        """The samples of a table, from the user's own root.

        Raises:
            BenchError: they cannot be had here.
        """
        record = self.tables[table].records[0]
        found, reason = self.remembered(("data", table), lambda: self._source(record))
        if found is None:
            raise BenchError(reason)
        return found

    def sample(self, table: int, sample_id: str) -> Any:
        """A sample of the table, or one of the training bank that demonstrations come from.

        Raises:
            KeyError: there is no such sample here.
        """
        asked = self.by_id(table)
        if sample_id in asked:
            return asked[sample_id]
        return self._bank_by_id(table)[sample_id]

    def _bank_by_id(self, table: int) -> Mapping[str, Any]:
        def make() -> dict[str, Any]:
            given = map(self._bank, self.tables[table].records) if self._bank else ()
            bank = next(filter(None, given), None)  # the rows of one suite share their bank
            return {s.sample_id: s for s in bank.samples} if bank else {}

        return self.remembered(("bank", table), make)

    def by_id(self, table: int) -> Mapping[str, Any]:
        """Sample id to sample."""
        samples = self.dataset(table).samples
        return self.remembered(("ids", table), lambda: {s.sample_id: s for s in samples})

    def frame(self, record: RunRecord) -> pd.DataFrame:
        """The stored outcomes of a cell, indexed by sample (and direction)."""
        grounding = record.task == "grounding"
        index = ["sample_id"] if grounding else ["direction", "sample_id"]
        cell = self.runs.cell(record)
        kind = "boxes" if grounding else "ranks"
        return self.remembered(
            ("frame", record.key), lambda: cell.read(kind).set_index(index, drop=False)
        )

    def values(self, record: RunRecord, question: Question) -> dict[str, float]:
        """What each sample contributes to a metric, by sample id."""

        def make() -> dict[str, float]:
            found = open_cell(record, self.runs, self._source)(question)
            return dict(zip(found.samples, found.rows[:, 0].tolist(), strict=True))

        return self.remembered(("values", record.key, question), make)


def table_list(gallery: Gallery) -> list[dict[str, Any]]:
    """Number, title and models of each table."""
    listed = []
    for index, section in enumerate(gallery.tables):
        shown = sorted(filter(comparable, section.records), key=lambda r: ROLES.index(role_of(r)))
        models = [{"key": r.key, "name": r.model.name, "role": role_of(r)} for r in shown]
        about = {"task": section.key.task, "title": section.title, "phantom": section.key.phantom}
        listed.append({"table": index, **about, "models": models})
    return listed


def sample_rows(
    gallery: Gallery, table: int, keys: Sequence[str], direction: str = ""
) -> dict[str, Any]:
    """Columns over all samples of a table: id, finding, and per model a score and an answer.

    In grounding `scores` is the IoU of painted unions (null for a phrase without boxes) and
    `answers` how it was answered; in retrieval `scores` is the rank of the first relevant
    candidate and `answers` is empty.
    """
    records = [gallery.record(table, key) for key in keys]
    task = gallery.tables[table].key.task
    if task == "grounding":
        return _phrase_rows(gallery, table, records)
    return _query_rows(gallery, table, (records, direction))


def _phrase_rows(gallery: Gallery, table: int, records: Sequence[RunRecord]) -> dict[str, Any]:
    samples = [s for s in gallery.dataset(table).samples if isinstance(s, PhraseBoxes)]
    scores = [gallery.values(record, Question("miou")) for record in records]
    frames = [gallery.frame(record)["status"].to_dict() for record in records]
    return {
        "ids": [s.sample_id for s in samples],
        "findings": [s.finding or s.kind for s in samples],
        "boxes": [len(s.boxes) for s in samples],
        "scores": [[_json_number(found.get(s.sample_id)) for s in samples] for found in scores],
        "answers": [[found.get(s.sample_id, "") for s in samples] for found in frames],
    }


def _query_rows(
    gallery: Gallery, table: int, what: tuple[Sequence[RunRecord], str]
) -> dict[str, Any]:
    records, direction = what
    by_id = gallery.by_id(table)
    column = f"rank/{_relevance(gallery.tables[table])}"
    found = [gallery.frame(record).loc[direction] for record in records]
    ids = [i for i in found[0]["sample_id"] if i in by_id] if found else []
    ranks = [[int(r) for r in frame.loc[ids, column]] for frame in found]
    return {
        "ids": ids,
        "findings": [", ".join(by_id[i].labels) or by_id[i].image.view for i in ids],
        "boxes": [1] * len(ids),
        "scores": [[rank or None for rank in column] for column in ranks],
        "answers": [[""] * len(ids) for _ in records],
    }


def _relevance(section: Section) -> str:
    return section.panels[0].relevance or "same_study"


def _json_number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(value, 4)


def sample_detail(
    gallery: Gallery, table: int, keys: Sequence[str], what: tuple[str, str]
) -> dict[str, Any]:
    """One sample with the truth and each model's answer; `what` is (sample id, direction).

    Raises:
        KeyError: no such sample.
    """
    sample_id, direction = what
    sample = gallery.by_id(table)[sample_id]
    records = [gallery.record(table, key) for key in keys]
    about = {"id": sample_id, "patient": sample.image.patient_id, "view": sample.image.view}
    if isinstance(sample, PhraseBoxes):
        answers = [_answer(gallery, table, (record, sample_id)) for record in records]
        truth = {"phrase": sample.phrase, "truth": sample.boxes.tolist(), "kind": sample.kind}
        extra = {"finding": sample.finding, "negated": sample.negated}
        return {**about, **truth, **extra, "answers": answers}
    found = [_ranking(gallery, table, (record, sample_id, direction)) for record in records]
    return {**about, "text": sample.text, "answers": found}


def _answer(gallery: Gallery, table: int, what: tuple[RunRecord, str]) -> dict[str, Any]:
    record, sample_id = what
    answer = _stored(gallery, record, sample_id)
    iou = gallery.values(record, Question("miou")).get(sample_id)
    return {
        "boxes": answer.boxes.tolist(),
        "scores": None if answer.scores is None else answer.scores.tolist(),
        "status": answer.status,
        "raw": answer.raw,
        "iou": _json_number(iou),
        "heatmap": answer.heatmap is not None,
        "demonstrations": [_demonstration(gallery, table, d) for d in answer.demonstrations],
    }


def _stored(gallery: Gallery, record: RunRecord, sample_id: str) -> Grounding:
    """The answer as it was scored: a heat map has become boxes by the cell's threshold."""
    answer = read_answers(gallery.frame(record).loc[[sample_id]])[sample_id]
    cell = gallery.runs.cell(record)
    threshold = gallery.remembered(("threshold", record.key), lambda: read_threshold(cell))
    return answer if threshold is None else with_boxes([answer], threshold)[0]


def _demonstration(gallery: Gallery, table: int, sample_id: str) -> dict[str, Any]:
    """A solved example that an in-context model was shown; only its id where it is not at hand."""
    try:
        sample = gallery.sample(table, sample_id)
    except KeyError:
        return {"id": sample_id}
    if not isinstance(sample, PhraseBoxes):
        return {"id": sample_id}
    return {
        "id": sample_id,
        "sample": sample_id,
        "phrase": sample.phrase,
        "boxes": sample.boxes.tolist(),
    }


def _ranking(gallery: Gallery, table: int, what: tuple[RunRecord, str, str]) -> dict[str, Any]:
    record, sample_id, direction = what
    row = gallery.frame(record).loc[(direction, sample_id)]
    by_id = gallery.by_id(table)
    query: ImageText = by_id[sample_id]
    listed = zip(row["top_ids"], row["top_scores"], strict=False)
    top = [
        {
            "id": found_id,
            "score": round(float(score), 4),
            "relevant": by_id[found_id].image.study_id == query.image.study_id,
            "text": by_id[found_id].text,
        }
        for found_id, score in list(listed)[:TOP]
        if found_id in by_id
    ]
    return {"rank": int(row[f"rank/{_relevance(gallery.tables[table])}"]), "top": top}
