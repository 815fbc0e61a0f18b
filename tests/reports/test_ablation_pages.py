"""What arms took and what is printed of them: flat curves, costs, tables, figures."""

import math
from dataclasses import replace

import pytest

from reports.ablation import frame, print_ablation
from reports.ablation_figures import forest, mean_curve
from reports.ablation_latex import latex
from reports.ablation_text import markdown, overview_cell, signed
from reports.ablation_training import costs, flatness
from reports.csv_text import csv_text
from tests.reports.arms import arm, found, interval, recalls

CURVES = [  # chance is 10 of 100: from there 0.1 -> 0.5 is a rise of 0.4, of which 0.04 is a tenth
    (recalls((10, 0.3), (40, 0.46), (80, 0.5)), True),
    (recalls((10, 0.3), (40, 0.45), (80, 0.5)), False),
    (recalls((40, 0.55), (80, 0.5)), True),  # falling is not rising
    (recalls((40, 0.12), (80, 0.12)), False),  # nothing learned is flat, too, and not trained
    (recalls((80, 0.5)), False),
    ([], False),
    ([{"step": 40, "loss/captioning": 1.0}, {"step": 80, "loss/captioning": 1.0}], False),
]


@pytest.mark.parametrize(("curve", "flat"), CURVES)
def test_a_curve_is_flat_if_it_rose_and_the_second_half_added_a_tenth_at_most(curve, flat):
    assert flatness(arm(validation=curve)).flat is flat


def test_every_score_must_be_flat_and_the_reason_names_the_one_that_is_not():
    flat = recalls((40, 0.5), (80, 0.5))
    rows = [{**flat[0], "grounding/miou": 0.2}, {**flat[1], "grounding/miou": 0.3}]
    found = flatness(arm(validation=rows))
    assert not found.flat
    assert found.reason == "grounding/miou gained 0.100 of 0.300 in the second half"


def test_an_arm_that_learned_little_is_said_to_be_near_chance_and_not_to_have_learned_nothing():
    reason = flatness(arm(validation=recalls((40, 0.135), (80, 0.135)))).reason
    assert reason.endswith("recall@10 ended +0.035 from chance: less than 0.05 above chance")


def timed(name="full", seconds=(), processor=(), **more):
    """An arm with these seconds in 80 steps of each seed."""
    each = enumerate(zip(seconds, processor, strict=True))
    return [arm(name, at, step_seconds=s, step_processor=p, **more) for at, (s, p) in each]


def test_the_cost_of_a_loss_is_the_time_and_memory_that_the_full_arm_takes_more():
    records = timed("full", (80.0, 120.0), (56.0, 64.0))
    records += timed("without-location", (48.0, 52.0), (36.0, 44.0), peak_memory=15 * 10**8)
    full, without = costs(records)
    assert (full.step_seconds.mean, without.step_seconds.mean) == (1.25, 0.625)
    assert (full.step_processor.low, full.step_processor.high) == (0.7, 0.8)
    # On a CPU the processor's seconds decide, 0.75 against 0.5 a step; on a GPU the clock's.
    assert without.more_time == pytest.approx(0.5)
    assert without.more_memory == 5 * 10**8
    on_gpu = [
        r.model_copy(update={"training": r.training.model_copy(update={"memory": "cuda"})})
        for r in records
    ]
    assert costs(on_gpu)[1].more_time == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("processor", "told"),
    [
        ((36.0, 44.0), "+50 %"),
        ((36.0, 55.9), "+31 %"),
        ((36.0, 56.0), "–"),  # as slow once as the full arm was once
        ((40.0,), "–"),  # one seed has no range
        ((80.0, 80.0), "−25 %"),
    ],
)
def test_a_percentage_is_told_only_where_the_ranges_over_seeds_do_not_overlap(processor, told):
    # The full arm takes 0.7 and 0.8 processor seconds a step.
    records = timed("full", (80.0, 80.0), (56.0, 64.0))
    records += timed("without-location", (80.0,) * len(processor), processor)
    shown = found(records=records, costs=tuple(costs(records)))
    rows = [r for r in markdown(shown, pictures={}).splitlines() if r.startswith("| `")]
    (full,) = [row for row in rows if " GB |" in row and "`full`" in row]
    (without,) = [row for row in rows if " GB |" in row and "`without-location`" in row]
    assert full.split(" | ")[2:4] == ["0.750 [0.700, 0.800]", "–"]
    assert without.split(" | ")[3] == told
    assert f"& {told.replace('%', chr(92) + '%')}".replace("−", "$-$").replace("–", "--") in latex(
        shown
    )


def test_a_peak_of_the_last_session_alone_is_not_taken_for_that_of_the_training():
    stopped = arm("without-location", peak_memory=10**9, sessions=2)
    records = [arm(), stopped]
    assert math.isnan(costs(records)[1].peak_memory)
    assert math.isnan(costs(records)[1].more_memory)
    text = markdown(found(records=records, costs=tuple(costs(records))), pictures={})
    row = next(line for line in text.splitlines() if "| 1.000 |" in line)
    assert "2.00 GB" in row
    whole = arm("without-location", seed=1, peak_memory=10**9, sessions=2,
                memory="resident, all sessions")  # fmt: skip
    assert costs([*records, whole])[1].peak_memory == 10**9
    assert costs([*records, whole])[1].memory == "resident"


def test_a_curve_is_the_mean_over_the_seeds_that_have_it():
    rows = [[{"step": 1, "a": 1.0}, {"step": 2, "a": 3.0}], [{"step": 2, "a": 5.0}], [{"step": 2}]]
    steps, values = mean_curve(rows, "a")
    assert (steps.tolist(), values.tolist()) == ([2], [4.0])


def test_what_was_never_taught_is_printed_so_and_never_as_a_difference():
    text = markdown(found(), pictures={})
    overview = next(line for line in text.splitlines() if line.startswith("| `without-location`"))
    assert overview.split(" | ")[1] == "not taught"
    assert "+0.100 [+0.050, +0.150]" in overview
    rows = csv_text(frame(found())).splitlines()
    never = next(row for row in rows if ",not_taught," in row)
    head = rows[0].split(",")
    assert never.split(",")[head.index("difference")] == ""
    assert never.split(",")[head.index("full")] == "0.5"


def test_the_page_says_phantom_under_trained_these_checkpoints_and_why():
    text = markdown(found(), pictures={})
    assert "they do not rank models on patients" in text
    assert "**under-trained: direction only.**" in text
    assert "full seed 0 (no validation score to judge by)" in text.replace("\\", "")
    assert "p (these checkpoints)" in text
    assert "0.0246 (Holm; 0.0123)" in text
    assert "losses.grounding: 5.0 → 0.0" in text.replace("\\", "")
    assert "# What \\| each loss" in text


def test_the_page_says_when_arms_do_not_start_from_the_same_weights():
    text = markdown(found(), pictures={})
    assert "from the same initial weights as long as all sizes stay" in text
    assert "draw other initial values" in text


def test_the_columns_of_p_are_that_of_these_checkpoints_and_that_after_holm():
    row = frame(found()).iloc[1]
    assert (row["p_these_checkpoints"], row["p_holm"]) == (0.0123, 0.0246)


def test_every_table_of_differences_says_that_it_is_under_trained():
    rising = tuple(replace(one, under_trained=one.difference is not None) for one in found().worths)
    text = markdown(found(worths=rising), pictures={})
    said = "*under-trained: direction only*\n\n| "
    tables = (
        "full minus | Phrase",
        "arm | metric | full |",
        "group | `without-location`",
        "arm | full minus arm in |",
    )
    for head in tables:
        assert text.count(f"\n| {head}") >= text.count(said + head) >= 1, head
    flat = markdown(found(), pictures={})
    assert "*under-trained: direction only*" not in flat


def test_the_terminal_prints_whole_verdicts(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    rising = tuple(replace(one, under_trained=one.difference is not None) for one in found().worths)
    print_ablation(found(worths=rising))
    (row,) = [line for line in capsys.readouterr().out.splitlines() if "+0.100" in line]
    assert "under-trained: direction only (full better)" in row


def test_a_share_of_the_steps_stands_beside_the_end():
    text = markdown(found(), pictures={})
    assert "| arm | full minus arm in | 50 % of the steps | 100 % of the steps |" in text


def test_latex_has_no_sign_that_it_would_execute_and_a_minus_that_it_knows():
    worse = replace(found().worths[1], difference=-0.1, interval=interval(-0.15, -0.05))
    text = latex(found(worths=(worse,)))
    assert "$-$0.100 [$-$0.150, $-$0.050]" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert "−" not in text


def test_figures_are_the_same_bytes_for_the_same_numbers():
    one, other = forest(found()), forest(found())
    assert one == other
    assert one["png"].startswith(b"\x89PNG")
    assert b"not taught" in one["svg"]


def test_numbers_carry_their_sign():
    assert [signed(v, 2) for v in (0.1, -0.1, None, math.nan)] == ["+0.10", "−0.10", "–", "–"]
    assert overview_cell(None) == "–"
