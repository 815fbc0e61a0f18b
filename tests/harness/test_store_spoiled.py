"""A file of a cell that is spoiled, foreign or out of reach is noticed, and never read as whole."""

import errno
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from harness.cell import Cell
from harness.errors import BenchError
from harness.identity import key_of
from harness.store import Store
from tests.harness.cells import rows


def cell_of(root: Path, model: str = "m") -> Cell:
    return Store(root).cell("retrieval", "open-i", "all", model, key_of({"model": model}))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def zero(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def flip_one_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


SPOIL = [truncate, empty, zero, lengthen, flip_one_bit]


@pytest.mark.parametrize("spoil", SPOIL)
def test_a_spoiled_shard_is_set_aside_said_and_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    cell = cell_of(tmp_path)
    cell.append("ranks", rows("a", "b"))
    cell.append("ranks", rows("c"))
    first = min((cell.folder / "outcomes").iterdir())
    spoil(first)
    with caplog.at_level(logging.WARNING):
        assert cell.done_ids("ranks") == {"c"}
    assert str(first) in caplog.text
    assert not first.exists()
    assert len(list((cell.folder / "quarantine").iterdir())) == 1
    cell.append("ranks", rows("a", "b", value=2.0))
    assert cell.read("ranks")["value"].tolist() == [2.0, 2.0, 1.0]


def test_every_flipped_bit_of_a_shard_is_noticed(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    cell.append("ranks", rows("a", "b"))
    file = next((cell.folder / "outcomes").iterdir())
    whole = file.read_bytes()
    for place in range(0, len(whole), 37):
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << place % 8
        file.write_bytes(spoiled)
        assert cell.read("ranks").empty
        file.write_bytes(whole)
    assert len(cell.read("ranks")) == 2


def test_a_shard_of_another_cell_or_kind_is_set_aside(tmp_path: Path) -> None:
    cell, other = cell_of(tmp_path), cell_of(tmp_path, "other")
    other.append("ranks", rows("a", value=9.0))
    foreign = next((other.folder / "outcomes").iterdir())
    cell.append("ranks", rows("b"))
    shutil.copy(foreign, cell.folder / "outcomes")
    assert cell.read("ranks")["sample_id"].tolist() == ["b"]
    cell.append("boxes", rows("b"))
    boxes = next((cell.folder / "outcomes").glob("boxes-*"))
    boxes.rename(boxes.with_name(boxes.name.replace("boxes", "ranks")))
    assert cell.read("ranks")["sample_id"].tolist() == ["b"]


def closed(writer: ModuleType, root: Path) -> Cell:
    writer.run(root, batch=12)
    cell: Cell = writer.cell_of(root)
    return cell


@pytest.mark.parametrize("spoil", SPOIL)
def test_a_spoiled_outcome_file_reopens_a_finished_cell(
    tmp_path: Path,
    writer: ModuleType,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
) -> None:
    cell = closed(writer, tmp_path)
    spoil(next((cell.folder / "outcomes").iterdir()))
    assert not writer.cell_of(tmp_path).finished()
    assert "computed again" in caplog.text
    assert writer.run(tmp_path, batch=7) == writer.SAMPLES
    assert writer.cell_of(tmp_path).finished()


def test_a_missing_outcome_file_reopens_a_finished_cell(
    tmp_path: Path, writer: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    cell = closed(writer, tmp_path)
    next((cell.folder / "outcomes").iterdir()).unlink()
    assert not cell.finished()
    assert "missing" in caplog.text


def test_a_finished_cell_damaged_while_it_is_read_is_an_error_not_a_short_table(
    tmp_path: Path, writer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = closed(writer, tmp_path)
    sealed = cell._sealed()
    zero(next((cell.folder / "outcomes").iterdir()))
    monkeypatch.setattr(cell, "_sealed", lambda: sealed)
    with pytest.raises(BenchError, match=r"damaged.*again"):
        cell.read("ranks")


def test_a_shard_damaged_before_it_is_merged_stops_the_record(
    tmp_path: Path, writer: ModuleType
) -> None:
    writer.run(tmp_path, batch=12)
    record = writer.cell_of(tmp_path).record()
    cell = cell_of(tmp_path)
    cell.append("ranks", rows("a"))
    zero(next((cell.folder / "outcomes").iterdir()))
    with pytest.raises(BenchError, match="damaged"):
        cell.write_record(record.model_copy(update={"key": cell.key}))
    assert cell.record() is None


def test_one_kind_that_is_spoiled_leaves_the_others_done(
    tmp_path: Path, writer: ModuleType
) -> None:
    writer.run(tmp_path, batch=12)
    record = writer.cell_of(tmp_path).record()
    cell = cell_of(tmp_path)
    cell.append("ranks", rows("a", "b"))
    cell.append("boxes", rows("a", "b"))
    cell.write_record(record.model_copy(update={"key": cell.key}))
    truncate(next((cell.folder / "outcomes").glob("boxes-*")))
    again = cell_of(tmp_path)
    assert not again.finished()
    assert again.done_ids("ranks") == {"a", "b"}
    assert again.done_ids("boxes") == set()


@pytest.mark.parametrize("spoil", SPOIL[:-1])  # a flipped bit of a text may be a valid record
def test_a_spoiled_record_reopens_the_cell_but_not_its_outcomes(
    tmp_path: Path, writer: ModuleType, spoil: Callable[[Path], None]
) -> None:
    cell = closed(writer, tmp_path)
    spoil(cell.folder / "record.json")
    assert not writer.cell_of(tmp_path).finished()
    assert writer.run(tmp_path, batch=7) == []
    assert writer.cell_of(tmp_path).finished()


def test_a_shard_that_cannot_be_read_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = cell_of(tmp_path)
    cell.append("ranks", rows("a"))

    def failing(_: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        assert cell.done_ids("ranks") == set()
    assert list((cell.folder / "quarantine").iterdir())


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_a_finished_cell_that_cannot_be_read_is_not_finished(
    tmp_path: Path, writer: ModuleType, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    cell = closed(writer, tmp_path)
    real = Path.read_bytes

    def failing(file: Path) -> bytes:
        if file.suffix == suffix:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(file)

    monkeypatch.setattr(Path, "read_bytes", failing)
    assert not cell.finished()


def test_a_record_that_may_not_be_read_is_told(
    tmp_path: Path, writer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = closed(writer, tmp_path)

    def failing(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(BenchError, match="may not be read"):
        cell.finished()


def test_a_cell_can_be_locked_by_itself(tmp_path: Path) -> None:
    cell = cell_of(tmp_path)
    with cell.lock(), pytest.raises(BenchError), cell.lock():
        pass
    with cell_of(tmp_path).lock():
        pass
