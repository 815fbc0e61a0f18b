"""The standing test: how a suite was run does not decide its numbers (protocol, section 6)."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import suite_models
from many_processes import EXAMPLE, bench

from harness.data_access import DataAccess
from harness.embedding_cache import open_cache, text_id
from harness.file_hash import file_sha256
from harness.record import RunRecord
from harness.samples import Dataset, ImageText
from harness.store import Store
from harness.suite_schema import Evaluation

BOUND = 1e-5  # of each component, fp32 on a CPU
CONTROLS = ["oracle", "content-ceiling", "commonest-text", "chance", "collapsed"]
CONTROLS += ["text-only", "centre-box", "nothing"]
MODELS = [{"name": n, "use": f"suite_models:{n}"} for n in ("rounding", "boxer")]
ASKED = [
    {"task": task, "dataset": "manifest", "split": "all", "options": {"draws": 20}}
    for task in ("retrieval", "grounding")
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
    """What one way left: its records, and the vectors of the rounding model by content."""

    out: Path
    dataset: Dataset
    records: dict[tuple[str, str], RunRecord]
    images: np.ndarray
    texts: np.ndarray

    def ranks(self) -> dict[tuple[str, str], int]:
        """(sample, direction) to the rank under same_study."""
        record = self.records["rounding", "retrieval"]
        cell = Store(self.out).cell("retrieval", "manifest", "all", "rounding", record.key)
        frame = cell.read("ranks")
        keys = zip(frame["sample_id"], frame["direction"], strict=True)
        return dict(zip(keys, frame["rank/same_study"].astype(int), strict=True))


def reverse(folder: Path) -> None:
    """The same data with all rows of all files the other way round."""
    for name, head in (("manifest.csv", 1), ("retrieval_pairs.csv", 1)):
        path = folder / name
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            path.write_text("".join([*lines[:head], *reversed(lines[head:])]), encoding="utf-8")


def run(top: Path, name: str, way: Way) -> Run:
    data, out, cache = top / "data", top / "runs" / name, top / f"{name}-cache"
    if way.reversed_order:
        data = top / "reversed"
        shutil.copytree(EXAMPLE, data)
        reverse(data)
    suite = top / "suite.json"
    suite.write_text(
        json.dumps({"suite": "s", "models": [*CONTROLS, *MODELS], "evaluations": ASKED})
    )
    arguments = ["run", str(suite), "--data", f"manifest={data}", "--out", str(out)]
    arguments += ["--batch-size", str(way.batch)]
    codes = bench(arguments, processes=way.processes, BENCH_CACHE=str(cache))
    assert codes == [0] * way.processes
    records = {(r.model.name, r.task): r for r in Store(out).records()}
    dataset = DataAccess({"manifest": data}).load(Evaluation(**ASKED[0])).dataset
    card, options = suite_models.rounding("cpu").card, {"use": "suite_models:rounding"}
    by_id = sorted((s for s in dataset.samples), key=lambda s: s.sample_id)
    files = [file_sha256(sample.image.file) for sample in by_id]
    words = [text_id(s.text) for s in by_id if isinstance(s, ImageText) and s.asked]
    images = open_cache(card, "image", options=options, root=cache).get(files)
    texts = open_cache(card, "text", options=options, root=cache).get(words)
    assert images[0].all()
    assert texts[0].all()
    return Run(out, dataset, records, images[1], texts[1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    top = tmp_path_factory.mktemp("invariance")
    shutil.copytree(EXAMPLE, top / "data")
    return {name: run(top, name, way) for name, way in WAYS.items()}


def scores(run: Run, model: str) -> list[tuple[object, ...]]:
    fields = ("metric", "group", "direction", "relevance", "value", "low", "high", "n", "pool")
    return [
        (task, *(getattr(score, field) for field in fields))
        for (name, task), record in sorted(run.records.items())
        for score in record.scores
        if name == model
    ]


@pytest.mark.parametrize("way", [name for name in WAYS if name != "alone"])
@pytest.mark.parametrize("model", [*CONTROLS, "boxer"])
def test_controls_and_boxes_are_equal_to_the_bit(
    runs: dict[str, Run], way: str, model: str
) -> None:
    assert scores(runs["alone"], model)
    assert scores(runs[way], model) == scores(runs["alone"], model)


@pytest.mark.parametrize("way", [name for name in WAYS if name != "alone"])
def test_embeddings_are_within_the_bound_and_ranks_differ_only_at_near_ties(
    runs: dict[str, Run], way: str
) -> None:
    one, other = runs["alone"], runs[way]
    assert np.abs(one.images - other.images).max() < BOUND
    assert np.abs(one.texts - other.texts).max() < BOUND
    similarity = one.images.astype(np.float64) @ one.texts.astype(np.float64).T
    before, after = one.ranks(), other.ranks()
    assert before.keys() == after.keys()
    moved = [key for key in before if before[key] != after[key]]
    near = np.diff(np.sort(similarity, axis=None)).min() < BOUND
    assert near or not moved, f"{len(moved)} ranks differ where no two scores are near"
    assert len(moved) <= 2


def test_the_model_of_this_test_does_round(runs: dict[str, Run]) -> None:
    """Else the bound above would be met by doing nothing."""
    assert any(not np.array_equal(runs["alone"].images, r.images) for r in runs.values())
