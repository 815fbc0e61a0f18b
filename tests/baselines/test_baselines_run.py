"""Families through `bench run`: what a reader finds in the leaderboard and in the record."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

EXAMPLE = Path(__file__).parents[1] / "data" / "example"
WORKER = Path(__file__).parents[2] / "baselines" / "worker.py"


def run(folder: Path, models: list, *arguments: str, task: str = "grounding"):
    """The result of a run over the example folder, and its leaderboard."""
    from harness.commands.run import command

    suite = {
        "suite": "some",
        "models": models,
        "evaluations": [
            {"task": task, "dataset": "manifest", "options": {"draws": 20, "calibrate": ""}}
        ],
    }
    suite["evaluations"][0]["split"] = "all"
    (folder / "some.yaml").write_text(yaml.safe_dump(suite))
    given = ["--data", f"manifest={EXAMPLE}", "--device", "cpu", "--quiet", *arguments]
    out = folder / "out"
    result = CliRunner().invoke(command, [str(folder / "some.yaml"), "--out", str(out), *given])
    with (out / "leaderboard.csv").open() as lines:
        return result, list(csv.DictReader(lines))


def records(folder: Path) -> list[dict]:
    return [json.loads(p.read_text()) for p in (folder / "out").glob("cells/*/record.json")]


def statuses(rows: list[dict]) -> dict[str, str]:
    """Of each model; a metric that it cannot have is no row of its own here."""
    return {row["model"]: row["status"] for row in rows if row["status"] != "not_scored"}


def external_card(folder: Path, **external) -> str:
    content = {
        "title": "Mine",
        "family": "external",
        "source": {"url": "https://example.org/mine"},
        "licence": "MIT",
        "trained_on": [],
        "verified": "never",
        "external": {"serves": ["ground"], "setup": "Make it.", **external},
    }
    folder.mkdir()
    (folder / "card.yaml").write_text(json.dumps(content))
    return str(folder)


def test_tokens_and_their_speed_stand_in_the_record_and_the_leaderboard(tiny, tmp_path):
    models = [{"name": "tiny-gemma", "use": tiny("tiny-gemma")}, "centre-box"]
    result, _ = run(tmp_path, models, "--limit", "3", "--store-text")
    assert result.exit_code == 0, result.output
    counts = {record["model"]["name"]: record["counts"] for record in records(tmp_path)}
    assert "tokens" not in counts["centre-box"]
    generated = counts["tiny-gemma"]
    assert generated["tokens"] >= generated["phrases"] > 0
    assert generated["tokens_per_second"] > 0
    written = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "tokens_per_second" in written
    assert f"{generated['tokens']:,.0f}" in written
    assert "tokens_per_second" in (tmp_path / "out" / "leaderboard.html").read_text()


@pytest.mark.slow
def test_a_worker_that_hangs_is_a_timeout_in_the_leaderboard_and_the_others_have_rows(
    tmp_path, monkeypatch
):
    """It answers its first batch and never its second: what it answered is kept."""
    text = WORKER.read_text()
    hangs = text.replace(
        "    for line in sys.stdin:\n", "    for n, line in enumerate(sys.stdin):\n"
    )
    hangs = hangs.replace(
        "        requests = [", "        while n:\n            pass\n        requests = ["
    )
    assert hangs.count("while n") == 1
    (tmp_path / "hangs.py").write_text(hangs)
    monkeypatch.setenv("BENCH_WORKER_HANGS", f"{sys.executable} {tmp_path / 'hangs.py'}")
    card = external_card(tmp_path / "hangs", seconds=10.0)
    models = [{"name": "hangs", "use": card}, "centre-box"]
    result, rows = run(tmp_path, models, "--batch-size", "8")
    assert result.exit_code == 1
    assert statuses(rows) == {"hangs": "timeout", "centre-box": "ok"}
    [reason] = {row["reason"] for row in rows if row["model"] == "hangs"}
    assert "its worker gave no answer within 10 s" in reason
    assert "timeout: hangs on grounding manifest all" in result.output
    # The next run asks only what was not answered, of a worker that is well again.
    monkeypatch.setenv("BENCH_WORKER_HANGS", f"{sys.executable} {tmp_path / 'hangs.py'}")
    (tmp_path / "hangs.py").write_text(hangs.replace("while n", "while False"))
    result, rows = run(tmp_path, models, "--batch-size", "8")
    assert statuses(rows) == {"hangs": "ok", "centre-box": "ok"}


@pytest.mark.slow
def test_maps_of_an_external_model_are_scored_and_what_it_did_not_see_is_a_miss(tmp_path):
    """A map that is brightest in the middle of a true box, and one that saw a corner only."""
    lines = [json.loads(row) for row in (EXAMPLE / "phrases.jsonl").read_text().splitlines() if row]
    for name, blind in (("sees", False), ("blind", True)):
        card = Path(external_card(tmp_path / name, coordinates=""))
        maps, answers = {}, {}
        for number, line in enumerate(lines):
            key = (line["image_id"], line["phrase"])
            grid = np.full((64, 64), 0.0, np.float32)
            for x1, y1, x2, y2 in line["boxes"][:1]:
                grid[int((y1 + y2) * 32), int((x1 + x2) * 32)] = 1.0
            if blind:
                grid[:] = np.nan
                grid[0, 0] = 1.0
            maps[str(number)] = grid
            answers[key] = {"image_id": key[0], "phrase": key[1], "map": str(number)}
        (card / "predictions.jsonl").write_text(
            "".join(json.dumps(answer) + "\n" for answer in answers.values())
        )
        np.savez(card / "maps.npz", **maps)
    models = [{"name": name, "use": str(tmp_path / name)} for name in ("sees", "blind")]
    result, rows = run(tmp_path, models)
    assert result.exit_code == 0, result.output
    values = {
        (row["model"], row["metric"]): float(row["value"])
        for row in rows
        if row["status"] == "ok" and row["group"] == "kind=anatomy"
    }
    assert values["sees", "pointing"] == 1.0
    assert values["blind", "pointing"] == 0.0


def test_a_run_that_could_ask_nothing_ends_by_saying_what_to_set(tmp_path, monkeypatch):
    from harness.commands.run import command

    monkeypatch.delenv("MANIFEST", raising=False)
    result = CliRunner().invoke(command, ["own", "--out", str(tmp_path / "out"), "--quiet"])
    assert result.exit_code == 0
    last = result.output.strip().splitlines()[-2:]
    assert last[0] == "nothing was asked:"
    assert "--data manifest=/path/to/manifest" in last[1]
