"""A cell of one model, rows for it and the record that closes it."""

from pathlib import Path

import pandas as pd

from harness.cell import Cell
from harness.identity import key_of
from harness.record import DatasetInfo, ModelInfo, RunRecord, Score, Status
from harness.store import Store

IDENTITY = {"task": "retrieval", "seed": 0}
KEY = key_of(IDENTITY)


def cell_of(root: Path, model: str = "clip", key: str = KEY) -> Cell:
    return Store(root).cell("retrieval", "mimic-cxr", "test", model, key)


def record(status: Status = "ok", key: str = KEY, value: float = 0.5) -> RunRecord:
    return RunRecord(
        key=key,
        identity=IDENTITY,
        suite="retrieval",
        task="retrieval",
        model=ModelInfo(name="clip", family="clip"),
        dataset=DatasetInfo(name="mimic-cxr", split="test", cohort="frontal"),
        status=status,
        scores=[Score(metric="recall@1", value=value)],
    )


def rows(*ids: str, value: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame({"sample_id": list(ids), "value": [value] * len(ids)})
