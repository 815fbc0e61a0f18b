"""What a million images and pairs cost: `pytest tests/speed/test_scale.py -m speed -s`, by hand.

Processor seconds of one thread; sizes by BENCH_SCALE_N (default 10,000). See `harness/SCALE.md`.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.embedding_cache import open_cache
from harness.identity import key_of
from harness.metrics.pool import pool_of
from harness.metrics.ranking import Embeddings, rank_pairs
from harness.models import ModelCard
from harness.store import Store

pytestmark = pytest.mark.speed

N = int(os.environ.get("BENCH_SCALE_N", "10000"))
D = 512
BEYOND = 200e6  # bytes that ranking may need over its inputs


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and texts of 200 groups that share 300 directions, and noise of their own."""
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(300, D)).astype(np.float32) / 8
    codes = (
        rng.normal(size=(count, 300)) + rng.normal(size=(200, 300))[rng.integers(200, size=count)]
    )
    shared = codes.astype(np.float32) @ spread
    sides = [unit(shared + 6 * rng.normal(size=(count, D)).astype(np.float32)) for _ in range(2)]
    return sides[0], sides[1]


def measured(work: Callable[[], object]) -> tuple[float, float, int]:
    """Processor seconds, elapsed seconds, and bytes resident beyond those before, at most."""
    most, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            most[0] = max(most[0], _resident())

    start = _resident()
    watcher = threading.Thread(target=watch)
    watcher.start()
    processor, elapsed = time.process_time(), time.perf_counter()
    work()
    processor, elapsed = time.process_time() - processor, time.perf_counter() - elapsed
    stop.set()
    watcher.join()
    return processor, elapsed, max(0, most[0] - start)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_exact_ranks_of_n_by_n() -> None:
    images, texts = pairs(N)
    names = [str(number) for number in range(N)]
    pool, _ = pool_of(studies=names, patients=names, texts=names, groups=[""] * N, asked=[True] * N)
    seconds, elapsed, memory = measured(lambda: rank_pairs(pool, Embeddings(images, texts)))
    per_pair = seconds / N**2
    print(
        f"\nranks {N:,} x {N:,}, d = {D}: processor {seconds:.1f} s, elapsed {elapsed:.1f} s, "
        f"memory over inputs {memory / 1e6:.0f} MB, {per_pair * 1e9:.2f} ns a pair"
    )
    assert memory < BEYOND


def test_outcomes_of_n_queries(tmp_path: Path) -> None:
    cell = Store(tmp_path).cell("retrieval", "d", "all", "m", key_of({}))
    rng = np.random.default_rng(0)

    def write() -> None:
        for start in range(0, N, 1000):
            ids = [f"s{number:09d}" for number in range(start, min(start + 1000, N))]
            columns = {f"rank/{c}": rng.integers(1, 10**6, len(ids)) for c in "abcd"}
            cell.append("ranks", pd.DataFrame({"sample_id": ids, **columns}))
        assert len(cell.read("ranks")) == N

    seconds, elapsed, memory = measured(write)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))
    print(
        f"\nstore {N:,} rows: processor {seconds:.1f} s, elapsed {elapsed:.1f} s, "
        f"memory {memory / 1e6:.0f} MB, disk {size / 1e6:.0f} MB"
    )


def test_embeddings_of_n_images(tmp_path: Path) -> None:
    rows, _ = pairs(N)
    ids = [str(number) for number in range(N)]
    cache = open_cache(ModelCard("m", "f", weights="w"), "image", root=tmp_path)

    def put() -> None:
        for start in range(0, N, 1024):
            cache.put(ids[start : start + 1024], rows[start : start + 1024])

    wrote = measured(put)
    found = measured(lambda: cache.get(ids))
    for name, (seconds, elapsed, memory) in (("put", wrote), ("get", found)):
        print(
            f"\nembedding cache {name} {N:,} x {D}: processor {seconds:.1f} s, "
            f"elapsed {elapsed:.1f} s, memory {memory / 1e6:.0f} MB"
        )


def test_approximate_search_against_exact_top_ten() -> None:
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(1)
    images, texts = pairs(N)
    asked = images[:2000]
    exact = faiss.IndexFlatIP(D)
    exact.add(texts)
    seconds, _, _ = measured(lambda: exact.search(asked, 10))
    truth = exact.search(asked, 10)[1]
    own = np.arange(len(asked))[:, None]
    print(f"\nflat: {seconds:.2f} s, R@10 {(truth == own).any(axis=1).mean():.4f}")
    lists = int(4 * np.sqrt(N))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(D), D, lists, faiss.METRIC_INNER_PRODUCT)
    index.train(texts)
    index.add(texts)
    for probes in (1, 4, 16, 64):
        index.nprobe = probes
        seconds, _, _ = measured(lambda: index.search(asked, 10))
        found = index.search(asked, 10)[1]
        kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, truth, strict=True)])
        print(
            f"IVF {lists} lists, {probes} probed: {seconds:.2f} s, {kept:.3f} of the true top ten, "
            f"R@10 {(found == own).any(axis=1).mean():.4f}"
        )


def test_a_sample_of_queries_gives_the_recall_of_all() -> None:
    """Every tenth query against the whole gallery: no approximation, only fewer queries."""
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(1)
    images, texts = pairs(N)
    flat = faiss.IndexFlatIP(D)
    flat.add(texts)
    hits = (flat.search(images, 10)[1] == np.arange(N)[:, None]).any(axis=1)
    part = hits[np.random.default_rng(1).permutation(N)[: N // 10]]
    error = abs(part.mean() - hits.mean())
    bound = 4 * np.sqrt(hits.mean() * (1 - hits.mean()) / len(part))
    print(f"\nall {hits.mean():.4f}, a tenth {part.mean():.4f}, four standard errors {bound:.4f}")
    assert error < bound
