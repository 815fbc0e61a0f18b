import json

import pytest
from click.testing import CliRunner

from harness.commands.selfcheck import command
from harness.metrics import oracles
from harness.metrics.oracles import ORACLES, Agreement, ask_oracle


@pytest.mark.parametrize("name", list(ORACLES))
def test_every_installed_oracle_agrees(name):
    try:
        found = ask_oracle(name)
    except ImportError as error:
        pytest.skip(f"{name} is not installed: {error}")
    assert found
    for one in found:
        assert one.agrees, one


@pytest.mark.parametrize("name", ["faiss-cpu", "rodeometric", "torchvision", "painted pixels"])
def test_an_oracle_asked_twice_says_the_same_and_nothing_trivial(name):
    try:
        first = ask_oracle(name)
    except ImportError as error:
        pytest.skip(f"{name} is not installed: {error}")
    assert ask_oracle(name) == first
    assert all(one.ours not in (0, 1) for one in first), first


def test_the_command_prints_ours_theirs_and_the_difference(monkeypatch):
    monkeypatch.setattr(oracles, "ORACLES", {"scipy": ORACLES["scipy"]})
    monkeypatch.setattr("harness.commands.selfcheck.ORACLES", oracles.ORACLES)
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 0, result.output
    for word in ("ours", "theirs", "difference", "McNemar p", "2 of 2 numbers agree"):
        assert word in result.output
    lines = CliRunner().invoke(command, ["--log-json"]).output.splitlines()
    assert json.loads(lines[0])["agrees"] is True


def test_a_number_that_differs_fails_the_command(monkeypatch):
    def wrong():
        yield Agreement("miou", 0.5, 0.6)

    def absent():
        raise ImportError("no such package")

    peers = {"wrong": wrong, "absent": absent}
    monkeypatch.setattr(oracles, "ORACLES", peers)
    monkeypatch.setattr("harness.commands.selfcheck.ORACLES", peers)
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 1
    assert "DIFFERS" in result.output
    assert "not installed: absent" in result.output
