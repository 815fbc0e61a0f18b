"""Choosing examples: 10,000 queries of a bank of 200,000, and what is spent around the grounder."""

import time
from pathlib import Path

import numpy as np
import pytest

from harness.images import Image
from harness.models import Query
from harness.samples import ImageRef, PhraseBoxes
from lofi.demonstrations import Bank, Demonstrations, drawn, joined, nearest, shown
from lofi.in_context import load
from tests.lofi.context_models import Teller
from tests.lofi.test_in_context import Given

BANK, QUERIES, WIDTH = 200_000, 10_000, 128
BOX = np.float32([[0.1, 0.1, 0.5, 0.5]])


def example(number: int) -> PhraseBoxes:
    """Four phrases to an image, three images to a patient, as in MIMIC."""
    image = number // 4
    where = ImageRef(f"i{image}", Path(f"i{image}.png"), f"p{image // 3}", f"s{image}")
    return PhraseBoxes(f"i{image}#{number % 4}", where, "a", BOX, finding=f"f{number % 15}")


def query(number: int) -> Query:
    return Query(Image(f"q{number}", Path("q.png")), "a", f"p{number}", f"f{number % 15}")


def vectors(rows: int, seed: int) -> np.ndarray:
    """Rows in neighborhoods, as real embeddings lie, and not spread evenly."""
    draw = np.random.default_rng(seed)
    middles = np.random.default_rng(9).normal(size=(50, WIDTH)).astype(np.float32)
    values = middles[draw.integers(50, size=rows)] + draw.normal(size=(rows, WIDTH)).astype("f4")
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.speed
@pytest.mark.parametrize("rule", ["any", "same finding"])
def test_examples_for_10000_queries_from_200000_within_a_minute(rule: str) -> None:
    samples = [example(number) for number in range(BANK)]
    queries = [query(number) for number in range(QUERIES)]
    images, texts = vectors(BANK, 0), vectors(BANK, 1)
    asked = joined(vectors(QUERIES, 2), vectors(QUERIES, 3))
    settings = Demonstrations(k=4, filter=rule)
    start, worked = time.perf_counter(), time.process_time()
    bank = Bank(samples, joined(images, texts))
    chosen = nearest(bank, queries, asked, settings)
    for one, places in zip(queries, chosen, strict=True):
        shown(bank, one, places, settings=settings, seed=0)
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    print(f"{rule}: {seconds:.1f} s, of which {worked:.1f} s of work on all cores together")
    assert all(len(places) == 4 for places in chosen)
    assert worked < 2 * 60  # a minute on two cores, whatever else they do


@pytest.mark.speed
def test_random_examples_take_no_longer_than_found_ones() -> None:
    bank = Bank([example(number) for number in range(BANK)])
    queries = [query(number) for number in range(QUERIES)]
    start = time.process_time()
    drawn(bank, queries, Demonstrations(k=4), seed=0, fixed=False)
    seconds = time.process_time() - start
    print(f"random: {seconds:.1f} s")
    assert seconds < 60


@pytest.mark.speed
def test_at_most_a_twentieth_is_spent_around_a_grounder_of_20_ms(monkeypatch) -> None:
    """The smallest real grounder, vlm-tiny, takes some 100 ms for a query with four examples."""
    spent = [0.0]
    inner = Teller.ground_with

    def slow(self, queries, demonstrations):
        start = time.perf_counter()
        while time.perf_counter() - start < 0.02 * len(queries):
            pass
        out = inner(self, queries, demonstrations)
        spent[0] += time.perf_counter() - start
        return out

    monkeypatch.setattr(Teller, "ground_with", slow)
    samples = [example(number) for number in range(8000)]
    queries = [query(number) for number in range(320)]
    model = load("cpu", retriever="random", grounder="tests.lofi.context_models:load_teller")
    start = time.perf_counter()
    model.equip(queries, Given(samples))
    for first in range(0, len(queries), 32):
        model.ground(queries[first : first + 32])
    whole = time.perf_counter() - start
    print(f"around: {whole / spent[0] - 1:.4f} of the grounder's time")
    assert whole <= 1.05 * spent[0]
