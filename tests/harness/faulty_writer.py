"""A run that writes a cell and a cache, and a driver that kills it at chosen calls of the system.

`python faulty_writer.py ROOT POINT...` forks one run per POINT into ROOT/POINT, which kills itself
with SIGKILL at its POINT-th call that changes the disk, and prints `POINT: killed 9`, or
`POINT: CALLS` if it ended before. `python faulty_writer.py ROOT moments N` kills N runs, in ROOT/1
to ROOT/N, at random moments.
"""

import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from harness.embedding_cache import EmbeddingCache, open_cache
from harness.identity import key_of
from harness.models import ModelCard
from harness.record import DatasetInfo, ModelInfo, RunRecord, Score
from harness.store import Cell, Store

IDENTITY = {"model": "m"}
SAMPLES = [f"s{number:02d}" for number in range(24)]
CHANGING = ["open", "write", "fchmod", "fsync", "replace", "unlink", "mkdir"]


def cell_of(root: Path) -> Cell:
    return Store(root / "runs").cell("retrieval", "open-i", "all", "m", key_of(IDENTITY))


def cache_of(root: Path) -> EmbeddingCache:
    return open_cache(ModelCard("m", family="clip", weights="w"), "image", root=root / "cache")


def value_of(sample: str) -> float:
    """What the model says: depends on the sample only, needs all 64 bits."""
    return float(np.random.default_rng(int(sample[1:])).normal())


def vector_of(sample: str) -> np.ndarray:
    return np.random.default_rng(int(sample[1:])).normal(size=8).astype(np.float32)


def run(root: Path, batch: int) -> list[str]:
    """Do what is not done yet, `batch` samples at a time; the samples that were computed."""
    cell, cache = cell_of(root), cache_of(root)
    if cell.finished():
        return []
    computed: list[str] = []
    found, _ = cache.get(SAMPLES)
    missing = [sample for sample, there in zip(SAMPLES, found, strict=True) if not there]
    for start in range(0, len(missing), batch):
        part = missing[start : start + batch]
        cache.put(part, np.stack([vector_of(sample) for sample in part]))
    done = cell.done_ids("ranks")
    todo = [sample for sample in SAMPLES if sample not in done]
    for start in range(0, len(todo), batch):
        part = todo[start : start + batch]
        computed += part
        cell.append("ranks", pd.DataFrame({"sample_id": part, "value": map(value_of, part)}))
    table = cell.read("ranks")
    cell.write_record(
        RunRecord(
            key=cell.key,
            identity=IDENTITY,
            suite="s",
            task="retrieval",
            model=ModelInfo(name="m", family="clip"),
            dataset=DatasetInfo(name="open-i", split="all", cohort="as-given"),
            status="ok",
            scores=[Score(metric="mean", value=float(table["value"].sum()), n=len(table))],
        )
    )
    return computed


def die_at(point: int) -> Callable[[], int]:
    """Kill this process at its `point`-th changing call, a write half done; gives calls so far."""
    counter = itertools.count(1)
    last = [0]

    def patched(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            last[0] = next(counter)
            if last[0] == point:
                if name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])  # type: ignore[index, arg-type]
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in CHANGING:
        setattr(os, name, patched(name, getattr(os, name)))
    return lambda: last[0]


def fork(root: Path, point: int, batch: int) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        calls = die_at(point)
        run(root, batch)
        print(f"{point}: {calls()}", flush=True)
        os._exit(0)
    return child


def kill_at_points(root: Path, points: list[int]) -> None:
    for point in points:
        _, status = os.waitpid(fork(root / str(point), point, batch=5), 0)
        if status:
            print(f"{point}: killed {os.WTERMSIG(status)}", flush=True)


def kill_at_moments(root: Path, count: int) -> None:
    """Kill `count` runs at random moments of the time that one takes."""
    chance = random.Random(0)
    fork_started = time.monotonic()
    os.waitpid(fork(root / "whole", 0, batch=1), 0)
    whole = time.monotonic() - fork_started
    for number in range(1, count + 1):
        child = fork(root / str(number), 0, batch=1)
        time.sleep(chance.uniform(0.0, whole))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    if sys.argv[2] == "moments":
        kill_at_moments(Path(sys.argv[1]), int(sys.argv[3]))
    else:
        kill_at_points(Path(sys.argv[1]), [int(argument) for argument in sys.argv[2:]])
