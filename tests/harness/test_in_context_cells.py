"""Rows that are shown examples, run for real: their numbers follow the bank and nothing else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from many_processes import EXAMPLE, bench

from harness.store import Store

BANK = ("nih_00003789_000", "nih_00008291_009", "nih_00010610_003", "nih_00010828_023")
COLUMNS = ["model", "group", "metric", "value", "n", "status"]


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """The example films, four of them as a training split."""
    folder = tmp_path / "films"
    shutil.copytree(EXAMPLE, folder)
    table = pd.read_csv(folder / "manifest.csv")
    table.loc[table.image_id.isin(BANK), "split"] = "train"
    table.to_csv(folder / "manifest.csv", index=False)
    return folder


def suite(folder: Path, **demonstrations: Any) -> str:
    told = {"dataset": "manifest", "split": "train", "k": 2, "similarity": "image"}
    encoder = {"name": "pixels", "use": "suite_models:pixels"}
    options = {"retriever": encoder, "demonstrations": {**told, **demonstrations}}
    models = [{"name": "mine", "use": "copy-nearest", "options": options}]
    asked = [{"task": "grounding", "dataset": "manifest", "split": "test", "options": {"draws": 2}}]
    path = folder / "examples.yaml"
    path.write_text(json.dumps({"suite": "examples", "models": models, "evaluations": asked}))
    return str(path)


def run(path: str, films: Path, out: Path, *, processes: int = 1) -> pd.DataFrame:
    cache = str(out.with_name(f"{out.name}-cache"))
    arguments = ["run", path, "--data", f"manifest={films}", "--out", str(out)]
    assert set(bench(arguments, processes=processes, BENCH_CACHE=cache)) == {0}
    table = pd.read_csv(out / "leaderboard.csv", keep_default_na=False)
    assert set(table.status) <= {"ok", "not_scored"}, table.reason.unique()
    return table[COLUMNS]


def test_two_processes_show_each_query_the_examples_that_one_would(
    tmp_path: Path, films: Path
) -> None:
    path = suite(tmp_path)
    two = run(path, films, tmp_path / "two", processes=2)
    pd.testing.assert_frame_equal(two, run(path, films, tmp_path / "one"))


def test_a_corrected_example_makes_the_row_anew(tmp_path: Path, films: Path) -> None:
    path, out = suite(tmp_path), tmp_path / "runs"
    before = run(path, films, out)
    lines = [json.loads(line) for line in (films / "phrases.jsonl").read_text().splitlines()]
    for line in lines:
        if line["image_id"] in BANK:
            line["boxes"] = [[0.01, 0.01, 0.05, 0.05]]
    (films / "phrases.jsonl").write_text("\n".join(map(json.dumps, lines)))
    after = run(path, films, out)
    assert not before.equals(after)
    pd.testing.assert_frame_equal(after, run(path, films, tmp_path / "fresh"))
    first, second = Store(out).records()
    assert first.dataset.fingerprint == second.dataset.fingerprint
    assert first.identity["bank"] != second.identity["bank"]


def test_what_is_left_to_ask_does_not_decide_what_is_refused(tmp_path: Path, films: Path) -> None:
    """The bank has no cardiomegaly: alone it would be refused, beside others it has no example."""
    path, out = suite(tmp_path, filter="same finding"), tmp_path / "runs"
    whole = run(path, films, out)
    (cell,) = (out / "cells").iterdir()
    (cell / "record.json").unlink()
    for shard in (cell / "outcomes").glob("*.parquet"):
        rows = pd.read_parquet(shard)
        rows[rows.image_id != "nih_00008365_000"].to_parquet(shard)
    pd.testing.assert_frame_equal(run(path, films, out), whole)
