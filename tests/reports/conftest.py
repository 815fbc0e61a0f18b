"""Records made by hand: every report is tested on numbers a reader can check."""

import hashlib
import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from harness.data_access import DataAccess
from harness.plan import plan_cells
from harness.record import DatasetInfo, ModelInfo, RunRecord, Score
from harness.run import Settings, run_cells
from harness.suite_schema import Evaluation, ModelReference, Suite
from reports.runs import dataset_source, read_runs
from reports.viewer_data import Gallery

sys.path.append(str(Path(__file__).parent))  # suites here name models as toy_models:load

from toy_models import SIDE, cell_box
from webdriver import Browser


def build_record(model: str = "alpha", **changes) -> RunRecord:
    """A retrieval record of 200 queries; `data` and `card` change the dataset and the model."""
    data = {
        "name": "mimic-cxr",
        "split": "test",
        "cohort": "frontal",
        "n_total": 210,
        "n_used": 200,
        "patients": 150,
        "fingerprint": "f" * 64,
        "excluded": {"unreadable": 10},
    }
    card = {"name": model, "family": "open_clip", "licence": "MIT", "trained_on": []}
    data.update(changes.pop("data", {}))
    card.update(changes.pop("card", {}))
    fields = {
        "task": "retrieval",
        "suite": "retrieval",
        "status": "ok",
        "exposure": "external",
        "created": "2026-11-23T10:00:00Z",
        "command": f"bench run suites/retrieval.yaml --models {model}",
        "seed": 0,
        "scores": recall_scores(0.4),
    }
    fields.update(changes)
    identity = {"model": card, "data": data, "seed": fields["seed"], "task": fields["task"]}
    identity["policy"] = fields.get("text_policy", "official")
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    parts = {"model": ModelInfo(**card), "dataset": DatasetInfo(**data)}
    return RunRecord(**{"key": key, "identity": identity, **parts, **fields})


def recall_scores(value: float, pool: int = 200) -> list[Score]:
    """R@1, R@5 and R@10 in both directions, `value` at R@10 and less above it."""
    return [
        Score(
            metric=f"recall@{k}",
            direction=direction,
            relevance="same_study",
            value=value * share,
            low=value * share - 0.03,
            high=value * share + 0.03,
            n=200,
            patients=150,
            pool=pool,
        )
        for direction in ("image_to_text", "text_to_image")
        for k, share in ((1, 0.3), (5, 0.75), (10, 1.0))
    ]


def miou_scores(value: float, group: str = "all") -> list[Score]:
    """mIoU, Acc@0.5 and F1@0.5 of 120 phrases."""
    return [
        Score(metric=metric, group=group, value=value * share, low=None, high=None, n=120)
        for metric, share in (("miou", 1.0), ("acc@0.5", 0.8), ("f1@0.5", 0.7))
    ]


@pytest.fixture
def record() -> Callable[..., RunRecord]:
    """The function that makes a record."""
    return build_record


@pytest.fixture
def recalls() -> Callable[..., list[Score]]:
    """The function that makes retrieval scores."""
    return recall_scores


@pytest.fixture
def mious() -> Callable[..., list[Score]]:
    """The function that makes grounding scores."""
    return miou_scores


@pytest.fixture
def film() -> np.ndarray:
    """A grey image whose left half is darker than its right, 60 high and 80 wide."""
    pixels = np.full((60, 80), 60, np.uint8)
    pixels[:, 40:] = 120
    return pixels


SECRET = "Zebrafinch opacity"  # stands in every report text and phrase of the toy data
PATIENTS = 48


def write_toy_data(folder: Path) -> Path:
    """A manifest of 48 films, one bright square each; text and phrase name the square's zone."""
    (folder / "images").mkdir(parents=True)
    rows = ["image_id,file,patient_id,view,text_findings,sex"]
    phrases = []
    for index in range(PATIENTS):
        cell = index % SIDE**2
        pixels = np.random.default_rng(index).integers(40, 60, (96, 96)).astype(np.uint8)
        row, column = divmod(cell, SIDE)
        pixels[24 * row : 24 * (row + 1), 24 * column : 24 * (column + 1)] = 210
        PilImage.fromarray(pixels).save(folder / "images" / f"i{index:02}.png")
        view, sex = ("PA", "AP")[index % 2], "FM"[index % 3 == 0]
        text = f"{SECRET} in zone {cell} of film {index}."
        rows.append(f"i{index:02},images/i{index:02}.png,p{index:02},{view},{text},{sex}")
        phrase = f"{SECRET} in zone {cell}"
        line = {"image_id": f"i{index:02}", "phrase": phrase, "kind": "finding"}
        phrases.append(json.dumps({**line, "boxes": [cell_box(cell)]}))
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    (folder / "phrases.jsonl").write_text("\n".join(phrases) + "\n")
    return folder


TOY_MODELS = (
    ModelReference(name="sharp", use="toy_models:load"),
    ModelReference(name="blunt", use="toy_models:load", options={"every": 3, "shy": True}),
    ModelReference(name="blunter", use="toy_models:load", options={"every": 2}),
    ModelReference(name="leaky", use="toy_models:load", options={"seen": True, "every": 4}),
    ModelReference(name="wreck", use="toy_models:broken"),
    *(ModelReference(name=n) for n in ("chance", "oracle", "centre-box", "text-only", "nothing")),
)


def run_toy_suite(data: Path, out: Path, **options: Any) -> None:
    """Both tasks on the toy data with all toy models, through the harness's own runner."""
    evaluations = [
        Evaluation(
            task="retrieval",
            dataset="manifest",
            split="all",
            options={"relevance": ["same_study", "same_text"]},
        ),
        Evaluation(task="grounding", dataset="manifest", split="all"),
    ]
    suite = Suite(suite="toy", models=list(TOY_MODELS), evaluations=evaluations)
    access = DataAccess({"manifest": data})
    settings = Settings(out, "toy", "cpu", command="bench run toy --data manifest=/home/x/films")
    list(run_cells(plan_cells(suite), access, replace(settings, **options)))


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy manifest; read only."""
    return write_toy_data(tmp_path_factory.mktemp("toy") / "films")


@pytest.fixture(scope="session")
def toy_runs(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder on the toy data; read only."""
    out = tmp_path_factory.mktemp("runs") / "toy"
    run_toy_suite(toy_data, out)
    return out


@pytest.fixture
def own_runs(toy_runs: Path, tmp_path: Path) -> Path:
    """A copy of the runs folder that a test may change."""
    shutil.copytree(toy_runs, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def gallery(toy_runs, toy_data):
    return Gallery(read_runs([toy_runs]), dataset_source({"manifest": toy_data}))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests; skipped where there is none."""
    driver = shutil.which("chromedriver")
    if driver is None or not any(map(shutil.which, ("chromium", "google-chrome", "chrome"))):
        pytest.skip("no Chromium with chromedriver here (Debian: chromium, chromium-driver)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    browser = Browser(driver, port)
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser at desktop size in light colors; a console error fails the test."""
    chromium.size(1280, 1000)
    chromium.scheme("light")
    yield chromium
    assert chromium.console() == []
