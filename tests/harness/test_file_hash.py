"""Hashes are remembered, never wrong, and the memory may be lost."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from harness import file_hash
from harness.file_hash import file_sha256, file_sha256s


@pytest.fixture
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were really read, with an empty memory."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_hash, "SETTLED", -60.0)  # files of this test count as old
    read: list[str] = []
    real = file_hash._hash

    def counted(file: str, stamp: str) -> str:
        read.append(Path(file).name)
        return real(file, stamp)

    monkeypatch.setattr(file_hash, "_hash", counted)
    return read


def make(folder: Path, name: str, content: bytes = b"weights") -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


def test_a_file_is_hashed_once_and_rightly(tmp_path: Path, hashed: list[str]) -> None:
    file = make(tmp_path, "w", b"x" * (3 << 20))
    expected = hashlib.sha256(b"x" * (3 << 20)).hexdigest()
    assert [file_sha256(file), file_sha256(file)] == [expected, expected]
    assert hashed == ["w"]


def test_many_files_are_answered_in_order(tmp_path: Path, hashed: list[str]) -> None:
    files = [make(tmp_path, f"{n}", b"%d" % n) for n in range(1100)]
    asked = [*reversed(files), files[0]]
    expected = [hashlib.sha256(file.name.encode()).hexdigest() for file in asked]
    assert file_sha256s(asked) == expected
    assert file_sha256s(asked) == expected
    assert len(hashed) == 1100
    assert file_sha256s([]) == []


def test_a_file_swapped_with_size_and_time_kept_is_noticed(
    tmp_path: Path, hashed: list[str]
) -> None:
    file = make(tmp_path, "w", b"one")
    os.utime(file, (1e9, 1e9))
    file_sha256(file)
    other = make(tmp_path, "other", b"two")
    os.utime(other, (1e9, 1e9))
    os.replace(other, file)
    assert file_sha256(file) == hashlib.sha256(b"two").hexdigest()
    file.write_bytes(b"six")
    os.utime(file, (1e9, 1e9))
    assert file_sha256(file) == hashlib.sha256(b"six").hexdigest()
    assert hashed == ["w"] * 3


def test_a_file_that_has_just_changed_is_not_remembered(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_hash, "SETTLED", 2.0)
    file = make(tmp_path, "w")
    file_sha256(file)
    file_sha256(file)
    assert hashed == ["w", "w"]


def test_a_clock_set_back_only_costs_time(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make(tmp_path, "w")
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert file_sha256(file) == file_sha256(file)
    assert hashed == ["w", "w"]


def test_a_link_is_known_by_its_target(tmp_path: Path, hashed: list[str]) -> None:
    file = make(tmp_path, "w")
    link = tmp_path / "link"
    link.symlink_to(file)
    assert file_sha256(link) == file_sha256(file)
    assert hashed == ["w"]


def test_a_damaged_memory_is_set_aside(
    tmp_path: Path, hashed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    file = make(tmp_path, "w")
    file_sha256(file)
    memory = tmp_path / "cache" / "hashes.sqlite"
    memory.write_bytes(b"not a database" * 100)
    expected = hashlib.sha256(b"weights").hexdigest()
    assert [file_sha256(file), file_sha256(file)] == [expected] * 2
    assert hashed == ["w", "w"]
    assert "damaged" in caplog.text


def test_a_cache_folder_that_cannot_be_is_no_error(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = make(tmp_path, "blocked")
    monkeypatch.setenv("BENCH_CACHE", str(blocked / "cache"))
    assert file_sha256(blocked) == hashlib.sha256(b"weights").hexdigest()
    assert hashed == ["blocked"]


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make(tmp_path, "w")
    stamps = iter(["before", "after"])
    monkeypatch.setattr(file_hash, "_stamp", lambda _: next(stamps))
    with pytest.raises(OSError, match="changed while"):
        file_sha256(file)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_sha256(tmp_path / "none")
