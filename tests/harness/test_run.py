"""A run from the command line: what it writes, how it goes on, what it does not do twice."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.store import Store
from tests.harness.running import EXAMPLE, HERE, board, code, run, suite


@pytest.fixture(autouse=True)
def _test_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def test_controls_come_out_at_their_known_answers(tmp_path: Path) -> None:
    assert run("suites/own.yaml", "--out", str(tmp_path)).exit_code == 0
    rows = board(tmp_path)
    whole = rows[(rows.group == "all") & (rows.status == "ok")]
    retrieval = whole[whole.task == "retrieval"]
    recall = retrieval[retrieval.metric.str.startswith("recall@")]
    assert (recall[recall.model == "oracle"].value.astype(float) == 1).all()
    keys = ["direction", "relevance", "metric"]
    chance = recall[recall.model == "chance"].set_index(keys).value.astype(float)
    collapsed = recall[recall.model == "collapsed"].set_index(keys).value.astype(float)
    # ten pairs and twelve images: a constant model cannot pass chance anywhere
    assert (collapsed <= chance.loc[collapsed.index] + 1e-12).all()
    assert chance["image_to_text", "instance", "recall@1"] == pytest.approx(1 / 10)
    assert chance["text_to_image", "instance", "recall@5"] == pytest.approx(5 / 12)
    grounding = whole[(whole.task == "grounding") & (whole.metric == "miou")]
    miou = grounding.set_index("model").value.astype(float)
    assert miou["oracle"] == 1
    assert miou["nothing"] == 0


def test_a_failure_is_tried_again_and_a_success_is_not(tmp_path: Path) -> None:
    log = tmp_path / "log"
    path = suite(tmp_path, ", ".join([code("raises"), code("pixels", log=str(log))]))
    assert run(path, "--out", str(tmp_path / "out")).exit_code == 1
    asked = log.read_text()
    assert run(path, "--out", str(tmp_path / "out")).exit_code == 1
    assert log.read_text() == asked


def test_a_killed_run_goes_on_where_it_stopped_and_ends_at_the_same_numbers(tmp_path: Path) -> None:
    log = tmp_path / "log"
    whole = suite(tmp_path, code("boxer", log=str(log)))
    assert run(whole, "--out", str(tmp_path / "whole"), "--batch-size", "2").exit_code == 0
    phrases = sum(map(int, log.read_text().split()))
    log.unlink()
    script = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "import harness.tasks.grounding as g, suite_models as m; g.SHARD = 4\n"
        "if sys.argv.pop(1) == 'die': m.boxer = lambda device, **o: m.Boxer(**o, die_at=7)\n"
        "from harness.cli import main; main()"
    )
    out = tmp_path / "out"
    arguments = ["run", whole, "--data", f"manifest={EXAMPLE}", "--out", str(out), "--quiet"]
    for mode, batch in (("die", "2"), ("live", "3")):
        command = [sys.executable, "-c", script, mode, *arguments, "--batch-size", batch]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == (-9 if mode == "die" else 0), done.stderr
    # killed while asking for the eighth: four were stored, so all but those four are asked again
    assert sum(map(int, log.read_text().split())) == 8 + phrases - 4
    columns = ["task", "group", "metric", "value", "low", "high", "n"]
    assert board(out)[columns].equals(board(tmp_path / "whole")[columns])


def test_scores_are_recomputed_from_the_store_without_the_model(tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = suite(tmp_path, ", ".join([code("pixels"), code("boxer")]))
    assert run(path, "--out", str(out)).exit_code == 0
    before = board(out)
    sys.modules.pop("suite_models")
    data = ["--data", f"manifest={EXAMPLE}", "--quiet"]
    result = CliRunner().invoke(cli, ["score", str(out), *data])
    assert result.exit_code == 0, result.output
    assert "suite_models" not in sys.modules
    pd.testing.assert_frame_equal(
        board(out).sort_values(list(before.columns)).reset_index(drop=True),
        before.sort_values(list(before.columns)).reset_index(drop=True),
    )


def test_scoring_one_metric_keeps_the_others_and_why_some_have_no_number(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(suite(tmp_path, code("boxer")), "--out", str(out)).exit_code == 0
    before = board(out)
    assert (before["status"] == "not_scored").any()
    arguments = ["score", str(out), "--metric", "miou", "--data", f"manifest={EXAMPLE}", "--quiet"]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    order = list(before.columns)
    pd.testing.assert_frame_equal(
        board(out).sort_values(order).reset_index(drop=True),
        before.sort_values(order).reset_index(drop=True),
    )


def test_the_suite_says_which_metrics_its_leaderboard_shows(tmp_path: Path) -> None:
    path, out = suite(tmp_path, "oracle, collapsed"), tmp_path / "out"
    assert run(path, "--out", str(out)).exit_code == 0
    some = ["-o", "evaluations.0.metrics=[recall@5, mrr]"]
    assert run(path, "--out", str(out), *some).exit_code == 0
    shown = board(out).query("task == 'retrieval'")
    assert set(shown["metric"]) == {"recall@5", "mrr"}
    assert "miou" in set(board(out).query("task == 'grounding'")["metric"])


def test_a_slow_model_loses_no_more_than_some_seconds_of_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.tasks import grounding

    monkeypatch.setattr(grounding, "SECONDS", -1.0)  # every batch takes longer than that
    appended: list[int] = []
    monkeypatch.setattr(
        "harness.store.Cell.append", lambda *given, **_: appended.append(len(given[2]))
    )
    extra = ["--batch-size", "5", "--out", str(tmp_path / "out")]
    run(suite(tmp_path, code("boxer")), *extra)
    assert appended[-3:] == [5, 5, 2]


def test_a_finished_suite_imports_no_table_library(tmp_path: Path) -> None:
    path, out = suite(tmp_path, "oracle, centre-box, chance"), tmp_path / "out"
    assert run(path, "--out", str(out)).exit_code == 0
    script = (
        "import sys; from click.testing import CliRunner; from harness.cli import cli; "
        f"r = CliRunner().invoke(cli, ['run', {path!r}, '--data', 'manifest={EXAMPLE}', "
        f"'--out', {str(out)!r}, '--quiet']); assert r.exit_code == 0, r.output; "
        "print(sorted({'pandas', 'scipy', 'torch', 'pyarrow'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stdout + found.stderr


@pytest.mark.parametrize("change", ["film", "sex", "nothing"])
def test_a_film_or_a_fact_that_was_exchanged_is_asked_again_and_a_moved_folder_is_not(
    tmp_path: Path, change: str
) -> None:
    import shutil

    data, moved, log = tmp_path / "data", tmp_path / "moved", tmp_path / "log"
    shutil.copytree(EXAMPLE, data)
    path = suite(tmp_path, code("boxer", log=str(log)))
    rest = ["--quiet", "--out", str(tmp_path / "out")]
    runner = CliRunner()
    assert runner.invoke(cli, ["run", path, "--data", f"manifest={data}", *rest]).exit_code == 0
    before = len(log.read_text().splitlines())
    data.rename(moved)
    if change == "film":
        first, second = sorted((moved / "images").iterdir())[:2]
        first.write_bytes(second.read_bytes())
    if change == "sex":
        table = (moved / "manifest.csv").read_text()
        assert ",F," in table
        (moved / "manifest.csv").write_text(table.replace(",F,", ",M,", 1))
    assert runner.invoke(cli, ["run", path, "--data", f"manifest={moved}", *rest]).exit_code == 0
    again = len(log.read_text().splitlines()) > before
    assert again == (change != "nothing")


def test_a_dry_run_names_the_cells_and_loads_nothing(tmp_path: Path) -> None:
    path = suite(tmp_path, ", ".join(["oracle", code("raises")]))
    out = tmp_path / "out"
    result = CliRunner().invoke(
        cli, ["run", path, "--data", f"manifest={EXAMPLE}", "--out", str(out), "--dry-run"]
    )
    assert result.exit_code == 0, result.output
    assert "raises" in result.output
    assert not out.exists()


def test_a_shuffled_model_is_asked_about_other_patients(tmp_path: Path) -> None:
    shuffled = json.dumps(
        {
            "name": "mixed",
            "use": "shuffled",
            "options": {"model": {"name": "pixels", "use": "suite_models:pixels"}},
        }
    )
    out = tmp_path / "out"
    assert (
        run(suite(tmp_path, ", ".join([code("pixels"), shuffled])), "--out", str(out)).exit_code
        == 0
    )
    records = {r.model.name: r for r in Store(out).records() if r.task == "retrieval"}
    assert records["mixed"].model.control
    assert records["mixed"].key != records["pixels"].key
    ranks = {
        name: Store(out).cell("retrieval", "manifest", "all", name, record.key).read("ranks")
        for name, record in records.items()
    }
    assert not ranks["mixed"]["top_ids"].equals(ranks["pixels"]["top_ids"])


def test_several_seeds_give_a_shuffled_model_one_row_each(tmp_path: Path) -> None:
    shuffled = json.dumps(
        {
            "name": "mixed",
            "use": "shuffled",
            "options": {"model": {"name": "pixels", "use": "suite_models:pixels"}},
        }
    )
    path = Path(suite(tmp_path, f"oracle, {shuffled}"))
    path.write_text(path.read_text() + "seeds: [0, 1, 2]\n")
    assert run(str(path), "--out", str(tmp_path / "out")).exit_code == 0
    names = set(board(tmp_path / "out").model)
    assert names == {"oracle", "mixed-seed0", "mixed-seed1", "mixed-seed2"}


def test_the_plan_stands_beside_the_cells(tmp_path: Path) -> None:
    from reports.plan_file import read_plan

    out = tmp_path / "out"
    run(suite(tmp_path, "oracle, nothing"), "--out", str(out))
    planned = [(item.task, item.model) for item in read_plan(out)]
    assert planned == [("retrieval", "oracle"), ("grounding", "oracle"), ("grounding", "nothing")]
