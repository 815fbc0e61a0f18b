"""Records: one closes its cell, a failure does not, and a damaged or foreign one is set aside."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.errors import BenchError
from harness.record import Status
from harness.store import Store
from tests.harness.cells import cell_of, record, rows


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
