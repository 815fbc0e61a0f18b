"""What the measuring scripts print, and the tables both worlds get."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.box_tables import read_box_table
from harness.errors import BenchError
from harness.phantom import measure, tables
from harness.phantom.cache import training_table
from harness.phantom.parallel import run_jobs, usable_cores
from harness.phantom.regions import silhouette_box


def test_rows_of_both_twins_stand_side_by_side() -> None:
    columns = {
        "mimic twin": [("studies", 1234.0, ""), ("ms-cxr: mean-box mIoU", 0.25, "<= 0.3")],
        "padchest twin": [("studies", 2.0, ""), ("padchest-gr: mean-box mIoU", 1.0, "<= 0.4")],
    }
    assert measure.markdown(columns).splitlines() == [
        "| | mimic twin | padchest twin | asked |",
        "|---|---|---|---|",
        "| studies | 1,234 | 2 |  |",
        "| mean-box mIoU | 0.250 | 1.000 | <= 0.3 / <= 0.4 |",
    ]


def test_the_script_measures_both_twins_where_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = []

    def measured(twin: str, split: str, cache: Path, limit: int | None) -> list[Any]:
        asked.append((twin, split, cache, limit))
        return [("studies", 7.0, "")]

    monkeypatch.setattr(measure, "measure_twin", measured)
    monkeypatch.setattr(measure, "measure_words", lambda *_: [("words known", 0.5, ">= 0.95")])
    measure.main(["--cache", str(tmp_path), "--split", "validation", "--limit", "7"])
    assert asked == [(twin, "validation", tmp_path, 7) for twin in ("mimic", "padchest")]
    told = capsys.readouterr().out
    assert "split validation" in told
    assert "| studies | 7 | 7 |  |" in told
    assert "| words known | 0.500 | >= 0.95 |" in told


def test_the_mimic_world_has_a_table_for_each_of_its_datasets(tmp_path: Path) -> None:
    found = tables.make_tables("mimic", 10, tmp_path, workers=1)
    assert [path.name for path in found] == ["ms-cxr.json", "cxr-qba.json"]
    assert read_box_table(found[1]).sums  # regions are many in ten studies


def test_the_tables_of_both_worlds_are_made_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(world: str, studies: int, workers: int | None) -> list[Path]:
        return [Path(f"{world}-{studies}-{workers}.json")]

    monkeypatch.setattr(tables, "make_tables", made)
    tables.main(["--studies", "5", "--workers", "2"])
    assert capsys.readouterr().out.splitlines() == ["mimic-5-2.json", "padchest-5-2.json"]


def test_a_dataset_without_a_table_of_mean_boxes_is_told() -> None:
    with pytest.raises(BenchError, match="Did you mean 'ms-cxr'"):
        training_table("ms-cxx")


def test_a_worker_that_dies_is_told() -> None:
    with pytest.raises(BenchError, match="a rendering process died"):
        list(run_jobs(os._exit, [7, 7], workers=2))


def test_cores_are_counted_where_they_cannot_be_assigned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    assert usable_cores() == 5
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert usable_cores() == 1


def test_the_box_of_an_empty_silhouette_is_the_whole_film() -> None:
    assert silhouette_box(np.zeros((3, 5), bool)).tolist() == [0, 0, 5, 3]
    mask = np.zeros((3, 5), bool)
    mask[1, 2:4] = True
    assert silhouette_box(mask).tolist() == [2, 1, 4, 2]
