"""Fetching says what is missing and opens no connection unless it is allowed to."""

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.errors import BenchError
from harness.registry import card_names


def test_a_suite_without_published_models_has_nothing_to_fetch() -> None:
    result = CliRunner().invoke(cli, ["fetch", "probe"])
    assert isinstance(result.exception, BenchError)
    assert "no model with weights" in str(result.exception)


def test_a_name_that_is_neither_a_model_nor_a_suite_has_a_near_one() -> None:
    found = CliRunner().invoke(cli, ["fetch", "biovill"]).exception
    assert isinstance(found, BenchError)
    assert "unknown model or suite 'biovill'. Did you mean 'biovil'?" in str(found)


def test_absent_weights_are_named_with_the_command_that_gets_them(monkeypatch) -> None:
    if not card_names():
        pytest.skip("no card ships yet")
    import baselines.fetching

    def refuse(card: object) -> None:
        raise AssertionError(f"a connection was opened for {card}")

    monkeypatch.setattr(baselines.fetching, "fetch", refuse)
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    result = CliRunner().invoke(cli, ["fetch", card_names()[0]])
    assert result.exit_code == 1
    assert card_names()[0] in result.output
