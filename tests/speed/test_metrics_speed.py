"""What the metrics cost beside their peers: `OMP_NUM_THREADS=2 pytest tests/speed -m speed -s`.

Ratios within one run of the best of alternating rounds, so that other work on the machine disturbs
both sides alike; processor seconds, which it disturbs least, stand beside elapsed ones and decide.
Peers compute less (named in each test), never more. The table stands in harness/metrics/README.md.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from harness.metrics.bootstrap import score
from harness.metrics.box_metrics import BOX_METRICS
from harness.metrics.grounding import GroundingOutcomes, Phrases
from harness.metrics.metric import contributions
from harness.metrics.pool import RetrievalPool, pool_of
from harness.metrics.ragged import ragged
from harness.metrics.ranking import Embeddings, rank_pairs
from harness.metrics.retrieval import RETRIEVAL_METRICS, RankedQueries

pytestmark = pytest.mark.speed
ROUNDS = 3
D = 512


@dataclass
class Cost:
    seconds: float
    processor: float
    growth_mb: float  # of resident memory, over what was there before the call


def resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cost(call: Callable[[], object]) -> Cost:
    """One call's time and the most memory seen while it ran."""
    before = most = resident_mb()
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.01):
            most = max(most, resident_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started, busy = time.perf_counter(), time.process_time()
    call()
    seconds, processor = time.perf_counter() - started, time.process_time() - busy
    done.set()
    watcher.join()
    return Cost(seconds, processor, most - before)


def side_by_side(name: str, ours: Callable[[], object], peer: Callable[[], object], rounds: int):
    """The ratios ours / peer of elapsed and of processor seconds, and our largest growth."""
    pairs = [(cost(ours), cost(peer)) for _ in range(rounds)]
    mine, theirs = zip(*pairs, strict=True)
    cells = [
        f"{min(c.seconds for c in side):.2f} s ({min(c.processor for c in side):.2f} processor), "
        f"+{max(c.growth_mb for c in side):.0f} MB"
        for side in (mine, theirs)
    ]
    elapsed = min(c.seconds for c in mine) / min(c.seconds for c in theirs)
    processor = min(c.processor for c in mine) / min(c.processor for c in theirs)
    print(f"\n| {name} | {cells[0]} | {cells[1]} | {elapsed:.3f} | {processor:.3f} |")
    return elapsed, processor, max(c.growth_mb for c in mine)


def pairs_of(n: int, repeated: float) -> tuple[RetrievalPool, np.ndarray, np.ndarray]:
    """A pool, image rows and unique text rows; a share of texts repeats common ones."""
    rng = np.random.default_rng(0)
    common = rng.random(n) < repeated
    texts = np.where(common, rng.zipf(1.3, n) % 2000, 10**7 + np.arange(n))
    names = [str(i) for i in range(n)]
    pool, _ = pool_of(studies=names, patients=names, texts=[str(t) for t in texts])
    vectors = rng.standard_normal((pool.texts, D), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    images = vectors[pool.text] + 0.12 * rng.standard_normal((n, D), np.float32)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    return pool, images, vectors


def faiss_both_ways(images: np.ndarray, texts: np.ndarray) -> None:
    """Top 10 of every query in both directions: no ranks, no conventions."""
    import faiss

    for gallery, queries in ((texts, images), (images, texts)):
        index = faiss.IndexFlatIP(D)
        index.add(gallery)
        index.search(queries, 10)


@pytest.mark.parametrize("repeated", [0.0, 0.3])
def test_20000_pairs_take_at_most_one_and_a_half_times_faiss(repeated):
    pytest.importorskip("faiss")
    pool, images, texts = pairs_of(20_000, repeated)
    pairs = texts[pool.text]
    _, ratio, growth = side_by_side(
        f"20,000 pairs, {repeated:.0%} repeated, against faiss flat top-10",
        lambda: rank_pairs(pool, Embeddings(images, texts)),
        lambda: faiss_both_ways(images, pairs),
        ROUNDS,
    )
    assert ratio <= 1.5
    assert growth <= 200


def test_100000_pairs_take_at_most_one_and_a_half_times_faiss():
    pytest.importorskip("faiss")
    pool, images, texts = pairs_of(100_000, 0.0)
    pairs = texts[pool.text]
    _, ratio, _ = side_by_side(
        "100,000 pairs, against faiss flat top-10",
        lambda: rank_pairs(pool, Embeddings(images, texts)),
        lambda: faiss_both_ways(images, pairs),
        1,
    )
    assert ratio <= 1.5


def clip_benchmark_both_ways(images: np.ndarray, texts: np.ndarray) -> None:
    """What `clip_benchmark.metrics.zeroshot_retrieval.evaluate` does after embedding, K to 10."""
    import torch
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    scores = torch.from_numpy(texts) @ torch.from_numpy(images).t()
    own = torch.zeros_like(scores, dtype=torch.bool)
    own[torch.arange(len(scores)), torch.arange(len(scores))] = True
    for k in (1, 5, 10):
        for table, positive in ((scores, own), (scores.T, own.T)):
            (batchify(recall_at_k, table, positive, 64, "cpu", k=k) > 0).float().mean().item()


def test_20000_pairs_are_ten_times_faster_than_clip_benchmark():
    pytest.importorskip("clip_benchmark.metrics.zeroshot_retrieval")
    pool, images, texts = pairs_of(20_000, 0.0)
    _, ratio, _ = side_by_side(
        "20,000 pairs, against clip-benchmark 1.6.2 at K = 1, 5, 10",
        lambda: rank_pairs(pool, Embeddings(images, texts)),
        lambda: clip_benchmark_both_ways(images, texts),
        1,
    )
    assert ratio <= 0.1


def mteb_both_ways(images: np.ndarray, texts: np.ndarray) -> None:
    """mteb's search and scores with its own K (to 1,000), instance relevance only."""
    import torch
    from datasets import Dataset
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores
    from mteb.models.search_wrappers import chunked_full_corpus_search

    names = [str(i) for i in range(len(images))]
    relevant = {name: {name: 1} for name in names}
    for gallery, queries in ((texts, images), (images, texts)):
        heaps = chunked_full_corpus_search(
            task_corpus=Dataset.from_dict({"id": names, "text": names}),
            corpus_chunk_size=50_000,
            query_idx_to_id=dict(enumerate(names)),
            query_embeddings=torch.from_numpy(queries),
            task_metadata=_text_task(),
            hf_subset="default",
            hf_split="test",
            top_k=1000,
            encode_kwargs={"show_progress_bar": False, "batch_size": 32},
            encode_fn=lambda *_, _gallery=gallery, **__: torch.from_numpy(_gallery),
            similarity_fn=lambda a, b: a @ b.T,
            search_k_offset=1,
        )
        results = {q: {doc: value for value, doc in heap} for q, heap in heaps.items()}
        calculate_retrieval_scores(results, relevant, [1, 3, 5, 10, 20, 100, 1000])


def _text_task():
    import mteb

    return mteb.get_task("NFCorpus").metadata


def test_20000_pairs_are_ten_times_faster_than_mteb():
    pytest.importorskip("mteb.models.search_wrappers")
    pool, images, texts = pairs_of(20_000, 0.0)
    _, ratio, _ = side_by_side(
        "20,000 pairs, against mteb 2.26",
        lambda: rank_pairs(pool, Embeddings(images, texts)),
        lambda: mteb_both_ways(images, texts),
        1,
    )
    assert ratio <= 0.1


def test_ten_thousand_draws_of_twelve_metrics_of_3000_items_take_under_two_seconds():
    rng, n = np.random.default_rng(0), 3000
    queries = RankedQueries(
        patients=np.arange(n),
        rank=rng.geometric(0.05, n),
        tied=rng.random(n) < 0.1,
        relevant=np.ones(n, np.int64),
        dcg=rng.random((n, 5)),
        label_hits=rng.integers(0, 2, (n, 5)).astype(float),
        candidates=n,
    )
    chosen = dict(list(RETRIEVAL_METRICS.items())[:12])  # with the median, the slowest
    assert "median_rank" in chosen
    costs = [cost(lambda: score(chosen, queries, draws=10_000)) for _ in range(5)]
    elapsed, processor = min(c.seconds for c in costs), min(c.processor for c in costs)
    print(
        f"\n| 10,000 draws x 12 metrics x 3,000 items | {elapsed:.2f} s ({processor:.2f}) | | | |"
    )
    assert processor < 2


def phrases(count: int) -> GroundingOutcomes:
    """Phrases with 0 to 3 boxes on each side, mostly one."""
    rng = np.random.default_rng(0)

    def sets(share: list[float]):
        counts = rng.choice(4, count, p=share)
        corner = rng.random((counts.sum(), 2)) * 0.6
        boxes = np.hstack([corner, corner + 0.1 + rng.random((len(corner), 2)) * 0.3])
        return ragged(np.split(boxes, np.cumsum(counts)[:-1]))

    flags = np.zeros(count, bool)
    predicted = sets([0.1, 0.7, 0.15, 0.05])
    return GroundingOutcomes(
        phrases=Phrases(
            patients=np.arange(count) // 4,
            finding=rng.integers(0, 20, count),
            findings=tuple(map(str, range(20))),
            negated=flags,
        ),
        truth=sets([0.1, 0.7, 0.15, 0.05]),
        predicted=predicted,
        status=np.where(predicted.counts, 0, 1),
        has_boxes=~flags,
    )


def test_box_metrics_of_100000_phrases_are_a_hundred_times_faster_per_phrase_than_torchmetrics():
    torch = pytest.importorskip("torch")
    peer = pytest.importorskip("torchmetrics.functional.detection", reason="no torchmetrics")
    outcomes, asked = phrases(100_000), 1000
    both = np.flatnonzero((outcomes.predicted.counts > 0) & (outcomes.truth.counts > 0))[:asked]
    tensors = [
        (torch.from_numpy(outcomes.predicted[p]), torch.from_numpy(outcomes.truth[p])) for p in both
    ]

    def ours() -> None:
        fresh = replace(outcomes)  # nothing remembered from the round before
        for metric in BOX_METRICS.values():
            contributions(metric, fresh)

    def theirs() -> None:
        for predicted, truth in tensors:
            peer.intersection_over_union(predicted, truth, aggregate=False)

    _, ratio, _ = side_by_side(
        f"all {len(BOX_METRICS)} box metrics of 100,000 phrases against torchmetrics' IoU of 1,000",
        ours,
        theirs,
        ROUNDS,
    )
    per_phrase = ratio * asked / len(outcomes)
    print(f"per phrase: {1 / per_phrase:.0f} times faster")
    assert per_phrase <= 0.01
