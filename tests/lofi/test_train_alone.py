"""One training per folder, whoever else runs the same command."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from harness.commands.train import command
from harness.errors import BenchError
from harness.lock import RunLock


def train(folder: Path, preset: str = "lofi-tiny") -> Result:
    return CliRunner().invoke(command, [preset, "--out", str(folder), "--device", "cpu"])


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """What became of a second training that each one starts in its own folder."""
    second: list[Result] = []

    def fit(wanted, **_):
        if not second:
            second.append(Result)  # so that the second one starts no third
            second[0] = train(wanted.folder)
        return SimpleNamespace(step=3)

    monkeypatch.setattr("lofi.fit.fit", fit)
    return second


def test_a_second_training_in_the_same_folder_is_refused(fitted, tmp_path):
    assert train(tmp_path).exit_code == 0
    assert isinstance(fitted[0].exception, BenchError)
    assert "another run is at work here" in str(fitted[0].exception)
    assert train(tmp_path).exit_code == 0  # the lock is given back


@pytest.mark.usefixtures("fitted")
def test_the_lock_is_the_first_process_s_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with RunLock(tmp_path / ".lock"):
        assert train(tmp_path).exit_code == 0
        monkeypatch.setenv("RANK", "0")
        assert isinstance(train(tmp_path).exception, BenchError)


def test_a_vlm_is_not_trained_by_several_processes_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("lofi.vlm.fit.fit_vlm", lambda *_, **__: SimpleNamespace(step=3))
    assert train(tmp_path, "vlm-tiny").exit_code == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused = train(tmp_path, "vlm-tiny").exception
    assert isinstance(refused, BenchError)
    assert "found 2 processes" in str(refused)
