"""Words: sections as the official splitter wants them, sides that are true, nothing unseen said."""

import re
from dataclasses import replace

import numpy as np
import pytest

from harness.phantom.labels import chexpert
from harness.phantom.language import english, spanish
from harness.phantom.language.mention import FULL, Mention, change_since, key, masked, mention
from harness.phantom.language.padchest import write_sentences
from harness.phantom.language.report import write_report
from harness.phantom.language.sentences_en import DENIALS, describe, sentence
from harness.phantom.plan import DrawnFinding, FindingPlan
from harness.phantom.vocabulary import FINDINGS
from harness.phantom.world import plan_study
from harness.sections import named_sections

BOX = np.array([[0.1, 0.2, 0.4, 0.6]], np.float32)
NODULE = FindingPlan("nodule", "left", "upper", "small", 1, 0.8, 5)


def drawn(plan: FindingPlan, *, visible: bool = True, subtle: bool = False) -> DrawnFinding:
    return DrawnFinding(plan, 20.0, visible, subtle, BOX, BOX, BOX, BOX)


def report(index: int, **how: bool):
    plan = plan_study("mimic", "test", index)
    prior = None
    if plan.prior_index is not None:
        prior = plan_study("mimic", "test", plan.prior_index).findings
    return plan, write_report(plan, [drawn(f, **how) for f in plan.findings], prior)


def test_a_report_has_the_published_frame() -> None:
    for index in range(60):
        _, written = report(index)
        lines = written.text.splitlines()
        assert lines[0] == " " * 33 + "FINAL REPORT"
        assert all(line.startswith(" ") for line in lines)
        assert max(map(len, lines)) <= 79
        assert "\n \n" in written.text
        assert "___" in written.text


def test_the_official_splitter_finds_the_sections_that_were_written() -> None:
    kinds = set()
    for index in range(300):
        _, written = report(index)
        sections = named_sections(written.text)
        got = {name: " ".join(text.split()) for name, text in sections.items()}
        kinds.add(("findings" in got, "impression" in got))
        if "findings" in got:
            assert got["findings"] == written.findings
        if "impression" in got:
            assert got["impression"] == written.impression
        if not {"findings", "impression"} & set(got):
            assert got["last_paragraph"] == written.findings
    assert kinds == {(True, True), (True, False), (False, True), (False, False)}


def test_what_is_not_visible_is_not_spoken_of() -> None:
    for index in range(40):
        plan, written = report(index, visible=False)
        assert written.mentions == ()
        assert written.masked == "normal"
        for finding in plan.findings:
            assert written.content == "normal", finding


def test_a_finding_that_is_there_but_unseen_is_not_denied() -> None:
    plan = replace(plan_study("mimic", "test", 3), findings=(NODULE,))
    hidden = replace(NODULE, name="rib_fracture")
    plan = replace(plan, findings=(NODULE, hidden))
    for seed in range(60):
        written = write_report(
            replace(plan, seed=seed), [drawn(NODULE), drawn(hidden, visible=False)], None
        )
        assert not any(denial in written.findings for denial in DENIALS["rib_fracture"])


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_text_never_names_the_other_side(side: str) -> None:
    other = {"left": "right", "right": "left"}[side]
    rng = np.random.default_rng(0)
    for name, kind in FINDINGS.items():
        if side not in kind.sides:
            continue
        for zone in (*kind.zones, ""):
            m = Mention(name, side=side, zone=zone, size="small" if kind.graded else "")
            for text in (sentence(m, rng), describe(m, rng)):
                assert re.search(rf"\b{side}\b", text.lower()), text
                assert other not in text.lower()
            text = spanish.sentence(m, rng).lower()
            words = {"left": ("izquierd", "derech"), "right": ("derech", "izquierd")}[side]
            assert words[0] in text
            assert words[1] not in text


def test_what_is_unsaid_is_not_in_the_text() -> None:
    rng = np.random.default_rng(1)
    for name in FINDINGS:
        for _ in range(20):
            text = english.noun_phrase(Mention(name), rng).lower()
            assert not re.search(r"\b(left|right|bilateral|both|upper|lower|mid|apical)\b", text)


def test_the_masked_text_holds_no_place_and_no_number() -> None:
    mentions = [
        Mention("nodule", side="left", zone="upper", count=2, number_said=True),
        Mention("pleural_effusion", side="both", size="large"),
    ]
    assert masked(mentions) == "large pleural effusion; nodule"
    assert key(mentions[0]) == "nodule left upper 2"


def test_several_foci_take_the_plural_and_one_an_article() -> None:
    rng = np.random.default_rng(0)
    noun = english.NOUNS["nodule"][0]
    two = Mention("nodule", side="right", count=2, number_said=True)
    assert "nodules" in english.noun_phrase(two, rng, noun)
    one = Mention("nodule", side="right")
    assert english.with_article("right nodule", one, noun) == "a right nodule"
    assert spanish.sentence(two, rng).split()[0].lower() in {"dos", "se"}


def test_spanish_adjectives_agree_with_the_noun() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        mass = spanish.sentence(Mention("mass", side="left"), rng)
        assert "izquierda" in mass
        effusion = spanish.sentence(Mention("pleural_effusion", side="both", size="small"), rng)
        assert "derrames pleurales bilaterales pequeños" in effusion.lower()


@pytest.mark.parametrize(
    ("size", "place", "expected"),
    [("small", "left", "stable"), ("large", "left", "worsening"), ("small", "right", "new")],
)
def test_change_is_told_against_the_prior(size: str, place: str, expected: str) -> None:
    effusion = FindingPlan("pleural_effusion", "left", "", "small", 1, 0.5, 1)
    now = replace(effusion, size=size, side=place)
    assert change_since(now, [effusion]) == expected
    assert change_since(effusion, []) == "new"


@pytest.mark.parametrize(
    ("boxes", "said"),
    [([[0.1, 0.5, 0.3, 0.9]], "right"), ([[0.6, 0.5, 0.9, 0.9]], "left")],
)
def test_a_bilateral_finding_that_shows_on_one_side_is_said_to_be_there(
    boxes: list[list[float]], said: str
) -> None:
    plan = FindingPlan("pleural_effusion", "both", "", "small", 1, 0.5, 1)
    shown = replace(drawn(plan), exact=np.array(boxes, np.float32))
    always = replace(FULL, side=1.0)
    assert mention(shown, always, np.random.default_rng(0)).side == said
    both = replace(shown, exact=np.array([[0.1, 0.5, 0.3, 0.9], [0.6, 0.5, 0.9, 0.9]], np.float32))
    assert mention(both, always, np.random.default_rng(0)).side == "both"


def test_only_foci_that_show_are_counted() -> None:
    two = replace(NODULE, count=2)
    always = replace(FULL, number=1.0)
    one = mention(drawn(two), always, np.random.default_rng(0))
    assert (one.count, one.number_said, one.plural) == (1, False, False)
    pair = replace(drawn(two), exact=np.array([[0.1, 0.2, 0.2, 0.3], [0.3, 0.2, 0.4, 0.3]]))
    both = mention(pair, always, np.random.default_rng(0))
    assert (both.count, both.number_said, both.plural) == (2, True, True)


def test_subtle_findings_are_hedged_more_often() -> None:
    rng = np.random.default_rng(0)
    rates = {
        subtle: np.mean(
            [mention(drawn(NODULE, subtle=subtle), FULL, rng).possible for _ in range(2000)]
        )
        for subtle in (False, True)
    }
    assert rates[True] > 2 * rates[False]


def test_denials_in_both_languages_go_together() -> None:
    assert {name: len(texts) for name, texts in DENIALS.items()} == {
        name: len(texts) for name, texts in spanish.DENIALS.items()
    }


def test_every_visible_finding_has_one_padchest_sentence_and_denials_have_none() -> None:
    for index in range(60):
        plan = plan_study("padchest", "test", index)
        said = write_sentences(plan, [drawn(f) for f in plan.findings], None)
        assert [s.drawn for s in said if s.drawn is not None] == list(range(len(plan.findings)))
        for s in said:
            assert (s.mention is None) == (s.drawn is None)
            assert s.locations == [] or s.mention is not None


def test_the_wording_cell_changes_the_english_only() -> None:
    for index in range(60):
        plan = plan_study("padchest", "test", index)
        seen = [drawn(f) for f in plan.findings]
        own = write_sentences(plan, seen, None)
        other = write_sentences(plan, seen, None, "mimic")
        assert [(s.spanish, s.mention, s.drawn) for s in own] == [
            (s.spanish, s.mention, s.drawn) for s in other
        ]


def test_labels_follow_what_is_said() -> None:
    said = chexpert(
        [Mention("consolidation"), Mention("nodule", possible=True)],
        ["No pleural effusion or pneumothorax."],
        devices=True,
    )
    assert said == {
        "Consolidation": 1.0,
        "Lung Lesion": -1.0,
        "Lung Opacity": 1.0,
        "Pleural Effusion": 0.0,
        "Pneumothorax": 0.0,
        "Support Devices": 1.0,
    }
    assert chexpert([], [], devices=False) == {"No Finding": 1.0}
