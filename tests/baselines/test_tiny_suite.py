"""A suite over the tiny checkpoints: a row for every family, through the command line."""

import csv
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from baselines.tiny import WRITERS, write_tiny_suite

EXAMPLE = Path(__file__).parents[1] / "data" / "example"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
def test_every_family_produces_a_row(tiny, tmp_path):
    from harness.commands.run import command

    for name in WRITERS:
        tiny(name)
    suite = yaml.safe_load(write_tiny_suite(Path(tiny("tiny-clip")).parent).read_text())
    assert [model["name"] for model in suite["models"]] == list(WRITERS)
    policies = {"text_policy": ["official", "chunk-mean"]}
    suite["evaluations"] = [
        {"task": "retrieval", "dataset": "manifest", "split": "all", "options": policies},
        {"task": "grounding", "dataset": "manifest", "split": "all", "options": {"calibrate": ""}},
    ]
    suite["models"].append("nothing")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(suite))
    arguments = [str(tmp_path / "tiny.yaml"), "--data", f"manifest={EXAMPLE}", "--device", "cpu"]
    result = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "out"), "--quiet"])
    assert result.exit_code == 0, result.output
    with (tmp_path / "out" / "leaderboard.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["status"] == "ok"]
    scored = {row["model"] for row in rows}
    # Without text tower there is nothing to rank or to locate.
    assert set(WRITERS) - scored == {"tiny-dino"}
    policies = {(row["model"], row["text_policy"]) for row in rows}
    assert {("tiny-siglip", "official"), ("tiny-siglip", "chunk-mean")} <= policies
