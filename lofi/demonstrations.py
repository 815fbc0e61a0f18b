"""Which solved examples a query is shown: settings, the bank, exact nearest neighbors, controls."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float32, Int
from pydantic import Field

from harness.errors import BenchError
from harness.images import Image
from harness.made_up import finding_of
from harness.models import Demonstration, Query
from harness.samples import PhraseBoxes
from harness.tasks.supply import BANK, FIRST
from lofi.config import Settings

Chosen: TypeAlias = list[tuple[int, float]]  # places in the bank and similarities, nearest first
_NONE_LEFT = "Take another demonstrations.dataset, split, cohort or a larger limit."


class Demonstrations(Settings):
    """How examples are chosen.

    `dataset`, `cohort`, `split`, `limit`: the bank, its first so many images; never a test split.
    `similarity`: cosine of the images, of the phrases, or the mean of both. `filter`: any example,
    or only those of the query's finding. `order`: where the nearest stands. `swap` exchanges the
    chosen examples' images or boxes for those of others, which shows whether they are read.
    """

    dataset: str = BANK
    cohort: str = ""  # of cxr-qba: lesion boxes on phantoms, which alone have them, else regions
    split: Literal["train", "validation"] = "train"
    limit: int | None = Field(FIRST, ge=1)
    k: int = Field(4, ge=0)
    similarity: Literal["image", "phrase", "mean"] = "mean"
    order: Literal["nearest last", "nearest first"] = "nearest last"
    filter: Literal["any", "same finding"] = "any"
    swap: Literal["", "images", "boxes"] = ""


@dataclass(frozen=True)
class Bank:
    """Solved examples; `vectors` are unit rows as `joined` makes them, None where none are used."""

    samples: Sequence[PhraseBoxes]
    vectors: Float32[np.ndarray, "n d"] | None = None

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.samples)

    @cached_property
    def patients(self) -> list[str]:
        """Whose image each example is."""
        return [sample.image.patient_id for sample in self.samples]

    @cached_property
    def images(self) -> list[str]:
        """The image of each example."""
        return [sample.image.image_id for sample in self.samples]

    @cached_property
    def by_finding(self) -> dict[str, Int[np.ndarray, " k"]]:
        """The places of each finding's examples."""
        found: dict[str, list[int]] = {}
        for place, sample in enumerate(self.samples):
            found.setdefault(finding_of(sample), []).append(place)
        return {name: np.array(places) for name, places in found.items()}

    def places(self, query: Query, settings: Demonstrations) -> Int[np.ndarray, " k"]:
        """The examples that the filter lets through for a query."""
        if settings.filter == "any":
            return np.arange(len(self))
        return self.by_finding.get(query.finding, np.zeros(0, np.int64))


def usable(samples: Sequence[PhraseBoxes], settings: Demonstrations) -> Bank:
    """The bank of the samples that have boxes.

    Raises:
        BenchError: none is left.
    """
    kept = [sample for sample in samples if len(sample.boxes) and sample.kind == "finding"]
    if not kept:
        where = f"{settings.dataset} {settings.cohort} {settings.split}"
        raise BenchError(
            f"demonstrations: of {len(samples)} phrases of {where} none has boxes of a finding. "
            f"Expected at least one example. {_NONE_LEFT}"
        )
    return Bank(kept)


def refuse_without_finding(bank: Bank, queries: Sequence[Query], settings: Demonstrations) -> None:
    """Do nothing if the filter leaves some query an example.

    Raises:
        BenchError: every query's own bank is empty.
    """
    left = [query for query in queries if len(bank.places(query, settings))]
    if queries and not left:
        asked = sorted({query.finding for query in queries if query.finding})[:5]
        known = ", ".join(sorted(name for name in bank.by_finding if name)[:12])
        raise BenchError(
            f"demonstrations: filter 'same finding' leaves no example for any phrase (asked: "
            f"{', '.join(asked) or 'findings without a name'}). The bank has {known or 'none'}. "
            f"Use filter: any. {_NONE_LEFT}"
        )


def joined(
    images: Float32[np.ndarray, "n d"] | None, texts: Float32[np.ndarray, "n e"] | None
) -> Float32[np.ndarray, "n de"]:
    """Rows whose inner product is the cosine, or the mean of both cosines."""
    if images is None or texts is None:
        only = images if texts is None else texts
        return np.ascontiguousarray(only, np.float32)
    both = np.concatenate([images, texts], axis=1) / np.sqrt(2)
    return np.ascontiguousarray(both, np.float32)


def nearest(
    bank: Bank,
    queries: Sequence[Query],
    vectors: Float32[np.ndarray, "q d"],
    settings: Demonstrations,
) -> list[Chosen]:
    """The `k` nearest examples of each query by exact search, nearest first.

    Never one of the query's patient, and each image at most once. A query that the filter leaves
    fewer gets fewer.
    """
    out: list[Chosen] = [[] for _ in queries]
    for places, rows in _searches(bank, queries, settings):
        if settings.k and len(rows):
            _search(bank, queries, rows, (places, vectors, settings.k, out))
    return out


def _searches(
    bank: Bank, queries: Sequence[Query], settings: Demonstrations
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The queries of each query finding with what they are to be asked of."""
    if settings.filter == "any":
        return [(np.arange(len(queries)), np.arange(len(bank)))]
    groups: dict[str, list[int]] = {}
    for place, query in enumerate(queries):
        groups.setdefault(query.finding, []).append(place)
    empty = np.zeros(0, np.int64)
    return [(np.array(p), bank.by_finding.get(name, empty)) for name, p in groups.items()]


def _search(
    bank: Bank,
    queries: Sequence[Query],
    rows: np.ndarray,
    what: tuple[np.ndarray, np.ndarray, int, list[Chosen]],
) -> None:
    """Search wider until each query has its `k`, or everything was looked at."""
    import faiss

    places, vectors, k, out = what
    assert bank.vectors is not None
    whole = len(rows) == len(bank)
    index = faiss.IndexFlatIP(bank.vectors.shape[1])
    index.add(bank.vectors if whole else np.ascontiguousarray(bank.vectors[rows]))
    width = min(4 * k + 12, len(rows))
    while len(places):
        scores, found = index.search(np.ascontiguousarray(vectors[places]), width)
        short = []
        for place, near, score in zip(places, found, scores, strict=True):
            pairs = zip(rows[near].tolist(), score.tolist(), strict=True)
            out[place] = _allowed(bank, queries[place], pairs, k)
            if len(out[place]) < k:
                short.append(place)
        if width == len(rows):
            return
        places, width = np.array(short, np.int64), min(8 * width, len(rows))


def _allowed(bank: Bank, query: Query, pairs: "zip[tuple[int, float]]", k: int) -> Chosen:
    chosen: Chosen = []
    used = {query.image.image_id}
    for place, score in pairs:
        own = query.patient_id and bank.patients[place] == query.patient_id
        if own or bank.images[place] in used:
            continue
        used.add(bank.images[place])
        chosen.append((place, score))
        if len(chosen) == k:
            break
    return chosen


def drawn(
    bank: Bank, queries: Sequence[Query], settings: Demonstrations, *, seed: int, fixed: bool
) -> list[Chosen]:
    """Examples drawn by chance under the same rules; `fixed` draws one order for all queries.

    A draw depends on the seed and the query alone, not on its place in a batch.
    """
    out: list[Chosen] = []
    for query in queries:
        rows = bank.places(query, settings)
        about = "" if fixed else f"{query.image.image_id}|{query.phrase}"
        draw = np.random.default_rng(_number(f"{seed}|{about}"))
        few = draw.permutation(len(rows)) if len(rows) < 4096 or fixed else _sample(draw, len(rows))
        pairs = ((int(rows[place]), 0.0) for place in few)
        out.append(_allowed(bank, query, pairs, settings.k) if settings.k else [])  # type: ignore[arg-type]
    return out


def _sample(draw: np.random.Generator, count: int) -> np.ndarray:
    return draw.choice(count, size=1024, replace=False)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def shown(
    bank: Bank, query: Query, chosen: Chosen, *, settings: Demonstrations, seed: int
) -> list[Demonstration]:
    """The examples as a grounder takes them, nearest last (or first), exchanged if asked."""
    examples = [_example(bank.samples[place]) for place, _ in chosen]
    if settings.swap:
        examples = [
            _exchanged(bank, query, place, example, settings.swap, seed)
            for (place, _), example in zip(chosen, examples, strict=True)
        ]
    return examples if settings.order == "nearest first" else examples[::-1]


def _example(sample: PhraseBoxes) -> Demonstration:
    image = Image(sample.image.image_id, sample.image.file)
    return Demonstration(image, sample.phrase, sample.boxes)


def _exchanged(
    bank: Bank, query: Query, place: int, example: Demonstration, what: str, seed: int
) -> Demonstration:
    """The example with the image, or the boxes, of another patient's example."""
    draw = np.random.default_rng(_number(f"{seed}|swap|{query.image.image_id}|{place}"))
    not_of = {bank.patients[place], query.patient_id}
    for _ in range(64):
        other = bank.samples[int(draw.integers(len(bank)))]
        if other.image.patient_id not in not_of:
            taken = _example(other)
            if what == "images":
                return replace(example, image=taken.image)
            return replace(example, boxes=taken.boxes)
    raise BenchError(
        f"demonstrations.swap: the bank has no example of another patient than "
        f"{bank.patients[place]} to exchange {what} with. {_NONE_LEFT}"
    )
