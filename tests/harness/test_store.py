"""Cells: what goes in comes out to the bit, once, whoever wrote it; a record closes it."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness import outcomes_store
from harness.cell import Cell
from harness.errors import BenchError
from harness.identity import key_of
from harness.record import DatasetInfo, ModelInfo, RunRecord, Score, Status
from harness.store import Store, cache_root, safe_name

IDENTITY = {"task": "retrieval", "seed": 0}
KEY = key_of(IDENTITY)


def cell_of(root: Path, model: str = "clip", key: str = KEY) -> Cell:
    return Store(root).cell("retrieval", "mimic-cxr", "test", model, key)


def record(status: Status = "ok", key: str = KEY, value: float = 0.5) -> RunRecord:
    return RunRecord(
        key=key,
        identity=IDENTITY,
        suite="retrieval",
        task="retrieval",
        model=ModelInfo(name="clip", family="clip"),
        dataset=DatasetInfo(name="mimic-cxr", split="test", cohort="frontal"),
        status=status,
        scores=[Score(metric="recall@1", value=value)],
    )


def rows(*ids: str, value: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame({"sample_id": list(ids), "value": [value] * len(ids)})


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


def test_a_record_closes_the_cell_and_lists_one_file_per_kind(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    for sample in "abc":
        cell.append("ranks", rows(sample))
        cell.append("boxes", rows(sample, value=2.0))
    before = cell.read("ranks")
    assert not cell.finished()
    written = cell.write_record(record())
    assert cell.finished()
    names = sorted(os.listdir(cell.folder / "outcomes"))
    assert names == sorted(written.outcomes)
    assert len(names) == 2
    assert cell.record() == written
    pd.testing.assert_frame_equal(cell_of(tmp_path).read("ranks"), before, check_exact=True)
    assert cell_of(tmp_path).read("boxes")["value"].tolist() == [2.0] * 3


def test_a_record_keeps_every_digit_of_a_score(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1 / 3, np.nextafter(0.5, 1), 5e-324]
    for value in values:
        cell_of(tmp_path).write_record(record(value=value))
        found = Store(tmp_path).records()
        assert [score.value for score in found[0].scores] == [value]


@pytest.mark.parametrize("status", ["failed", "timeout", "out_of_memory", "skipped"])
def test_a_failure_is_a_record_but_never_cached_as_a_result(tmp_path: Path, status: Status) -> None:
    cell = cell_of(tmp_path)
    cell.append("ranks", rows("a"))
    cell.write_record(record(status))
    again = cell_of(tmp_path)
    found = again.record()
    assert found is not None
    assert found.status == status
    assert not again.finished()
    assert again.done_ids("ranks") == {"a"}  # what was computed before it failed is not lost


@pytest.mark.parametrize("status", ["not_scored", "not_taught"])
def test_what_cannot_be_scored_need_not_be_asked_again(tmp_path: Path, status: Status) -> None:
    cell_of(tmp_path).write_record(record(status))
    assert cell_of(tmp_path).finished()


def test_a_restarted_attempt_stays_in_the_shade_of_the_finished_one(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.append("ranks", rows("a", "b", value=1.0))
    cell.write_record(record(value=1.0))
    second = cell_of(tmp_path)
    second.restart()
    assert second.done_ids("ranks") == set()
    second.append("ranks", rows("a", value=2.0))
    assert second.read("ranks")["value"].tolist() == [2.0]
    reader = cell_of(tmp_path)  # the second attempt dies here
    assert reader.finished()
    assert reader.read("ranks")["value"].tolist() == [1.0, 1.0]
    third = cell_of(tmp_path)
    third.restart()
    third.append("ranks", rows("a", "b", value=3.0))
    third.write_record(record(value=3.0))
    assert cell_of(tmp_path).read("ranks")["value"].tolist() == [3.0, 3.0]
    assert len(os.listdir(cell.folder / "outcomes")) == 1


def test_a_failed_restart_does_not_take_the_place_of_a_finished_cell(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.append("ranks", rows("a"))
    done = cell.write_record(record())
    cell.restart()
    cell.write_record(record("failed"))
    assert cell_of(tmp_path).record() == done
    assert cell_of(tmp_path).finished()
    kept = list((cell.folder / "attempts").glob("*.json"))
    assert [json.loads(file.read_text())["status"] for file in kept] == ["failed"]


def test_scoring_again_keeps_the_outcomes(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.append("ranks", rows("a", "b"))
    first = cell.write_record(record(value=1.0))
    second = cell_of(tmp_path).write_record(record(value=2.0))
    assert second.outcomes == first.outcomes
    assert cell_of(tmp_path).read("ranks")["sample_id"].tolist() == ["a", "b"]


def test_a_record_of_another_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="key"):
        cell_of(tmp_path).write_record(record(key="f" * 64))


def test_two_runs_in_the_same_second_both_leave_their_attempts(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.write_record(record())
    for reason in ("one", "two"):
        update = {"reason": reason, "created": "2026-01-01T00:00:00+00:00"}
        cell_of(tmp_path).write_record(record("failed").model_copy(update=update))
    assert len(list((cell.folder / "attempts").iterdir())) == 2


def test_records_of_a_folder_come_sorted_and_damaged_ones_are_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for model in ("b", "a", "c"):
        cell_of(tmp_path, model).write_record(record(value=ord(model)))
    damaged = cell_of(tmp_path, "b").folder / "record.json"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        found = Store(tmp_path).records()
    assert [item.scores[0].value for item in found] == [ord("a"), ord("c")]
    assert str(damaged) in caplog.text
    assert list((damaged.parent / "quarantine").iterdir())
    assert Store(tmp_path / "nowhere").records() == []


def test_a_record_of_another_cell_is_set_aside(tmp_path: Path) -> None:
    other = cell_of(tmp_path, key="f" * 64)
    other.write_record(record(key="f" * 64))
    cell = cell_of(tmp_path)
    cell.write_record(record())
    (cell.folder / "record.json").write_bytes((other.folder / "record.json").read_bytes())
    assert cell.record() is None
    assert not cell.finished()


def test_a_record_of_a_newer_version_is_left_alone_and_told(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.write_record(record())
    file = cell.folder / "record.json"
    data = json.loads(file.read_text()) | {"schema_version": 99, "a_new_field": 1}
    for newer in (data, {k: v for k, v in data.items() if k != "a_new_field"}):
        file.write_text(json.dumps(newer))
        with pytest.raises(BenchError, match=r"99.*Update"):
            cell.record()
        assert file.exists()


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


def test_a_hostile_record_cannot_name_files_outside_its_cell(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.write_record(record())
    outside = tmp_path / "secret.parquet"
    outside.write_bytes(b"keep")
    file = cell.folder / "record.json"
    data = json.loads(file.read_text()) | {"outcomes": {"../../../secret.parquet": "0" * 64}}
    file.write_text(json.dumps(data))
    assert not cell.finished()
    assert outside.read_bytes() == b"keep"


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
