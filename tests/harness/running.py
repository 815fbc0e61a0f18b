"""A small suite on the example data, and `bench run` as the tests of a run call it."""

import json
from pathlib import Path

import pandas as pd
from click.testing import CliRunner, Result

from harness.cli import cli

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "data" / "example"

SUITE = """
suite: tests
models: [{models}]
evaluations:
  - {{task: retrieval, dataset: manifest, split: all, options: {{draws: 50}}}}
  - {{task: grounding, dataset: manifest, split: all, options: {{draws: 50}}}}
"""


def suite(folder: Path, models: str) -> str:
    path = folder / "tests.yaml"
    path.write_text(SUITE.format(models=models), encoding="utf-8")
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["run", *arguments, "--data", f"manifest={EXAMPLE}", "--quiet"])


def board(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "leaderboard.csv", keep_default_na=False)


def code(name: str, **options: object) -> str:
    return json.dumps({"name": name, "use": f"suite_models:{name}", "options": options})
