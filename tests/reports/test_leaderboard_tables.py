"""Tables of a leaderboard: which rows share one, in what order, and what stands beside them."""

import pytest

from harness.record import Score
from reports.definitions import PHANTOM_SENTENCE, definition, metric_order
from reports.leaderboard import leaderboard_frame, write_leaderboard
from reports.markdown import markdown
from reports.tables import sections


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
