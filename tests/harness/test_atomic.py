"""Whole files or none: permissions, links, and a disk that fails at every single call."""

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import atomic
from harness.errors import BenchError

CALLS = ["open", "write", "fchmod", "fsync", "replace"]


def fail_at(monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: int) -> list[int]:
    """Let the `number`-th use of `os.<call>` fail with `code`; counts uses in the list."""
    used = [0]
    real: Callable[..., object] = getattr(os, call)

    def failing(*args: object, **kwargs: object) -> object:
        used[0] += 1
        if used[0] == number:
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, failing)
    return used


def test_a_new_file_is_written_with_its_folders_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "data.bin"
    atomic.write_bytes(file, b"abc")
    assert file.read_bytes() == b"abc"
    assert os.listdir(file.parent) == ["data.bin"]


def test_text_keeps_its_letters_and_line_ends(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "t", "Pleuraerguß\r\nnein\n")
    assert (tmp_path / "t").read_bytes() == "Pleuraerguß\r\nnein\n".encode()


def test_json_keeps_every_digit_and_refuses_nan(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    atomic.write_json(file, {"value": 0.1 + 0.2})
    assert json.loads(file.read_text())["value"] == 0.1 + 0.2
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(file, {"value": float("nan")})
    assert json.loads(file.read_text())["value"] == 0.1 + 0.2


def test_a_new_file_has_the_permissions_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic.write_bytes(tmp_path / "new", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_an_existing_file_keeps_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "old"
    file.write_text("1")
    file.chmod(0o604)
    atomic.write_text(file, "2")
    assert file.read_text() == "2"
    assert stat.S_IMODE(file.stat().st_mode) == 0o604


def test_a_symbolic_link_stays_and_its_target_changes(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "real"
    target.parent.mkdir()
    target.write_text("1")
    link = tmp_path / "link"
    link.symlink_to(target)
    atomic.write_text(link, "2")
    assert link.is_symlink()
    assert target.read_text() == "2"


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    atomic.write_bytes(tmp_path / "f", b"0123456789")
    assert (tmp_path / "f").read_bytes() == b"0123456789"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", CALLS)
def test_an_error_at_any_call_leaves_the_old_file_and_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    with monkeypatch.context() as patch:
        fail_at(patch, call, 1, code)
        with pytest.raises(BenchError) as raised:
            atomic.write_text(file, "new")
    assert str(tmp_path) in str(raised.value)
    assert "--out" in str(raised.value)
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_full_disk_and_a_closed_folder_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for code in (errno.ENOSPC, errno.EACCES):
        with monkeypatch.context() as patch:
            fail_at(patch, "open", 1, code)
            with pytest.raises(BenchError) as raised:
                atomic.write_text(tmp_path / "f", "")
            told.append(str(raised.value))
    assert "full" in told[0]
    assert "cannot be written to" in told[1]


def test_an_interrupt_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_text(tmp_path / "f", "new")
    assert os.listdir(tmp_path) == []


def test_a_file_where_a_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(BenchError, match="runs"):
        atomic.write_text(tmp_path / "runs" / "x", "")


def test_a_file_system_that_cannot_sync_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    atomic.write_text(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "new"
