"""Many processes in one runs folder and one cache: nothing lost, nothing doubled."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.embedding_cache import open_cache
from harness.file_hash import file_sha256
from harness.identity import key_of
from harness.models import ModelCard
from harness.store import Store

REPOSITORY = Path(__file__).parents[2]
WRITER = Path(__file__).with_name("crowd_writer.py")


def test_eight_processes_of_a_thousand_rows_lose_and_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "number").write_text("0")
    (tmp_path / "weights").write_bytes(b"weights" * 1000)
    os.utime(tmp_path / "weights", (1e9, 1e9))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(WRITER), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ids = [f"{number:05d}" for number in range(8000)]
    store = Store(tmp_path / "runs")
    table = store.cell("retrieval", "d", "all", "shared", key_of({})).read("ranks")
    assert table["sample_id"].tolist() == ids
    assert table["value"].tolist() == [float(number) for number in range(8000)]
    assert [record.model.name for record in store.records()] == [str(n) for n in range(8)]
    found, vectors = open_cache(ModelCard("m", "clip", weights="w"), "image", root=tmp_path).get(
        ids
    )
    assert found.all()
    assert vectors[:, 0].tolist() == table["value"].tolist()
    assert (tmp_path / "number").read_text() == "40"
    assert file_sha256(tmp_path / "weights") == hashlib.sha256(b"weights" * 1000).hexdigest()
    assert not list(tmp_path.rglob("quarantine"))
    assert caplog.text == ""
