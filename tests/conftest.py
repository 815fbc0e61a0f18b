"""Before anything imports torch: threads that wait must not spin, and nothing may go out."""

import importlib
import os
import sys
from pathlib import Path

OFFLINE = str(Path(__file__).parent / "offline")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [OFFLINE, os.environ.get("PYTHONPATH")]))
sys.path.insert(0, OFFLINE)
sys.modules.pop("sitecustomize", None)  # the system's own, where there is one
importlib.import_module("sitecustomize")

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

# How long one example takes says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

REPOSITORY = Path(__file__).parents[1]
REALCXR = REPOSITORY.parent / "shared" / "realcxr"


@pytest.fixture
def realcxr() -> Path:
    """The folder of real radiographs, or a skip that says so."""
    if not (REALCXR / "manifest.csv").is_file():
        pytest.skip("shared/realcxr is not beside the repository")
    return REALCXR


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache; one cache serves the whole session."""
    if "BENCH_TEST_CACHE" not in os.environ:
        os.environ["BENCH_TEST_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    monkeypatch.setenv("BENCH_CACHE", os.environ["BENCH_TEST_CACHE"])
