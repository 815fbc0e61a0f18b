"""What the ranks of many queries need beside their inputs: counted in bytes, not watched."""

import tracemalloc

import numpy as np
import pytest

from harness.metrics import tiles, toplists
from harness.metrics.ranking import Embeddings, rank_pairs
from harness.metrics.retrieval import DIRECTIONS


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles and lists in memory do not grow with these pools."""
    monkeypatch.setattr(tiles, "MAX_IMAGES", 128)
    monkeypatch.setattr(tiles, "MAX_TEXTS", 128)
    monkeypatch.setattr(toplists, "IN_MEMORY", 0)


def peak_of(pool, source) -> int:
    tracemalloc.start()
    rank_pairs(pool, source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.usefixtures("small_tiles")
def test_a_query_needs_less_than_900_bytes_of_which_two_thirds_are_its_outcomes(plain_pool):
    """So 200,000 pairs and 25 MB of tiles stay near 200 MB."""
    few, many = 1500, 4500
    rng = np.random.default_rng(0)
    peaks = []
    for n in (few, few, many):  # the first call fills caches of libraries
        source = Embeddings(*rng.normal(size=(2, n, 4)).astype(np.float32))
        peaks.append(peak_of(plain_pool(n), source))
    assert (peaks[2] - peaks[1]) / (many - few) < 900


@pytest.mark.parametrize("labelled", [True, False])
def test_lists_in_a_file_give_what_lists_in_memory_give(labelled, random_pool, monkeypatch):
    pool = random_pool(300, 9)
    if not labelled:
        pool = type(pool)(pool.study, pool.patient, pool.group, pool.text, pool.asked)
    scores = np.random.default_rng(9).integers(0, 40, (300, pool.texts)).astype(float)
    monkeypatch.setattr(tiles, "MAX_IMAGES", 64)
    monkeypatch.setattr(tiles, "MAX_TEXTS", 64)
    one = rank_pairs(pool, lambda rows: scores[rows])
    opened = []
    original = toplists.TemporaryFile

    def temporary():
        opened.append(original())
        return opened[-1]

    monkeypatch.setattr(toplists, "TemporaryFile", temporary)
    assert not opened
    monkeypatch.setattr(toplists, "IN_MEMORY", 0)
    other = rank_pairs(pool, lambda rows: scores[rows])
    assert [file.closed for file in opened] == [True]
    for direction in DIRECTIONS:
        for name in ("ranks", "tied", "relevant", "dcg", "label_hits", "top", "top_scores"):
            one_column, other_column = (getattr(r[direction], name) for r in (one, other))
            np.testing.assert_array_equal(one_column, other_column, err_msg=name)
