import csv

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from harness.errors import BenchError
from harness.record import Score
from reports.definitions import PHANTOM_SENTENCE, definition, metric_order
from reports.drawing import Picture
from reports.leaderboard import leaderboard_frame, write_leaderboard
from reports.markdown import markdown
from reports.tables import sections

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


def test_phantom_and_real_rows_never_share_a_table(record):
    found = sections([record(), record("beta", data={"phantom": True})])
    assert [s.key.phantom for s in found] == [False, True]
    assert [len(s.panels[0].rows) for s in found] == [1, 1]


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"cohort": "lofi"}},
        {"data": {"split": "validation"}},
        {"data": {"name": "open-i"}},
        {"data": {"fingerprint": "0" * 64}},
        {"text_policy": "chunk-mean"},
        {"task": "grounding"},
    ],
)
def test_rows_share_a_table_only_if_all_that_was_asked_is_the_same(record, change):
    assert len(sections([record(), record("beta", **change)])) == 2


def test_tables_on_different_data_of_one_name_say_which_data(record):
    found = sections([record(), record("beta", data={"fingerprint": "0" * 64})])
    assert {s.title[-8:] for s in found} == {"ffffffff", "00000000"}


def test_a_skipped_model_stands_with_the_table_it_was_meant_for(record):
    gone = record("beta", status="skipped", scores=[], data={"fingerprint": ""})
    (section,) = sections([record(), gone])
    assert [name for name, _ in section.absent] == ["beta"]


def test_controls_and_ceilings_stand_below_models_however_good(record, recalls):
    rows = [
        record("chance", card={"control": True}, scores=recalls(0.9)),
        record("oracle", card={"control": True}, scores=recalls(1.0)),
        record("weak", scores=recalls(0.1)),
        record("strong", scores=recalls(0.2)),
        record("strong-shuffled", card={"reference": {"use": "shuffled"}}, scores=recalls(0.3)),
    ]
    (section,) = sections(rows)
    assert [r.model for r in section.panels[0].rows] == [
        "strong",
        "weak",
        "chance",
        "strong-shuffled",
        "oracle",
    ]


def test_groups_and_relevances_have_panels_of_their_own(record, mious):
    scores = [*mious(0.3), *mious(0.9, group="kind=anatomy")]
    (section,) = sections([record(task="grounding", scores=scores)])
    assert [p.group for p in section.panels] == ["all", "kind=anatomy"]


def test_the_phantom_sentence_stands_over_every_phantom_table(record, tmp_path):
    write_leaderboard([record(data={"phantom": True}), record("beta")], tmp_path)
    text = (tmp_path / "leaderboard.md").read_text()
    assert text.count(PHANTOM_SENTENCE) == 1
    assert text.index("PHANTOM") < text.index(PHANTOM_SENTENCE)
    assert PHANTOM_SENTENCE in (tmp_path / "leaderboard.html").read_text()


def test_an_interval_is_printed_beside_its_value(record, recalls):
    assert "0.412 [0.382, 0.442]" in markdown(sections([record(scores=recalls(0.412))]))


def test_markdown_counts_what_was_asked_and_left_out(record):
    text = markdown(sections([record(counts={"malformed": 14, "tied": 0.021})]))
    assert (
        "n = 200 samples of 150 patients · ranked 200 texts and 200 images · 10 of 210 excluded"
        in text
    )
    assert "| malformed | tied |" in text
    assert "| 14 | 2.1 % |" in text


def test_a_name_cannot_break_out_of_a_markdown_table(record):
    text = markdown(sections([record("a|b\n<script>")]))
    assert "a\\|b &lt;script&gt;" in text


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


def test_ranks_stand_in_the_headline_table_only_where_given(record):
    first = record()
    text = markdown(sections([first]), ranks={first.key: "1–3"})
    assert "| rank | model |" in text
    assert "| 1–3 | alpha |" in text


def test_columns_stand_in_a_fixed_order_with_numbers_as_numbers():
    names = ["rodeo/shape", "recall@10", "recall@5", "miou/macro", "miou", "zz"]
    assert sorted(names, key=metric_order) == [
        "recall@5",
        "recall@10",
        "miou",
        "miou/macro",
        "rodeo/shape",
        "zz",
    ]


def test_a_median_rank_is_better_when_lower(record):
    def rank(name, value):
        return record(name, scores=[Score(metric="median_rank", value=value, n=3)])

    (section,) = sections([rank("slow", 90.0), rank("fast", 3.0)])
    assert [r.model for r in section.panels[0].rows] == ["fast", "slow"]
    assert not definition("median_rank").higher_is_better


def test_groups_that_divide_the_samples_become_columns_of_one_table(record, mious):
    scores = [*mious(0.3), *mious(0.2, "view=AP"), *mious(0.4, "view=PA")]
    (section,) = sections([record(task="grounding", scores=scores)])
    assert [p.group for p in section.panels] == ["all"]
    (by_view,) = section.subgroups
    assert (by_view.attribute, by_view.values) == ("view", ("AP", "PA"))
    assert [score.value for score in by_view.rows[0][1].values()] == [0.2, 0.4]
    assert "| alpha | 0.200 | 0.400 |" in markdown([section])


def test_controls_stand_in_the_table_of_every_text_policy(record):
    rows = [
        record(),
        record(text_policy="chunk-mean"),
        record("chance", card={"control": True}),
        record("alpha-shuffled", card={"control": True, "reference": {"use": "shuffled"}}),
    ]
    found = {s.key.text_policy: [r.model for r in s.panels[0].rows] for s in sections(rows)}
    assert found["chunk-mean"] == ["alpha", "chance"]
    assert len(leaderboard_frame(rows)) == 4 * 6  # the CSV holds every number once
    # A shuffled model embeds texts, so it has a row of its own there, beside the shared control.
    shuffled = {"control": True, "reference": {"use": "shuffled"}}
    rows.append(record("alpha-shuffled", text_policy="chunk-mean", card=shuffled))
    found = {s.key.text_policy: [r.model for r in s.panels[0].rows] for s in sections(rows)}
    assert sorted(found["chunk-mean"]) == ["alpha", "alpha-shuffled", "chance"]
