"""The standing test: how a suite was run does not decide its numbers (protocol, section 6)."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from many_processes import EXAMPLE, bench

from harness.data_access import DataAccess
from harness.embedding_cache import open_cache, text_id
from harness.file_hash import file_sha256
from harness.plan import model_options
from harness.record import RunRecord
from harness.registry import find_model
from harness.samples import ImageText
from harness.store import Store
from harness.suite_schema import Evaluation, ModelReference

LIMIT = 12  # all of the films, and as few phantoms
BOUND = 1e-5  # of each component and between two scores, fp32 on a CPU
CONTROLS = ["oracle", "content-ceiling", "commonest-text", "chance", "collapsed", "findings-only"]
CONTROLS += ["text-only", "centre-box", "mean-box", "nothing", "second-reader"]
ENCODERS = {
    "rounding": ModelReference(name="rounding", use="suite_models:rounding"),
    "lofi-tiny": ModelReference(name="lofi-tiny"),
}
BOXER = {"name": "boxer", "use": "suite_models:boxer"}
SHUFFLED = {"mixed": ENCODERS["rounding"].model_dump(), "mixed-boxer": BOXER}
MODELS = [*(one.model_dump() for one in ENCODERS.values()), BOXER]
MODELS += [{"name": n, "use": "shuffled", "options": {"model": m}} for n, m in SHUFFLED.items()]
# The films are turned round; the phantoms are there for controls that need a second reader, masked
# texts or a training split.
FILMS = [
    {"task": task, "dataset": "manifest", "split": "all", "options": {"draws": 20}}
    for task in ("retrieval", "grounding")
]
PHANTOMS = [
    {
        "task": "retrieval",
        "dataset": "mimic-cxr",
        "models": ["findings-only"],
        "options": {"draws": 20},
    },
    {
        "task": "grounding",
        "dataset": "padchest-gr",
        "models": ["mean-box", "second-reader"],
        "options": {"draws": 20},
    },
]


@dataclass(frozen=True)
class Way:
    """How the suite is run."""

    batch: int = 7
    reversed_order: bool = False
    processes: int = 1


WAYS = {
    "alone": Way(),
    "batch-1": Way(batch=1),
    "batch-64": Way(batch=64),
    "reversed": Way(reversed_order=True),
    "two-processes": Way(batch=2, processes=2),
}


@dataclass(frozen=True)
class Run:
    """What one way left: its records, and the cache that holds the vectors of each encoder."""

    out: Path
    samples: list[ImageText]
    records: dict[tuple[str, str, str], RunRecord]
    cache: Path

    def vectors(self, model: str) -> tuple[np.ndarray, np.ndarray]:
        """The cached vectors of all images and of all texts that are asked, in samples' order."""
        handle = find_model(ENCODERS[model])
        card = handle.card()
        options = {"use": handle.entry.load, **model_options(handle, card)}
        images = [file_sha256(sample.image.file) for sample in self.samples]
        texts = [text_id(sample.text) for sample in self.samples if sample.asked]
        out = []
        for side, ids in (("image", images), ("text", texts)):
            found, values = open_cache(card, side, options=options, root=self.cache).get(ids)
            assert found.all()
            out.append(values)
        return out[0], out[1]

    def ranks(self, model: str) -> dict[tuple[str, str], int]:
        """(sample, direction) to the rank under same_study."""
        record = self.records[model, "retrieval", "manifest"]
        cell = Store(self.out).cell("retrieval", "manifest", "all", model, record.key)
        frame = cell.read("ranks")
        keys = zip(frame["sample_id"], frame["direction"], strict=True)
        return dict(zip(keys, frame["rank/same_study"].astype(int), strict=True))

    def near_ties(self, model: str, key: tuple[str, str]) -> int:
        """`near_ties` of the query, from this run's vectors."""
        name, direction = key
        images, texts = (side.astype(np.float64) for side in self.vectors(model))
        asked = [sample for sample in self.samples if sample.asked]
        (query,) = (sample for sample in self.samples if sample.sample_id == name)
        if direction == "image_to_text":
            scores, pool = texts @ images[self.samples.index(query)], asked
        else:
            scores, pool = images @ texts[asked.index(query)], self.samples
        return near_ties(
            scores, np.array([one.image.study_id == query.image.study_id for one in pool])
        )


def near_ties(scores: np.ndarray, relevant: np.ndarray) -> int:
    """How many others lie within the bound of the best relevant one: so far may its rank move."""
    gaps = np.abs(scores[~relevant] - scores[relevant].max())
    # The same text again is the same column, which ties in every run.
    return int(((gaps > 0) & (gaps < BOUND)).sum())


def reverse(folder: Path) -> None:
    """The same data with all rows of all files the other way round."""
    for name, head in (("manifest.csv", 1), ("retrieval_pairs.csv", 1), ("phrases.jsonl", 0)):
        path = folder / name
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        assert lines[-1].endswith("\n"), f"{name}: its last line would run into another"
        path.write_text("".join([*lines[:head], *reversed(lines[head:])]), encoding="utf-8")


def run(top: Path, name: str, way: Way) -> Run:
    data, out, cache = top / "data", top / "runs" / name, top / f"{name}-cache"
    if way.reversed_order:
        data = top / "reversed"
        shutil.copytree(EXAMPLE, data)
        reverse(data)
    cache.mkdir()
    (cache / "phantom").symlink_to(top / "phantom")  # rendering is not what is tested
    suite = top / "suite.json"
    asked = [*FILMS, *PHANTOMS]
    suite.write_text(
        json.dumps({"suite": "s", "models": [*CONTROLS, *MODELS], "evaluations": asked})
    )
    arguments = ["run", str(suite), "--data", f"manifest={data}", "--out", str(out)]
    arguments += ["--batch-size", str(way.batch), "--limit", str(LIMIT)]
    codes = bench(arguments, processes=way.processes, BENCH_CACHE=str(cache))
    assert codes[1:] == [0] * (way.processes - 1)
    records = {(r.model.name, r.task, r.dataset.name): r for r in Store(out).records()}
    dataset = DataAccess({"manifest": data}).load(Evaluation(**FILMS[0])).dataset
    samples = sorted((s for s in dataset.samples), key=lambda s: s.sample_id)
    return Run(out, samples, records, cache)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    top = tmp_path_factory.mktemp("invariance")
    shutil.copytree(EXAMPLE, top / "data")
    (top / "phantom").mkdir()
    return {name: run(top, name, way) for name, way in WAYS.items()}


def scores(run: Run, model: str) -> list[tuple[object, ...]]:
    fields = ("metric", "group", "direction", "relevance", "value", "low", "high", "n", "pool")
    return [
        (task, dataset, *(getattr(score, field) for field in fields))
        for (name, task, dataset), record in sorted(run.records.items())
        for score in record.scores
        if name == model and not (model in ENCODERS and task == "retrieval")
    ]


@pytest.mark.parametrize("way", WAYS)
def test_every_row_is_scored_or_has_no_answer_to_give(runs: dict[str, Run], way: str) -> None:
    told = {key: record.status for key, record in runs[way].records.items()}
    assert set(told.values()) <= {"ok", "not_scored"}, told


@pytest.mark.parametrize("way", [name for name in WAYS if name != "alone"])
@pytest.mark.parametrize("model", [*CONTROLS, "boxer", "mixed-boxer", "lofi-tiny"])
def test_controls_and_boxes_are_equal_to_the_bit(
    runs: dict[str, Run], way: str, model: str
) -> None:
    assert scores(runs["alone"], model)
    assert scores(runs[way], model) == scores(runs["alone"], model)


@pytest.mark.parametrize("way", [name for name in WAYS if name != "alone"])
@pytest.mark.parametrize("model", ENCODERS)
def test_embeddings_are_within_the_bound_and_ranks_differ_only_at_near_ties(
    runs: dict[str, Run], way: str, model: str
) -> None:
    one, other = runs["alone"], runs[way]
    for before, after in zip(one.vectors(model), other.vectors(model), strict=True):
        assert np.abs(before - after).max() < BOUND
    ranks, others = one.ranks(model), other.ranks(model)
    assert ranks.keys() == others.keys()
    moved = {key: abs(ranks[key] - others[key]) for key in ranks if ranks[key] != others[key]}
    for key, steps in moved.items():
        assert steps <= one.near_ties(model, key), f"{key}: no other score is so near"
    assert len(moved) <= 2


@pytest.mark.parametrize("way", [name for name in WAYS if name != "alone"])
def test_shuffled_images_are_the_same_ones(runs: dict[str, Run], way: str) -> None:
    ranks, others = (runs[name].ranks("mixed") for name in ("alone", way))
    assert ranks.keys() == others.keys()
    assert sum(ranks[key] != others[key] for key in ranks) <= 2


def test_a_rank_may_move_as_far_as_scores_are_near_and_never_for_an_equal_text() -> None:
    right = np.array([False, True, False, False])
    assert near_ties(np.array([0.9, 0.5, 0.5, 0.1]), right) == 0  # the third is the same text
    assert near_ties(np.array([0.9, 0.5, 0.500001, 0.499999]), right) == 2
    assert near_ties(np.array([0.500001, 0.5, 0.6, 0.8]), ~right) == 0  # 0.8 is the best of three


def test_the_model_of_this_test_does_round(runs: dict[str, Run]) -> None:
    """Else the bound above would be met by doing nothing."""
    first, *others = (run.vectors("rounding")[0] for run in runs.values())
    assert any(not np.array_equal(first, other) for other in others)
