"""Eight processes at once: `python crowd_writer.py ROOT` forks them and waits until all have ended.

Each appends 1,000 rows of its own and 100 that its neighbor has too, puts as many vectors into one
cache, writes the record of a cell of its own, and adds 1 to a number under the lock.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from harness.embedding_cache import open_cache
from harness.file_hash import file_sha256
from harness.identity import key_of
from harness.lock import RunLock
from harness.models import ModelCard
from harness.record import DatasetInfo, ModelInfo, RunRecord
from harness.store import Store

PROCESSES, ROWS, SHARED = 8, 1000, 100


def ids_of(process: int) -> list[str]:
    start = process * ROWS
    return [f"{number % (PROCESSES * ROWS):05d}" for number in range(start, start + ROWS + SHARED)]


def write_all(root: Path, process: int) -> None:
    store, key = Store(root / "runs"), key_of({})
    shared = store.cell("retrieval", "d", "all", "shared", key)
    cache = open_cache(ModelCard("m", "clip", weights="w"), "image", root=root)
    ids = ids_of(process)
    for start in range(0, len(ids), 100):
        part = ids[start : start + 100]
        shared.append("ranks", pd.DataFrame({"sample_id": part, "value": [float(i) for i in part]}))
        cache.put(part, np.array([[float(i)] for i in part], np.float32))
    own = RunRecord(
        key=key,
        identity={},
        suite="s",
        task="retrieval",
        model=ModelInfo(name=str(process), family="clip"),
        dataset=DatasetInfo(name="d", split="all", cohort="c"),
        status="ok",
    )
    store.cell("retrieval", "d", "all", str(process), key).write_record(own)
    for _ in range(5):
        with RunLock(root / ".lock", wait=True, beat=0.02, stale=60.0):
            number = root / "number"
            number.write_text(str(int(number.read_text()) + 1))
    file_sha256(root / "weights")


def main(root: Path) -> int:
    children = []
    for process in range(PROCESSES):
        child = os.fork()
        if child == 0:
            try:
                write_all(root, process)
            except BaseException as error:
                print(f"process {process}: {error!r}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
