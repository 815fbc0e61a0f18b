"""Whether phantoms are there is told from what the cache says it covers, and nothing is drawn."""

import json
from pathlib import Path

import pytest

from harness.errors import BenchError
from harness.phantom import cache
from harness.rendered import is_rendered


def cover(folder: Path, world: str, **studies: int) -> None:
    root = cache.world_root(folder, cache.WORLDS[world], large=False)
    root.mkdir(parents=True, exist_ok=True)
    (root / "coverage.json").write_text(json.dumps(studies))


def test_as_many_studies_as_a_limit_renders_are_enough_and_one_less_is_not(tmp_path: Path) -> None:
    assert not is_rendered("mimic-cxr", "test", tmp_path, 20)
    # 20 samples of the MIMIC twin take 1.1 x 20 + 12 studies (`harness.phantom.cache`).
    cover(tmp_path, "mimic", test=34)
    assert is_rendered("mimic-cxr", "test", tmp_path, 20)
    assert is_rendered("mimic-cxr-jpg", "test", tmp_path, 5)
    assert not is_rendered("mimic-cxr", "test", tmp_path, 21)
    assert not is_rendered("mimic-cxr", "test", tmp_path)
    assert not is_rendered("mimic-cxr", "pooled-eval", tmp_path, 20)
    assert not is_rendered("padchest-gr", "test", tmp_path, 20)
    cover(tmp_path, "mimic", test=33, validation=99)
    assert not is_rendered("mimic-cxr", "test", tmp_path, 20)


@pytest.mark.parametrize("name", ["mimic-cxr", "ms-cxr", "padchest-gr", "mimic-rendering", "probe"])
def test_what_counts_as_rendered_is_not_rendered_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ensure_phantom` itself is asked, with everything that draws taken away."""

    def draw(*_: object) -> None:
        raise AssertionError("it would be rendered")

    monkeypatch.setattr("harness.phantom.cache._fill", draw)
    monkeypatch.setattr("harness.phantom.probe._write", draw)
    for world in cache.WORLDS:
        cover(tmp_path, world, test=40)
    told = {}
    for limit in (1, 6, 7, 25, 26, 30):
        try:
            told[limit] = bool(cache.ensure_phantom(name, "test", tmp_path, limit=limit))
        except AssertionError:
            told[limit] = False
    assert {limit: is_rendered(name, "test", tmp_path, limit) for limit in told} == told
    assert name == "probe" or set(told.values()) == {True, False}


def test_an_unknown_name_is_refused_as_when_it_is_rendered(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="Did you mean 'mimic-cxr'"):
        is_rendered("mimic-cxx", "test", tmp_path)
