"""The leaderboard as files: every number in the CSV, a page that runs and fetches nothing."""

import csv

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness.errors import BenchError
from harness.record import Score
from reports.drawing import Picture
from reports.leaderboard import leaderboard_frame, write_leaderboard

COLUMNS = (
    "model,family,task,dataset,phantom,cohort,split,text_policy,direction,relevance,group,exposure,"
    "metric,value,low,high,n,pool,status,reason"
)


def test_the_csv_has_the_columns_of_the_design_in_order(record, tmp_path):
    write_leaderboard([record()], tmp_path)
    assert (tmp_path / "leaderboard.csv").read_text().splitlines()[0] == COLUMNS


def test_there_is_one_row_per_number_and_one_per_cell_without_any(record):
    gone = record("beta", status="failed", reason="non-finite embedding", scores=[])
    frame = leaderboard_frame([record(), gone])
    assert len(frame) == 6 + 1
    assert frame[frame.model == "beta"].iloc[0][["status", "reason"]].tolist() == [
        "failed",
        "non-finite embedding",
    ]


def test_a_control_that_learned_from_nothing_has_no_exposure(record):
    """Nothing could have been seen by it; one fitted to the target, or around a model, has one."""

    def exposure(name: str, mark: str, **model) -> str:
        changed = record(name, exposure=mark)
        info = changed.model.model_copy(update=model)
        row = leaderboard_frame([changed.model_copy(update={"model": info})]).iloc[0]
        return row.exposure

    fitted = [{"dataset": "(the data asked about)", "split": "train", "modality": "boxes"}]
    assert exposure("nothing", "external", control=True, trained_on=[]) == ""
    assert exposure("nothing", "unknown", control=True, trained_on=None) == ""
    assert exposure("mean-box", "internal", control=True, trained_on=fitted) == "internal"
    shuffled = {"use": "shuffled"}
    assert exposure("mixed", "unknown", control=True, reference=shuffled) == "unknown"
    assert exposure("model", "external", control=False, trained_on=[]) == "external"


@pytest.mark.parametrize("status", ["skipped", "not_scored", "not_taught", "timeout"])
def test_every_status_reaches_the_csv(record, tmp_path, status):
    write_leaderboard([record(status=status, reason="why", scores=[])], tmp_path)
    frame = pd.read_csv(tmp_path / "leaderboard.csv")
    assert frame.status.tolist() == [status]
    assert frame.reason.tolist() == ["why"]


def test_a_metric_that_was_not_scored_has_its_own_row_with_the_reason(record):
    frame = leaderboard_frame([record(not_scored={"cnr": "a heat map is needed"})])
    row = frame[frame.metric == "cnr"].iloc[0]
    assert (row.status, row.reason) == ("not_scored", "a heat map is needed")
    assert np.isnan(row.value)


def test_a_metric_that_was_not_taught_says_so(record):
    frame = leaderboard_frame([record(not_scored={"miou": "not taught: no location loss"})])
    assert frame[frame.metric == "miou"].status.tolist() == ["not_taught"]


def test_numbers_come_back_from_the_csv_to_the_last_bit(record, tmp_path):
    value = 1 / 3 + 1e-16
    score = Score(metric="miou", value=value, low=0.1 + 0.2, high=2 / 3, n=7)
    write_leaderboard([record(scores=[score])], tmp_path)
    row = next(csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines()))
    assert [float(row[c]) for c in ("value", "low", "high")] == [value, 0.1 + 0.2, 2 / 3]
    assert row["n"] == "7"


def test_phantom_is_written_as_true_or_false(record, tmp_path):
    write_leaderboard([record(), record(data={"phantom": True})], tmp_path)
    rows = list(csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines()))
    assert {row["phantom"] for row in rows} == {"true", "false"}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_a_spreadsheet_sees_no_formula(record, tmp_path, start):
    name = f"{start}HYPERLINK(1)"
    write_leaderboard([record(name, status="failed", reason=name, scores=[])], tmp_path)
    row = next(csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines()))
    assert row["model"] == row["reason"] == f"'{name}"


def test_two_seeds_of_a_model_are_told_apart(record):
    frame = leaderboard_frame([record(seed=0), record(seed=1)])
    assert set(frame.model) == {"alpha (seed 0)", "alpha (seed 1)"}


def test_a_failed_attempt_does_not_shadow_a_finished_one(record):
    done = record(created="2026-01-01T00:00:00Z")
    later = done.model_copy(
        update={"status": "failed", "scores": [], "created": "2026-02-01T00:00:00Z"}
    )
    assert set(leaderboard_frame([done, later]).status) == {"ok"}


def test_an_empty_run_still_has_a_header(tmp_path):
    write_leaderboard([], tmp_path)
    assert (tmp_path / "leaderboard.csv").read_text() == COLUMNS + "\n"


def test_markup_in_a_name_or_reason_stays_text_in_the_page(record, tmp_path):
    bad = "<script>alert(1)</script>"
    gone = record("beta", status="failed", reason=bad, scores=[])
    picture = Picture(Image.new("RGB", (8, 8)), bad)
    write_leaderboard([record(bad), gone], tmp_path, samples=lambda _: [picture])
    page = (tmp_path / "leaderboard.html").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 4


def test_the_page_asks_for_nothing_from_a_network(record, tmp_path):
    write_leaderboard([record()], tmp_path)
    page = (tmp_path / "leaderboard.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page


def test_at_most_a_dozen_samples_stand_under_a_table(record, tmp_path):
    many = [Picture(Image.new("RGB", (8, 8)), f"sample {i}") for i in range(20)]
    write_leaderboard([record()], tmp_path, samples=lambda _: many)
    assert (tmp_path / "leaderboard.html").read_text().count("<figure>") == 12


def test_restricted_data_are_not_even_asked_for_pictures(record, tmp_path):
    def refuse(_):
        raise AssertionError("asked for pictures of restricted data")

    write_leaderboard([record(data={"restricted": True})], tmp_path, samples=refuse)


def test_a_private_record_shows_pictures_and_stamps_the_page(record, tmp_path):
    picture = Picture(Image.new("RGB", (8, 8)), "caption of it")
    private = record(data={"restricted": True}, private=True)
    write_leaderboard([private], tmp_path, samples=lambda _: [picture])
    page = (tmp_path / "leaderboard.html").read_text()
    assert "caption of it" in page
    assert "Do not publish" in page
    assert "Private" in (tmp_path / "leaderboard.md").read_text()


def test_a_folder_that_cannot_be_written_is_named(record, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match=r"file.*--out"):
        write_leaderboard([record()], tmp_path / "file")


def test_a_failed_write_leaves_the_old_file_and_no_rest(record, tmp_path, monkeypatch):
    write_leaderboard([record()], tmp_path)
    before = (tmp_path / "leaderboard.csv").read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BenchError, match="full"):
        write_leaderboard([record("beta")], tmp_path)
    assert (tmp_path / "leaderboard.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3
