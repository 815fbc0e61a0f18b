"""Plans: pure, disjoint between splits, balanced, and such that retrieval needs location."""

import itertools
from collections import Counter

import numpy as np
import pytest

from harness.errors import BenchError
from harness.phantom.language.padchest import write_sentences
from harness.phantom.language.report import write_report
from harness.phantom.measure_text import (
    overlap_of_words,
    recall_ceiling,
    recall_expected,
)
from harness.phantom.plan import DrawnFinding, FindingPlan, StudyPlan
from harness.phantom.vocabulary import FINDINGS
from harness.phantom.world import BLOCK_STUDIES, SPACES, plan_study
from harness.text import normalize

RIGHT, LEFT = [0.1, 0.2, 0.4, 0.6], [0.6, 0.2, 0.9, 0.6]
TWINS = ("mimic", "padchest")


def all_seen(findings: tuple[FindingPlan, ...]) -> tuple[DrawnFinding, ...]:
    boxes = [
        np.array([RIGHT, LEFT] if f.side == "both" else [RIGHT] * f.count, np.float32)
        for f in findings
    ]
    return tuple(
        DrawnFinding(f, 20.0, True, False, b, b, b, b) for f, b in zip(findings, boxes, strict=True)
    )


def plans(twin: str, count: int = 1000, split: str = "test") -> list[StudyPlan]:
    return [plan_study(twin, split, index) for index in range(count)]


def earlier(twin: str, plan: StudyPlan, split: str = "test") -> tuple[FindingPlan, ...] | None:
    if plan.prior_index is None:
        return None
    return plan_study(twin, split, plan.prior_index).findings


@pytest.fixture(scope="module")
def reports() -> list:
    return [write_report(p, all_seen(p.findings), earlier("mimic", p)) for p in plans("mimic")]


@pytest.fixture(scope="module")
def sentences() -> list:
    return [
        write_sentences(p, all_seen(p.findings), earlier("padchest", p)) for p in plans("padchest")
    ]


def test_a_study_is_the_same_whatever_was_drawn_before_it() -> None:
    backwards = [plan_study("mimic", "test", index) for index in reversed(range(60))]
    assert backwards[::-1] == plans("mimic", 60)


def test_another_rendering_changes_the_rendering_only() -> None:
    own, crossed = plan_study("padchest", "test", 7), plan_study("padchest", "test", 7, "mimic")
    assert crossed.rendering == "mimic"
    assert (own.patient, own.findings, own.seed) == (
        crossed.patient,
        crossed.findings,
        crossed.seed,
    )


@pytest.mark.parametrize("twin", TWINS)
def test_no_two_splits_share_a_patient_or_a_seed(twin: str) -> None:
    seen: dict[str, tuple[set[int], set[int]]] = {}
    for split in SPACES:
        drawn = plans(twin, 120, split)
        seeds = {p.seed for p in drawn} | {p.patient.seed for p in drawn}
        seeds |= {f.seed for p in drawn for f in p.findings}
        seen[split] = ({p.patient.index for p in drawn}, seeds)
    for one in seen:
        for other in seen:
            if one != other:
                assert not seen[one][0] & seen[other][0]
                assert not seen[one][1] & seen[other][1]


def test_the_ranges_of_patients_and_studies_do_not_overlap() -> None:
    spaces = sorted(SPACES.values(), key=lambda s: s.first_study)
    for one, other in itertools.pairwise(spaces):
        assert one.first_study + one.capacity <= other.first_study
        assert one.first_patient + one.capacity <= other.first_patient


def test_the_twins_share_no_seed() -> None:
    own, other = ({p.seed for p in plans(twin, 240)} for twin in TWINS)
    assert not own & other


def test_a_third_of_the_studies_follow_an_earlier_one_of_the_same_patient() -> None:
    drawn = plans("mimic", 25 * BLOCK_STUDIES)
    followed = [p for p in drawn if p.prior_index is not None]
    assert len(followed) == len(drawn) / 3
    for plan in followed:
        assert plan_study("mimic", "test", plan.prior_index).patient == plan.patient


def test_blocks_hold_whole_patients() -> None:
    for start in range(0, 20 * BLOCK_STUDIES, BLOCK_STUDIES):
        assert plan_study("mimic", "test", start).prior_index is None


def test_an_index_outside_the_split_is_refused() -> None:
    with pytest.raises(BenchError, match="no study -1"):
        plan_study("mimic", "test", -1)
    with pytest.raises(BenchError, match="unknown phantom split 'tset'"):
        plan_study("mimic", "tset", 0)


@pytest.mark.parametrize("twin", TWINS)
def test_left_is_as_common_as_right(twin: str) -> None:
    sides = Counter(f.side for p in plans(twin, 3000) for f in p.findings)
    left, right = sides["left"], sides["right"]
    assert abs(left / (left + right) - 0.5) < 0.03  # 3 standard errors of some 3,000 sides


@pytest.mark.parametrize("what", ["view", "sex", "devices", "habitus"])
def test_findings_are_independent_of_what_is_not_the_finding(what: str) -> None:
    drawn = plans("mimic", 3000)
    value = {
        "view": [p.views[0] == "AP" for p in drawn],
        "sex": [p.patient.sex == "F" for p in drawn],
        "devices": [bool(p.devices) for p in drawn],
        "habitus": [p.patient.habitus > 0.43 for p in drawn],
    }[what]
    flag = np.array(value, float)
    for name in FINDINGS:
        present = np.array([any(f.name == name for f in p.findings) for p in drawn], float)
        spread = np.sqrt(max(flag.var() * present.var(), 1e-12) / len(drawn))
        # Fifteen findings, four nuisances, patients with several studies: 4.5 standard errors.
        assert abs(np.mean(flag * present) - flag.mean() * present.mean()) < 4.5 * spread


def test_prevalence_differs_between_the_twins() -> None:
    own, other = (Counter(f.name for p in plans(twin, 3000) for f in p.findings) for twin in TWINS)
    assert own["pneumothorax"] > 1.3 * other["pneumothorax"]
    assert other["calcified_granuloma"] > 1.3 * own["calcified_granuloma"]


def test_most_abnormal_studies_have_nine_others_that_differ_only_in_place(reports: list) -> None:
    abnormal = [r for r in reports if r.mentions]
    alike = Counter(r.masked for r in abnormal)
    same = Counter((r.masked, r.content) for r in abnormal)
    enough = [alike[r.masked] - same[(r.masked, r.content)] >= 9 for r in abnormal]
    assert np.mean(enough) >= 0.5


def test_knowing_the_findings_is_worth_at_most_half_of_knowing_the_places_too(
    reports: list,
) -> None:
    findings = recall_ceiling([r.masked for r in reports])
    places = recall_ceiling([r.content for r in reports])
    assert findings <= places / 2
    by_chance = recall_expected([r.masked for r in reports])
    assert by_chance <= 0.55 * recall_expected([r.content for r in reports])


@pytest.mark.parametrize("twin", TWINS)
def test_a_fifth_to_a_third_of_the_texts_repeat(twin: str, reports: list, sentences: list) -> None:
    texts = {
        "mimic": [f"{r.findings} {r.impression}" for r in reports],
        "padchest": [" ".join(s.english for s in study) for study in sentences],
    }[twin]
    texts = [normalize(text) for text in texts if text]
    counts = Counter(texts)
    assert 0.20 <= np.mean([counts[text] > 1 for text in texts]) <= 0.35


def test_external_words_are_known_but_for_a_named_stratum(reports: list, sentences: list) -> None:
    own = [f"{r.findings} {r.impression}" for r in reports]
    plain = [s.english for study in sentences for s in study if not s.unseen_word]
    strange = [s.english for study in sentences for s in study if s.unseen_word]
    assert overlap_of_words(own, plain) >= 0.95
    assert strange
    assert overlap_of_words(own, strange) < 0.95


def test_at_least_half_of_the_phrases_name_no_zone_and_a_quarter_no_side(sentences: list) -> None:
    said = [s.mention for study in sentences for s in study if s.mention]
    assert np.mean([m.zone == "" for m in said]) >= 0.5
    assert np.mean([m.side == "" for m in said]) >= 0.25
