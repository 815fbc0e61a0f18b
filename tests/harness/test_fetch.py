"""Fetching says what is missing and opens no connection unless it is allowed to."""

import json

import pytest
import yaml
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


def test_models_named_inside_options_are_fetched_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    suite = {
        "suite": "mine",
        "models": [
            "oracle",
            {"name": "turned", "use": "shuffled", "options": {"model": "rad-dino"}},
            {
                "name": "shown",
                "use": "in-context",
                "options": {
                    "grounder": "medgemma-4b",
                    "demonstrations": {"count": 4, "retriever": "biomedclip", "filter": "any"},
                    "others": ["biovil-t", 3, {"model": {"use": "carzero"}}],
                },
            },
        ],
        "evaluations": [
            {"task": "grounding", "dataset": "ms-cxr", "options": {"neighbours": "medsiglip-448"}}
        ],
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))
    result = CliRunner().invoke(cli, ["fetch", str(tmp_path / "mine.yaml"), "--log-json"])
    assert result.exit_code == 1, result.output
    rows = [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]
    assert [row["model"] for row in rows] == [
        "rad-dino",
        "medgemma-4b",
        "biomedclip",
        "biovil-t",
        "carzero",
        "medsiglip-448",
    ]
