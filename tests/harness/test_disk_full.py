"""A disk that fills up under a writer that is not ours is told too, without a traceback."""

import errno
import os

import pytest

from harness import cli


def fail(code: int) -> None:
    raise OSError(code, os.strerror(code))


def test_a_full_disk_is_told_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "cli", lambda **_: fail(errno.ENOSPC))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("bench: the disk or quota is full")
    assert "--out" in told


def test_a_failing_disk_is_told_with_the_file_and_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "runs/x.json")

    monkeypatch.setattr(cli, "cli", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("bench: the disk is failing (runs/x.json)")
    assert "--out" in told


def test_an_error_that_says_nothing_of_the_disk_is_not_called_a_full_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli, "cli", lambda **_: fail(errno.ENOENT))
    with pytest.raises(FileNotFoundError):
        cli.main()
