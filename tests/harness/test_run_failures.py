"""A run in which something fails: a row that says so, and the others go on; what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.errors import BenchError
from harness.models import Grounding
from harness.store import Store
from tests.harness.running import EXAMPLE, HERE, board, code, run, suite


@pytest.fixture(autouse=True)
def _test_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def test_a_failing_model_leaves_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    models = ", ".join(
        ["oracle", code("raises"), code("out_of_memory"), code("pixels", nan_after=3)]
    )
    result = run(suite(tmp_path, models), "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    rows = board(tmp_path / "out")
    status = rows[rows.task == "retrieval"].groupby("model").status.first()
    assert status["oracle"] == "ok"
    assert status["raises"] == "failed"
    assert status["out_of_memory"] == "out_of_memory"
    assert status["pixels"] == "failed"
    reasons = rows[rows.task == "retrieval"].groupby("model").reason.first()
    assert "no such chip" in reasons["raises"]
    assert "non-finite" in reasons["pixels"]
    grounding = rows[(rows.task == "grounding") & (rows.model == "pixels")].iloc[0]
    assert grounding.status == "not_scored"
    assert "ground" in grounding.reason


@pytest.mark.parametrize("box", [[10, 20, 300, 400], [0.6, 0.2, 0.2, 0.6]])
def test_boxes_in_pixels_or_widths_fail_the_cell_and_are_never_scored_as_misses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, box: list[float]
) -> None:
    import suite_models

    out = tmp_path / "out"
    answer = Grounding(np.array([box], np.float32))
    monkeypatch.setattr(suite_models.Boxer, "_one", lambda *_: answer)
    assert run(suite(tmp_path, code("boxer")), "--out", str(out)).exit_code == 1
    row = board(out).set_index("task").loc["grounding"]
    assert row["status"] == "failed"
    assert "fractions of the original image" in row["reason"]


def test_a_broken_image_leaves_the_pool_for_all_and_is_counted(tmp_path: Path) -> None:
    import shutil

    data = tmp_path / "data"
    shutil.copytree(EXAMPLE, data)
    broken = data / "images" / "nih_00003789_000.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    arguments = [
        "run",
        "own",
        "--data",
        f"manifest={data}",
        "--quiet",
        "--out",
        str(tmp_path / "o"),
    ]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    for record in Store(tmp_path / "o").records():
        if record.status == "ok":
            assert sum(record.dataset.excluded.values()) == 1
            (reason,) = record.dataset.excluded
            assert reason == "image unreadable: the file is truncated or damaged"


@pytest.mark.parametrize(
    ("gone", "task"), [("phrases.jsonl", "grounding"), ("retrieval_pairs.csv", "retrieval")]
)
def test_a_folder_with_nothing_for_one_task_is_skipped_there_and_fails_nothing(
    tmp_path: Path, gone: str, task: str
) -> None:
    import shutil

    data = tmp_path / "data"
    shutil.copytree(EXAMPLE, data)
    (data / gone).unlink()
    table = pd.read_csv(data / "manifest.csv", dtype=str)
    if task == "retrieval":
        table.drop(columns="text_findings").to_csv(data / "manifest.csv", index=False)
    arguments = ["run", suite(tmp_path, "oracle"), "--data", f"manifest={data}", "--quiet"]
    result = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "o")])
    assert result.exit_code == 0, result.output
    status = board(tmp_path / "o").groupby("task")["status"].unique()
    assert list(status[task]) == ["skipped"]
    assert "ok" in status.drop(task).iloc[0]


@pytest.mark.parametrize(
    ("models", "override", "message"),
    [
        ("oracel", "", "Did you mean 'oracle'"),
        ("oracle", "evaluations.0.metrics=[recal@1]", "Did you mean 'recall@1'"),
        ("oracle", "evaluations.0.options.drawz=5", "Did you mean 'draws'"),
        ("oracle", "evaluations.0.task=retreival", "Did you mean 'retrieval'"),
        ("oracle", "evaluations.0.options.text_policy=chunked", "unknown text policy"),
        ("oracle", "evaluations.0.options.relevance=same_studi", "Did you mean 'same_study'"),
        ("oracle", "evaluations.0.options.relevance=[instance, x]", "unknown relevance"),
        ("oracle", "evaluations.0.options.draws=many", "Expected a whole number"),
        ("oracle", "evaluations.0.dataset=manifset", "Did you mean 'manifest'"),
        ("oracle", "evaluations.0.cohort=frontal", "unknown cohort of manifest"),
        ("oracle", "evaluations.0={task: grounding, dataset: ms-cxr, split: tset}", "'test'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(
    tmp_path: Path, models: str, override: str, message: str
) -> None:
    extra = ["-o", override] if override else []
    result = run(suite(tmp_path, models), "--out", str(tmp_path / "out"), *extra)
    assert isinstance(result.exception, BenchError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    result = run(suite(tmp_path, "oracle"), "--out", str(tmp_path / "file" / "out"))
    assert isinstance(result.exception, BenchError)
    assert "file" in str(result.exception)


def test_one_damaged_dataset_is_a_failure_row_and_a_lone_one_is_the_users_mistake(
    tmp_path: Path,
) -> None:
    path = Path(suite(tmp_path, "oracle"))
    text = path.read_text()
    path.write_text(
        text.replace(
            "task: grounding, dataset: manifest, split: all",
            "task: grounding, dataset: manifest, split: nowhere",
        )
    )
    assert run(str(path), "--out", str(tmp_path / "out")).exit_code == 1
    rows = board(tmp_path / "out").set_index("task")
    assert "ok" in set(rows.loc[["retrieval"], "status"])
    assert set(rows.loc[["grounding"], "status"]) == {"failed"}
    assert "Splits found: test" in rows.loc[["grounding"], "reason"].iloc[0]
    path.write_text(text.replace("split: all", "split: nowhere"))
    result = run(str(path), "--out", str(tmp_path / "lone"))
    assert isinstance(result.exception, BenchError)


def test_one_film_a_model_fails_on_is_a_miss_and_not_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(suite(tmp_path, code("choosy")), "--out", str(out))
    assert result.exit_code == 0, result.output
    record = next(r for r in Store(out).records() if r.task == "grounding")
    assert record.counts["malformed"] == 1
    assert record.counts["phrases"] == 12


def test_what_a_model_was_not_taught_is_no_failure(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(suite(tmp_path, code("untaught")), "--out", str(out)).exit_code == 0
    rows = board(out)
    assert set(rows[rows.task == "grounding"].status) == {"not_taught"}
