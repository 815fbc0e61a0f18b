"""One or more runs folders as records, and the way from a record to its outcomes and its data."""

import hashlib
import json
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.data_access import DataAccess, Report
from harness.errors import BenchError
from harness.made_up import MADE_UP, with_made_up_names
from harness.record import DatasetInfo, ModelInfo, RunRecord
from harness.samples import Dataset
from harness.store import Cell, Store
from harness.suite_schema import Evaluation
from harness.tasks.supply import FIRST, bank_evaluation
from reports.tidy import unique_records

# The dataset a record was made on, or the reason why it cannot be had here.
DatasetSource = Callable[[RunRecord], tuple[Dataset | None, str]]


@dataclass(frozen=True)
class Runs:
    """The records below some folders; `homes` says in which folder each record's cell lies."""

    records: tuple[RunRecord, ...]
    homes: Mapping[str, Path]

    def cell(self, record: RunRecord) -> Cell:
        """The cell with the outcomes of a record."""
        data = record.dataset
        store = Store(self.homes[record.key])
        return store.cell(record.task, data.name, data.split, record.model.name, record.key)


def runs_folders(paths: Iterable[Path]) -> list[Path]:
    """The folders that hold `cells`: those given, or those directly below them.

    Raises:
        BenchError: there is none.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(cells.parent for cells in path.glob("*/cells"))
        folders = [path] if (path / "cells").is_dir() else inside
        if not folders:
            raise BenchError(
                f"{path}: no cells here. A runs folder is what `bench run --out` wrote, e.g. "
                "runs/retrieval."
            )
        found += folders
    return list(dict.fromkeys(found))


def read_runs(paths: Sequence[Path]) -> Runs:
    """All records below the folders, one per key.

    Raises:
        BenchError: a folder holds no cells, or none of them has a record.
    """
    found = [
        (record, folder)
        for folder in runs_folders(paths)
        for record in (*Store(folder).records(), *skipped_records(folder))
    ]
    records = unique_records(record for record, _ in found)
    # Of a key that several folders have, outcomes are read where the record that was kept lies.
    kept = {id(record) for record in records}
    homes = {record.key: folder for record, folder in found if id(record) in kept}
    if not records:
        named = ", ".join(str(path) for path in paths)
        raise BenchError(f"{named}: no record yet. `bench status` says how far the run is.")
    return Runs(tuple(records), homes)


def skipped_records(folder: Path) -> list[RunRecord]:
    """Records of the cells that were skipped: they have no cell, only a row in the leaderboard."""
    table = folder / "leaderboard.csv"
    if not table.is_file():
        return []
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    return [_skipped_record(row) for row in rows[rows["status"] == "skipped"].to_dict("records")]


def _skipped_record(row: Mapping[Hashable, str]) -> RunRecord:
    named = {name: row[name] for name in ("model", "task", "dataset", "cohort", "split")}
    return RunRecord(
        key=hashlib.sha256(json.dumps([*named.values(), row["text_policy"]]).encode()).hexdigest(),
        identity={"skipped": named},
        suite="",
        task=row["task"],
        # A cell that was not asked knows of its model only what kind it is.
        model=ModelInfo(
            name=row["model"], family=row["family"], control=row["family"] == "control"
        ),
        dataset=DatasetInfo(
            name=row["dataset"],
            split=row["split"],
            cohort=row["cohort"],
            phantom=row["phantom"] == "true",
        ),
        text_policy=row["text_policy"],
        status="skipped",
        reason=row["reason"],
    )


def limit_of(record: RunRecord) -> int | None:
    """The ``--limit`` a record was run with, from its command or what it left out; else None.

    >>> from harness.record import DatasetInfo, ModelInfo
    >>> parts = dict(key="k", identity={}, suite="s", task="t", status="ok",
    ...              model=ModelInfo(name="m", family="f"),
    ...              dataset=DatasetInfo(name="d", split="test", cohort=""))
    >>> limit_of(RunRecord(**parts, command="bench run s.yaml --limit 40"))
    40
    """
    said = re.search(r"--limit[= ](\d+)", record.command)
    for reason in record.dataset.excluded:
        said = said or re.fullmatch(r"beyond --limit (\d+)", reason)
    return int(said.group(1)) if said else None


def dataset_source(
    roots: Mapping[str, Path], report: Report | None = None, *, limit: int | None = None
) -> DatasetSource:
    """Datasets by record, each loaded once; refused where they are not those of the run.

    `limit` goes before the one that a record tells.
    """
    loaded: dict[tuple[object, ...], tuple[Dataset | None, str]] = {}

    def source(record: RunRecord) -> tuple[Dataset | None, str]:
        info = record.dataset
        at = (record.task, info.name, info.split, info.cohort, info.fingerprint)
        if at not in loaded:
            most = limit or limit_of(record)
            loaded[at] = _load(record, DataAccess(roots, most, report))
        return loaded[at]

    return source


def training_bank(roots: Mapping[str, Path]) -> Callable[[RunRecord], Dataset | None]:
    """The bank that a record's in-context model was shown examples of; None for other models."""

    def bank(record: RunRecord) -> Dataset | None:
        options = dict(record.model.reference.get("options", {}))
        if not {"retriever", "demonstrations"} & options.keys():
            return None
        wanted = options.get("demonstrations") or {}
        phantom = record.dataset.phantom
        evaluation = bank_evaluation(wanted, phantom=phantom)
        try:
            limit = wanted.get("limit", FIRST)
            found = DataAccess(roots).other(evaluation, limit, phantom=phantom)
        except BenchError:
            return None
        return with_made_up_names(found) if record.dataset.cohort == MADE_UP else found

    return bank


def _load(record: RunRecord, access: DataAccess) -> tuple[Dataset | None, str]:
    info = record.dataset
    evaluation = Evaluation(
        task=record.task, dataset=info.name, split=info.split, cohort=info.cohort
    )
    try:
        found = access.load(evaluation)
    except BenchError as error:
        return None, str(error)
    if found.dataset is None:
        return None, found.reason
    if found.dataset.fingerprint() != info.fingerprint:
        return None, (
            f"{info.name} {info.split}: the record was made on data {info.fingerprint[:12]}, here "
            f"lies {found.dataset.fingerprint()[:12]}. Name the folders of that run with --data."
        )
    return found.dataset, ""
