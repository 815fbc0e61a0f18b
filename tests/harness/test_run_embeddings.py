"""Embeddings a run finds in the cache are those of the model it asks, options included."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data_access import DataAccess
from harness.models import ModelCard
from harness.plan import plan_cells
from harness.run import Settings, run_cells
from harness.store import Store
from harness.suite_schema import Suite

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "data" / "example"
ASKED = {"task": "retrieval", "dataset": "manifest", "split": "all", "options": {"draws": 2}}


@pytest.fixture(autouse=True)
def _test_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def turned(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "use": "suite_models:turned", "options": options}


def shuffled(name: str, model: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "use": "shuffled", "options": {"model": model}}


def neighbours(out: Path, *models: Any, cached: bool = True) -> dict[str, str]:
    """What each model found for each image, as text."""
    suite = Suite(suite="s", models=list(models), evaluations=[ASKED])
    settings = Settings(out, device="cpu", cache_embeddings=cached)
    found = {}
    for record, _ in run_cells(plan_cells(suite), DataAccess({"manifest": EXAMPLE}), settings):
        assert record.status == "ok", record.reason
        cell = Store(out).cell("retrieval", "manifest", "all", record.model.name, record.key)
        found[record.model.name] = cell.read("ranks").to_json()
    return found


def test_an_option_that_changes_vectors_is_never_served_those_of_another(tmp_path: Path) -> None:
    models = [turned("plain"), turned("turned", turn=-1.0)]
    mixed = [shuffled(f"{m['name']}-shuffled", m) for m in models]
    cached = neighbours(tmp_path / "cached", *models, *mixed)
    fresh = neighbours(tmp_path / "fresh", *models, *mixed, cached=False)
    assert cached == fresh
    assert len(set(cached.values())) == 4


def test_a_shuffled_row_finds_the_embeddings_of_the_model_inside(tmp_path: Path) -> None:
    inside = turned("turned", turn=-1.0)
    neighbours(tmp_path / "out", inside)
    folders = sorted(p.name for p in (tmp_path / "cache" / "embeddings").iterdir())
    assert len(folders) == 2
    neighbours(tmp_path / "out", shuffled("mixed", inside))
    assert sorted(p.name for p in (tmp_path / "cache" / "embeddings").iterdir()) == folders
    identity = (tmp_path / "cache" / "embeddings" / folders[0] / "identity.json").read_text()
    assert json.loads(identity)["options"] == {"use": "suite_models:turned", "turn": -1.0}


def test_where_a_hashed_checkpoint_lies_decides_nothing(tmp_path: Path) -> None:
    keys = set()
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        suite = Suite(suite="s", models=[{"name": "m", "use": str(folder)}], evaluations=[ASKED])
        [plan] = plan_cells(suite)
        hashed = ModelCard("m", "lofi", weights="0" * 64)
        assert plan.inner_options(hashed) == {"use": "lofi.adapter:load"}
        options = plan.inner_options(ModelCard("m", "lofi"))
        assert options["checkpoint"] == str(folder)
        keys.add(json.dumps(plan.inner_options(hashed)))
    assert len(keys) == 1
