"""What a loss is worth: intervals worked by hand, verdicts, flat curves, costs, tables, figures."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.ablation import ArmRecord, ArmTraining
from harness.metrics.metric import Metric, mean, ratio, weighted_median
from harness.metrics.seeds import SeedInterval
from reports.ablation import Found, frame
from reports.ablation_figures import forest, mean_curve
from reports.ablation_latex import latex
from reports.ablation_pairs import Arms, adjusted
from reports.ablation_samples import extremes, mean_gains
from reports.ablation_text import markdown, overview_cell, signed
from reports.ablation_training import costs, flatness
from reports.ablation_worth import Place, Worth, checkpoints_p, interval_of
from reports.csv_text import csv_text
from reports.paired import Question

HIT = Metric("hit", lambda outcomes: outcomes, mean, "share")
SHARE = Metric("share", lambda outcomes: outcomes, ratio, "ratio of sums")
PLACE = Place("arm", 100, "grounding", "ms-cxr", "test", "frontal", "official")


def column(values) -> np.ndarray:
    return np.asarray(values, float)[:, None]


def test_the_interval_over_three_seeds_and_twenty_patients_is_the_one_worked_by_hand():
    # 20 patients, one outcome each. The full arm is right on all; the other is wrong on the first
    # 2, 4 and 6 patients with seeds 0, 1 and 2: differences 0.1, 0.2, 0.3, mean 0.2.
    full = column(np.ones(20))
    others = [column([0] * wrong + [1] * (20 - wrong)) for wrong in (2, 4, 6)]
    found, note = interval_of(HIT, [(full, other) for other in others], np.arange(20))
    assert note == ""
    assert (found.value, found.seeds, found.patients) == (pytest.approx(0.2), 3, 20)
    # By hand: MS_seed = 20 x var(0.1, 0.2, 0.3) = 20 x 0.01 = 0.2. Patients: the first two differ
    # in all seeds (mean 1), the next two in two (2/3), the next two in one (1/3), others in none.
    means = [1] * 2 + [2 / 3] * 2 + [1 / 3] * 2 + [0] * 14
    ms_patient = 3 * np.var(means, ddof=1)
    # The whole: 12 ones among 60, sum of squares 12 - 60 x 0.04 = 9.6; what is left is the rest.
    ms_rest = (9.6 - 2 * 0.2 - 19 * ms_patient) / (2 * 19)
    error = math.sqrt((0.2 + ms_patient - ms_rest) / 60)
    df = (0.2 + ms_patient - ms_rest) ** 2 / (
        0.2**2 / 2 + ms_patient**2 / 19 + ms_rest**2 / (2 * 19)
    )
    of_seeds = stats.t.ppf(0.975, 2) * math.sqrt(0.2 / 60)
    half = max(stats.t.ppf(0.975, df) * error, of_seeds)
    assert found.high - found.value == pytest.approx(half)
    assert found.value - found.low == pytest.approx(half)


def test_the_interval_stands_around_the_plain_difference_of_a_ratio():
    draw = np.random.default_rng(0)
    patients = np.repeat(np.arange(25), 3)
    rows = [np.column_stack([draw.integers(0, 3, 75), draw.integers(1, 4, 75)]) for _ in range(4)]
    pairs = [(rows[0].astype(float), rows[1].astype(float)), (rows[2] * 1.0, rows[3] * 1.0)]
    plain = np.mean(
        [a[:, 0].sum() / a[:, 1].sum() - b[:, 0].sum() / b[:, 1].sum() for a, b in pairs]
    )
    found, _ = interval_of(SHARE, pairs, patients)
    assert found.value == pytest.approx(plain)
    assert (found.low + found.high) / 2 == pytest.approx(plain)


def test_one_seed_few_patients_and_a_median_have_no_interval_and_say_why():
    pair = (column(np.ones(20)), column(np.zeros(20)))
    found, note = interval_of(HIT, [pair], np.arange(20))
    assert note == "one seed: no interval"
    assert found.value == 1
    few = (pair[0][:19], pair[1][:19])
    assert interval_of(HIT, [few, few], np.arange(19)) == (None, "fewer than 20 patients")
    median = Metric("median", lambda outcomes: outcomes, weighted_median, "median")
    assert interval_of(median, [pair, pair], np.arange(20))[0] is None


def test_p_of_these_checkpoints_swaps_a_patient_in_all_seeds_at_once():
    # Five patients of two outcomes, one seed, the full arm better in each: of the 32 swaps only the
    # two extreme ones reach the difference, so p is about 2 / 32 however many seeds repeat it.
    full, other = column(np.ones(10)), column(np.zeros(10))
    patients = np.repeat(np.arange(5), 2)
    once = checkpoints_p(HIT, [(full, other)], patients)
    twice = checkpoints_p(HIT, [(full, other)] * 2, patients)
    assert once == pytest.approx(2 / 32, abs=0.008)
    assert twice == once


def test_a_family_of_more_than_a_hundred_arms_draws_more_often():
    def arms(count):
        names = ["full", *(f"arm-{number}" for number in range(count))]
        records = [arm(name, seed) for name in names for seed in (0, 1)]
        return Arms(Path(), records, lambda _: (None, ""))

    found = [arms(count).permutations for count in (1, 100, 101, 150)]
    assert found == [10_000, 10_000, 10_100, 15_000]
    # The smallest p of 10,000 draws is 1/10,001; of 101 such, Holm's first is 101 times that. It
    # must be refused and not adjusted as if there had been more draws.
    coarse = [Worth(f"arm-{n}", PLACE, Question("miou"), p=1 / 10_001) for n in range(101)]
    with pytest.raises(ValueError, match="10000 permutations for a family of 101"):
        adjusted(coarse, draws=10_000)
    exact = [Worth(one.arm, PLACE, one.question, p=1 / 10_101) for one in coarse]
    assert adjusted(exact, draws=10_100)[0].adjusted == pytest.approx(101 / 10_101)


def interval(low, high) -> SeedInterval:
    return SeedInterval((low + high) / 2, low, high, 2.0, 3, 50, 0.0, 0.0, 0.1)


VERDICTS = [
    ({"interval": interval(0.1, 0.3), "difference": 0.2}, "full better"),
    ({"interval": interval(-0.3, -0.1), "difference": -0.2}, "arm better"),
    ({"interval": interval(-0.1, 0.3), "difference": 0.1}, "not told apart"),
    ({"interval": interval(0.1, 0.3), "difference": 0.2, "higher_is_better": False}, "arm better"),
    (
        {"interval": interval(0.1, 0.3), "difference": 0.2, "under_trained": True},
        "under-trained: direction only (full better)",
    ),
    # Where nothing is told apart, or one seed may be luck, there is no direction either.
    (
        {"interval": interval(-0.1, 0.3), "difference": 0.1, "under_trained": True},
        "under-trained: direction only (not told apart)",
    ),
    (
        {"difference": 0.1, "note": "one seed: no interval", "under_trained": True},
        "under-trained: direction only (one seed: no interval)",
    ),
    ({"status": "not_taught", "full": 0.4, "note": "not taught"}, "not taught"),
    ({"difference": 0.2, "status": "no_interval", "note": "one seed: no interval"},
     "one seed: no interval"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "verdict"), VERDICTS)
def test_the_verdict_says_no_more_than_the_interval_allows(values, verdict):
    assert Worth("without-location", PLACE, Question("miou"), **values).verdict == verdict


def arm(name="full", seed=0, validation=(), **training) -> ArmRecord:
    values = {
        "steps": 80,
        "samples": 320,
        "parameters": 1000,
        "data": {"validation": {"images": 100}},
        "curve": [{"step": 40, "loss/sigmoid": 2.0}, {"step": 80, "loss/sigmoid": 1.0}],
        "validation": list(validation),
        "seconds": 100.0,
        "step_seconds": 80.0,
        "peak_memory": 2 * 10**9,
        **training,
    }
    return ArmRecord(
        arm=name,
        seed=seed,
        parent="" if name == "full" else "full",
        difference={} if name == "full" else {"losses.grounding": (5.0, 0.0)},
        shared={},
        losses=["sigmoid"],
        status="ok",
        training=ArmTraining(**values),
        command="bench ablate --loss location",
    )


def recalls(*pairs):
    return [{"step": step, "image_to_text/recall@10": value} for step, value in pairs]


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


def test_the_cost_of_a_loss_is_the_time_and_memory_that_the_full_arm_takes_more():
    records = [
        arm(step_seconds=80.0, step_processor=60.0),
        arm(seed=1, step_seconds=120.0, step_processor=60.0),
        arm("without-location", step_seconds=50.0, step_processor=40.0, peak_memory=15 * 10**8),
    ]
    full, without = costs(records)
    assert (full.step_seconds, without.step_seconds) == (1.25, 0.625)
    # On a CPU the processor's seconds decide, 0.75 against 0.5 a step; on a GPU the clock's.
    assert without.more_time == pytest.approx(0.5)
    assert without.more_memory == 5 * 10**8
    on_gpu = [
        r.model_copy(update={"training": r.training.model_copy(update={"memory": "cuda"})})
        for r in records
    ]
    assert costs(on_gpu)[1].more_time == pytest.approx(1.0)


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


def test_gains_are_means_over_seeds_of_the_samples_that_all_were_scored_on():
    nan = math.nan
    one = (column([0.5, nan, 0.4, 0.1]), column([0.1, 0.3, 0.4, 0.2]))
    two = (column([0.9, 0.2, 0.4, 0.1]), column([0.1, 0.3, 0.4, 0.6]))
    samples, gains = mean_gains([one, two], ["a", "b", "c", "d"])
    assert samples == ["a", "c", "d"]
    assert gains == pytest.approx([0.6, 0.0, -0.3])
    assert extremes(gains, 2) == {"won": [0], "lost": [2]}


def test_a_curve_is_the_mean_over_the_seeds_that_have_it():
    rows = [[{"step": 1, "a": 1.0}, {"step": 2, "a": 3.0}], [{"step": 2, "a": 5.0}], [{"step": 2}]]
    steps, values = mean_curve(rows, "a")
    assert (steps.tolist(), values.tolist()) == ([2], [4.0])


def found(**changes) -> Found:
    base = Worth("without-location", PLACE, Question("miou"))
    taught = replace(
        base,
        place=replace(PLACE, measure="representation"),
        full=0.4,
        without=0.3,
        difference=0.1,
        interval=interval(0.05, 0.15),
        p=0.0123,
        adjusted=0.0246,
        seeds=3,
        patients=50,
        n=70,
    )
    never = replace(base, full=0.5, status="not_taught", note="not taught")
    early = replace(taught, place=replace(taught.place, share=50), adjusted=None)
    group = replace(taught, group="finding=nodule", p=None, adjusted=None)
    records = (arm(), arm("without-location", validation=recalls((40, 0.5), (80, 0.5))))
    values = {
        "title": "What | each loss",
        "records": records,
        "worths": (never, taught, group, early),
        "costs": tuple(costs(records)),
    }
    return Found(**{**values, **changes})


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
