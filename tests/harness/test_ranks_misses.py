"""A model that fails on one film misses it, whether one process asks it or several do."""

import json
from pathlib import Path

import pandas as pd
import pytest
from many_processes import EXAMPLE, bench

from harness.store import Store

COLUMNS = ["model", "group", "direction", "metric", "value", "n", "status"]


def suite(folder: Path, *failing: tuple[str, str]) -> str:
    models = [
        {
            "name": f"choosy{number}",
            "use": "choosy_models:load",
            "options": {"unprepared": unprepared, "unseen": unseen},
        }
        for number, (unprepared, unseen) in enumerate(failing)
    ]
    asked = {"task": "retrieval", "dataset": "manifest", "split": "all", "options": {"draws": 2}}
    path = folder / "misses.yaml"
    path.write_text(json.dumps({"suite": "m", "models": models, "evaluations": [asked]}))
    return str(path)


@pytest.mark.slow
def test_several_processes_miss_the_films_that_one_misses(tmp_path: Path) -> None:
    # One film fails in each process's share; the second model can look at none.
    path = suite(tmp_path, ("nih_00003789", "00010610"), ("nothing", ""))
    found = {}
    for processes, batch in ((1, "32"), (2, "1")):
        out = tmp_path / f"{processes}-{batch}"
        arguments = ["run", path, "--data", f"manifest={EXAMPLE}", "--out", str(out)]
        arguments += ["--batch-size", batch]
        ended = bench(arguments, processes=processes, BENCH_CACHE=str(out / "cache"))
        assert ended[0] == 1, "the model that sees nothing has failed"
        records = {record.model.name: record for record in Store(out).records()}
        assert records["choosy0"].counts["failed"] == 2
        assert records["choosy1"].status == "failed"
        assert "RuntimeError" in records["choosy1"].reason
        board = pd.read_csv(out / "leaderboard.csv", keep_default_na=False)
        found[out.name] = board[board.model == "choosy0"][COLUMNS].reset_index(drop=True)
    one, two = found.values()
    asked = (one.direction == "text_to_image") & (one.metric == "recall@10") & (one.group == "all")
    # Of ten texts two belong to films that were missed, each the last of twelve.
    assert one[asked].value.astype(float).tolist() == [0.8]
    pd.testing.assert_frame_equal(two, one)
