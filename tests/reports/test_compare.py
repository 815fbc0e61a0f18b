import json

import numpy as np
import pytest
from click.testing import CliRunner

from harness.commands.compare import command
from harness.errors import BenchError
from reports.compare import Side, compare_all, gate, pair_up
from reports.compare_text import (
    comparison_frame,
    comparison_html,
    comparison_markdown,
    p_text,
    sentence,
)
from reports.runs import dataset_source, read_runs
from reports.sides import find_sides


@pytest.fixture(scope="session")
def compared(toy_runs, toy_data):
    """blunt and blunter against sharp."""

    def compare(names, other, metrics=()):
        ours, theirs = (find_sides(name, [toy_runs]).sides for name in (names, other))
        pairs = list(pair_up(ours, theirs, by_model=False))
        return compare_all(pairs, dataset_source({"manifest": toy_data}), metrics=metrics)

    return compare


@pytest.fixture(scope="session")
def blunt_sharp(compared):
    return compared("blunt,blunter", "sharp")


def bench(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def line_of(item, metric):
    return next(line for line in item.lines if line.question.metric == metric)


def test_the_difference_and_the_flips_are_those_counted_by_hand(blunt_sharp):
    # 48 films in 16 zones: blunt errs in zones 0, 3, 6, 9, 12 and cannot answer zone 15.
    line = blunt_sharp[0].lines[0]
    assert (line.question.metric, line.a, line.b) == ("miou", 30 / 48, 1.0)
    assert line.difference.value == pytest.approx(-18 / 48)
    assert (line.flips.only_a, line.flips.only_b) == (0, 18)
    assert line.difference.n == 48


def test_the_interval_of_a_paired_difference_is_narrower_than_two_apart(compared):
    (item, *_) = compared("blunt", "leaky", ["miou"])
    found = item.lines[0].difference
    # leaky errs in zones 0, 4, 8, 12: 12 films and blunt 18, 6 of them the same
    assert found.value == pytest.approx(-6 / 48)
    alone = 2 * 1.96 * np.sqrt((0.625 * 0.375 + 0.75 * 0.25) / 48)
    assert found.high - found.low < alone


def test_the_primary_metric_stands_first_and_alone_has_a_corrected_p(blunt_sharp):
    for item in blunt_sharp:
        assert item.lines[0].adjusted is not None
        assert all(line.adjusted is None for line in item.lines[1:])
    tasks = [item.a.record.task for item in blunt_sharp]
    first = [item.lines[0].question.metric for item in blunt_sharp]
    assert dict(zip(tasks, first, strict=True)) == {"grounding": "miou", "retrieval": "recall@10"}


def test_holm_counts_the_models_of_one_table_against_one_reference(blunt_sharp, compared):
    alone = compared("blunt", "sharp", ["miou"])[0].lines[0]
    assert alone.adjusted == alone.difference.p
    # both have p = 1 / 10,001: with two tests each is doubled
    assert blunt_sharp[0].lines[0].adjusted == pytest.approx(2 * alone.difference.p)


def test_p_is_never_printed_as_zero(blunt_sharp):
    assert p_text(blunt_sharp[0].lines[0]) == "< 0.001 (Holm)"


def test_the_answer_is_said_in_words(blunt_sharp, compared):
    assert sentence(blunt_sharp[0]) == "sharp beats blunt on mIoU."
    (item,) = compared("blunt", "leaky", ["miou"])
    assert sentence(item) == "blunt and leaky cannot be told apart on mIoU."


def test_for_a_rank_the_smaller_number_wins(compared):
    item = next(
        i for i in compared("blunter", "sharp", ["median_rank"]) if i.a.record.task == "retrieval"
    )
    line = next(line for line in item.lines if line.question.direction == "text_to_image")
    assert line.difference.value > 0
    assert line.verdict == "worse"
    assert line.worst == line.difference.high


def test_groups_are_compared_too_and_small_ones_have_no_interval(blunt_sharp):
    groups = {line.group: line for line in blunt_sharp[0].groups}
    assert groups["view=PA"].difference.n == 24
    assert groups["sex=M"].difference.low is None  # 16 patients
    assert groups["sex=M"].verdict == "no interval"


def test_retrieval_can_be_compared_without_the_data(toy_runs):
    sides = [find_sides(name, [toy_runs]).sides for name in ("blunt", "sharp")]
    pairs = [p for p in pair_up(*sides, by_model=False) if p[0].record.task == "retrieval"]
    (item,) = compare_all(pairs, dataset_source({}))
    assert item.lines[0].difference.value == pytest.approx(-18 / 48)
    assert item.groups == ()
    assert "no sub-groups" in item.notes[0]


def test_other_data_are_refused(toy_runs):
    runs = read_runs([toy_runs])
    record = next(r for r in runs.records if r.model.name == "sharp")
    other = record.dataset.model_copy(update={"fingerprint": "0" * 64})
    changed = Side(record.model_copy(update={"dataset": other, "key": "0" * 64}), runs)
    with pytest.raises(BenchError, match=r"asked on data .* on 000000000000"):
        list(pair_up([Side(record, runs)], [changed], by_model=False))


def test_a_folder_with_tables_of_two_limits_is_compared_like_with_like(toy_runs):
    runs = read_runs([toy_runs])
    sharp, blunt = (
        next(r for r in runs.records if r.model.name == name and r.task == "retrieval")
        for name in ("sharp", "blunt")
    )
    data = sharp.dataset.model_copy(update={"fingerprint": "0" * 64})
    first, second = Side(sharp, runs), Side(blunt, runs)
    limited = Side(blunt.model_copy(update={"dataset": data, "key": "0" * 64}), runs)
    assert list(pair_up([first], [limited, second], by_model=False)) == [(first, second)]


def test_a_family_of_many_models_gets_the_draws_that_holm_asks_for(toy_runs, monkeypatch):
    monkeypatch.setattr("reports.compare.PERMUTATIONS", 20)
    asked = []

    def count(*given):
        asked.append(given[-1])
        raise BenchError("enough")

    monkeypatch.setattr("reports.compare._compare", count)
    runs = read_runs([toy_runs])
    sides = [Side(r, runs) for r in runs.records if r.task == "retrieval" and r.scores]
    named = {side.record.model.name: side for side in sides}
    pairs = [(named[name], named["sharp"]) for name in ("blunt", "blunter", "leaky")]
    with pytest.raises(BenchError, match="enough"):
        compare_all(pairs, dataset_source({}))
    assert asked == [3 * 100]


def test_an_analytic_control_has_no_samples_to_compare(toy_runs):
    with pytest.raises(BenchError, match="without outcomes of single samples"):
        find_sides("chance", [toy_runs])


def test_a_metric_nobody_has_is_an_error_that_lists_what_there_is(compared):
    with pytest.raises(BenchError, match=r"no score of both for miuo. Both have: .*miou"):
        compared("blunt", "sharp", ["miuo"])


def test_tables_without_the_metric_asked_for_are_left_out(compared):
    (item,) = compared("blunt", "sharp", ["acc@0.3"])
    assert [line.question.metric for line in item.lines] == ["acc@0.3"]


def test_an_unknown_model_has_a_near_name(toy_runs):
    with pytest.raises(BenchError, match="Did you mean 'sharp'"):
        find_sides("shrap", [toy_runs])


def test_a_failed_model_says_why_it_cannot_be_compared(toy_runs):
    with pytest.raises(BenchError, match=r"wreck: no cell in .* broken"):
        find_sides("wreck", [toy_runs])


def test_a_side_may_be_a_cell_a_record_or_a_model_of_a_folder(toy_runs):
    cell = next(toy_runs.glob("cells/grounding-*-sharp-*"))
    for name in (str(cell), str(cell / "record.json")):
        assert [s.record.model.name for s in find_sides(name, []).sides] == ["sharp"]
    assert len(find_sides(f"{toy_runs}:sharp", []).sides) == 2
    assert find_sides(str(toy_runs), []).whole_folder


def test_the_gate_goes_by_the_end_of_the_interval(compared):
    (item,) = compared("blunt", "leaky", ["miou"])
    line = item.lines[0]
    assert gate([item], -line.difference.low + 1e-9) == []
    reasons = gate([item], -line.difference.low - 1e-9)
    assert len(reasons) == 1
    assert "may be" in reasons[0]


def test_a_folder_against_itself_copied_shows_no_drop(toy_runs, own_runs, toy_data):
    done = bench(own_runs, toy_runs, "--data", f"manifest={toy_data}", "--max-drop", "0.01")
    assert done.exit_code == 0, done.stderr
    assert "no drop of more than 0.01" in done.output
    assert "sharp (runs)" in done.output


def test_a_worse_model_fails_the_gate_with_exit_code_one(toy_runs, toy_data):
    cells = [next(toy_runs.glob(f"cells/grounding-*-{name}-*")) for name in ("blunt", "sharp")]
    arguments = ["--data", f"manifest={toy_data}", "--max-drop", "0.01", "--quiet"]
    done = bench(*cells, *arguments)
    assert done.exit_code == 1
    assert "drop: blunt on grounding manifest: miou may be 0.5" in done.stderr


def test_a_comparison_is_written_as_page_markdown_and_csv(toy_runs, toy_data, tmp_path):
    cells = [next(toy_runs.glob(f"cells/grounding-*-{name}-*")) for name in ("blunt", "sharp")]
    done = bench(*cells, "--data", f"manifest={toy_data}", "--out", tmp_path, "--quiet")
    assert done.exit_code == 0
    assert {p.name for p in tmp_path.iterdir()} == {"compare.html", "compare.md", "compare.csv"}


def test_the_comparison_page_has_no_script_and_the_csv_every_digit(blunt_sharp):
    page = comparison_html(blunt_sharp)
    assert "<script" not in page
    assert "https://" not in page
    frame = comparison_frame(blunt_sharp)
    first = frame.iloc[0]
    assert first.difference == blunt_sharp[0].lines[0].difference.value
    assert first.p_holm == blunt_sharp[0].lines[0].adjusted
    assert "**sharp beats blunt on mIoU.**" in comparison_markdown(blunt_sharp)


def test_the_same_comparison_gives_the_same_numbers(blunt_sharp, compared):
    again = comparison_frame(compared("blunt,blunter", "sharp")).to_json()
    assert json.loads(again) == json.loads(comparison_frame(blunt_sharp).to_json())
