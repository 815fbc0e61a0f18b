"""Outcomes of a cell: what goes in comes out to the bit, once, whoever wrote it."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness import outcomes_store
from harness.errors import BenchError
from harness.store import cache_root, safe_name
from tests.harness.cells import cell_of, record, rows


def test_outcomes_come_back_once_and_sorted_by_sample(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.append("ranks", rows("c", "a"))
    cell.append("ranks", rows("b"))
    assert cell.read("ranks")["sample_id"].tolist() == ["a", "b", "c"]
    assert cell.done_ids("ranks") == {"a", "b", "c"}
    assert cell.kinds() == ["ranks"]


def test_of_rows_with_one_id_the_first_file_by_name_counts(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.append("ranks", rows("a", "b", value=1.0))
    cell.append("ranks", rows("b", "c", value=2.0))
    assert cell.read("ranks")["value"].tolist() == [1.0, 1.0, 2.0]


def test_the_table_does_not_depend_on_how_rows_were_spread_over_shards_and_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"sample_id": [f"{i:03d}" for i in range(60)], "value": rng.normal(size=60)}
    )
    tables = []
    for size, processes in ((60, 1), (7, 2), (1, 3)):
        root = tmp_path / str(size)
        shuffled = frame.sample(frac=1.0, random_state=size)
        for number, start in enumerate(range(0, 60, size)):
            monkeypatch.setenv("RANK", str(number % processes))
            cell_of(root).append("ranks", shuffled.iloc[start : start + size])
        tables.append(cell_of(root).read("ranks"))
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
    pd.testing.assert_frame_equal(tables[0], tables[2], check_exact=True)


def test_more_key_columns_keep_rows_of_one_sample_apart(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    keys = ("sample_id", "direction")
    for direction in ("text_to_image", "image_to_text"):
        frame = rows("b", "a").assign(direction=direction)
        cell.append("ranks", frame, keys=keys)
    assert cell.done_ids("ranks") == {
        (sample, direction)
        for sample in ("a", "b")
        for direction in ("image_to_text", "text_to_image")
    }
    assert len(cell.read("ranks")) == 4


def test_every_float_keeps_every_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    doubles = np.array([0.1 + 0.2, np.nextafter(1, 2), 5e-324, -0.0, np.nan, np.inf])
    boxes = [rng.random((n, 4)).astype(np.float32) for n in (2, 0, 1, 3, 5)] + [None]
    maps = [rng.random((3, n)).astype(np.float16).astype(np.float32) for n in range(1, 6)] + [None]
    assert maps[1] is not None
    maps[1][0, 0] = np.nan
    cell = cell_of(tmp_path)
    packed = [
        {"sample_id": str(i), "value": doubles[i], "boxes": outcomes_store.pack_boxes(boxes[i])}
        | outcomes_store.pack_heatmap(maps[i])
        for i in range(6)
    ]
    cell.append("boxes", pd.DataFrame(packed[:3]))
    cell.append("boxes", pd.DataFrame(packed[3:]))
    cell.write_record(record())
    back = cell.read("boxes")
    assert back["value"].to_numpy().tobytes() == doubles.tobytes()
    for i, row in back.iterrows():
        expected, found = boxes[int(str(i))], outcomes_store.unpack_boxes(row["boxes"])
        assert (found is None) == (expected is None)
        if expected is not None and found is not None:
            assert found.shape == expected.shape
            assert found.dtype == np.float32
            assert found.tobytes() == expected.tobytes()
        np.testing.assert_array_equal(
            outcomes_store.unpack_heatmap(row), maps[int(str(i))], strict=True
        )


def test_columns_that_are_empty_in_one_shard_and_full_in_another_merge(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.append(
        "boxes", pd.DataFrame({"sample_id": ["a"], "scores": [None], "shown": [[]], "n": [1]})
    )
    cell.append(
        "boxes",
        pd.DataFrame(
            {"sample_id": ["b"], "scores": [np.float32([0.1])], "shown": [["p", "q"]], "n": [2]}
        ),
    )
    back = cell.read("boxes")
    assert back["scores"][0] is None
    assert back["scores"][1].tolist() == [np.float32(0.1)]
    assert [list(shown) for shown in back["shown"]] == [[], ["p", "q"]]
    assert back["n"].tolist() == [1, 2]


def test_a_categorical_column_comes_back_as_its_values(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.append("x", pd.DataFrame({"sample_id": ["a"], "view": pd.Categorical(["PA"])}))
    cell.append("x", pd.DataFrame({"sample_id": ["b"], "view": ["AP"]}))
    assert cell.read("x")["view"].tolist() == ["PA", "AP"]


def test_ids_keep_their_leading_zeros_and_numbers_are_refused(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.append("ranks", rows("007", "7"))
    assert cell.done_ids("ranks") == {"007", "7"}
    with pytest.raises(ValueError, match=r"sample_id.*text.*8"):
        cell.append("ranks", pd.DataFrame({"sample_id": [8]}))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"value": [1.0]}), "key column 'sample_id'"),
        (pd.DataFrame({"sample_id": [None]}), "text"),
        (pd.DataFrame({"sample_id": ["a", "a"]}), "twice"),
        (pd.DataFrame({"sample_id": ["a"], "boxes": [np.zeros((2, 4))]}), "Flatten"),
    ],
)
def test_rows_that_cannot_be_kept_apart_or_stored_are_refused(
    tmp_path: Path, frame: pd.DataFrame, message: str
) -> None:
    cell = cell_of(tmp_path)
    with pytest.raises(ValueError, match=message):
        cell.append("ranks", frame)
    assert cell.read("ranks").empty


def test_a_kind_that_is_not_a_plain_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind"):
        cell_of(tmp_path).append("../ranks", rows("a"))


def test_shards_of_one_kind_must_agree_in_keys_and_types(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.append("a", rows("x"))
    cell.append("a", rows("y").assign(direction="d"), keys=("sample_id", "direction"))
    with pytest.raises(ValueError, match="key columns"):
        cell.read("a")
    cell.append("b", rows("x"))
    cell.append("b", pd.DataFrame({"sample_id": ["y"], "value": ["text"]}))
    with pytest.raises(ValueError, match="clashing"):
        cell.read("b")


def test_an_empty_batch_writes_nothing(tmp_path: Path) -> None:
    cell_of(tmp_path).append("ranks", rows())
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_heat_map_beyond_float16_or_of_another_shape_is_refused() -> None:
    for bad in (np.float32([[1e6]]), np.float32([[np.inf]]), np.zeros(3), np.zeros((1, 2, 3))):
        with pytest.raises(ValueError, match="heatmap"):
            outcomes_store.pack_heatmap(bad)
    every = outcomes_store.pack_heatmap(np.full((2, 2), np.nan))
    assert outcomes_store.unpack_heatmap(every) is not None


def test_model_names_cannot_climb_out_of_the_runs_folder_nor_meet(tmp_path: Path) -> None:
    names = [
        "../../evil",
        "pkg.mod:load",
        "pkg.mod_load",
        "./dir/x",
        "a" * 300,
        "a" * 301,
        "é",
        "..",
    ]
    folders = [cell_of(tmp_path, name).folder for name in names]
    assert len(set(folders)) == len(names)
    for folder in folders:
        assert folder.parent == tmp_path / "cells"
        assert len(folder.name) < 200
    assert safe_name("lofi-tiny") == "lofi-tiny"


def test_the_cache_folder_is_the_users_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "here"))
    assert cache_root() == tmp_path / "here"
    monkeypatch.delenv("BENCH_CACHE")
    assert cache_root().name == "cxr-bench"
    assert cache_root().is_absolute()


def test_a_read_only_runs_folder_is_told_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", closed)  # the tests may run as root, whom no mode stops
    with pytest.raises(BenchError, match=r"cannot be written to.*--out"):
        cell_of(tmp_path).append("ranks", rows("a"))
