"""The reader of reports: each rule on a sentence, then everything the phantom can say."""

import numpy as np
import pytest

from harness.phantom.language.english import NOUNS, UNSEEN
from harness.phantom.language.mention import FULL, Mention, mention
from harness.phantom.language.padchest import write_sentences
from harness.phantom.language.report import write_report
from harness.phantom.language.sentences_en import DENIALS, describe
from harness.phantom.plan import DrawnFinding, FindingPlan, StudyPlan
from harness.phantom.vocabulary import FINDINGS
from harness.phantom.world import plan_study
from harness.sections import named_sections
from harness.tasks.caption_findings import read_findings
from harness.tasks.caption_words import FINDING_WORDS

BOX = np.array([[0.1, 0.2, 0.4, 0.6]], np.float32)
STUDIES = 300


def names(text: str) -> set[str]:
    return {name for name, _, _ in read_findings(text)}


@pytest.mark.parametrize(
    "text",
    [
        "No pleural effusion.",
        "No focal consolidation, pleural effusion or pneumothorax.",
        "There is no evidence of pneumothorax.",
        "The lungs are free of consolidation.",
        "Lungs are clear without nodules or masses.",
        "Pneumothorax is not seen.",
        "The left effusion is no longer visible.",
        "The previously seen left effusion has resolved.",
        "Interval resolution of right pneumothorax.",
        "No new consolidation.",
        "The heart is not enlarged.",
        "Pneumothorax is unlikely.",
        "Pericardial effusion.",
        "Heart size is normal. The hilar contours are normal. No significant change.",
        "",
    ],
)
def test_what_is_denied_or_gone_is_not_mentioned(text: str) -> None:
    assert read_findings(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "Possible pneumothorax.",
        "Findings may represent pneumothorax.",
        "Pneumothorax cannot be excluded.",
        "Pneumothorax is not excluded.",
        "No change in the pneumothorax.",
        "The pneumothorax has increased without significant improvement.",
        "New pneumothorax since the prior study.",
        "Unchanged pneumothorax.",
        "No effusion but a pneumothorax.",
        "No effusion. There is a pneumothorax.",
        "No effusion is seen, there is a pneumothorax.",
        "Effusion has resolved, new pneumothorax.",
        "pneumothorax",
    ],
)
def test_uncertainty_and_change_are_mentions_and_a_denial_ends_where_the_sentence_turns(
    text: str,
) -> None:
    assert names(text) == {"pneumothorax"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Small left-sided effusion.", {("pleural_effusion", "left", "")}),
        ("Nodule at the RIGHT lung base.", {("nodule", "right", "basal")}),
        ("Bibasilar atelectasis.", {("atelectasis", "both", "basal")}),
        ("Left and right effusions.", {("pleural_effusion", "both", "")}),
        ("In the left mid lung, there is a mass.", {("mass", "left", "mid")}),
        ("Right upper and lower lobe consolidation.", {("consolidation", "right", "lower+upper")}),
        ("Left lung is clear, right effusion.", {("pleural_effusion", "right", "")}),
        ("Fracture of the left seventh rib.", {("rib_fracture", "left", "")}),
        (
            "Left apical pneumothorax with right effusion and atelectasis at the left base.",
            {
                ("pneumothorax", "left", "apical"),
                ("pleural_effusion", "right", ""),
                ("atelectasis", "left", "basal"),
            },
        ),
        (
            "Left effusion is present, pneumothorax has resolved.",
            {("pleural_effusion", "left", "")},
        ),
    ],
)
def test_place_words_go_to_the_finding_they_stand_with(
    text: str, expected: set[tuple[str, str, str]]
) -> None:
    assert set(read_findings(text)) == expected


def test_a_wrapped_line_goes_on_and_a_new_line_begins() -> None:
    assert read_findings("No pleural effusion or\n pneumothorax.") == ()
    assert names("No pleural effusion\nPneumothorax\n- nodule") == {"pneumothorax", "nodule"}


def test_the_longest_name_wins() -> None:
    assert names("Calcified nodule.") == {"calcified_granuloma"}
    assert names("Mass-like opacity.") == {"mass"}
    assert names("Interstitial edema.") == {"edema"}


def test_mentions_of_one_text_are_read_together_and_an_assertion_beats_a_denial() -> None:
    assert read_findings("Left nodule. Right upper nodule.") == (("nodule", "both", "upper"),)
    assert read_findings("Left nodule. Nodule.") == (("nodule", "left", ""),)
    assert read_findings("No nodule. Left nodule.") == (("nodule", "left", ""),)


def test_every_name_of_the_generator_is_known() -> None:
    assert set(FINDING_WORDS) == set(FINDINGS)
    for name, nouns in NOUNS.items():
        for noun in (*nouns, *([UNSEEN[name]] if name in UNSEEN else [])):
            for word in filter(None, (noun.one, noun.many)):
                assert names(f"There is {word}.") == {name}, word


def test_every_denial_of_the_generator_is_read_as_none() -> None:
    for sentences in DENIALS.values():
        for sentence in sentences:
            assert read_findings(sentence) == (), sentence


def drawn(plan: FindingPlan, *, subtle: bool) -> DrawnFinding:
    return DrawnFinding(plan, 20.0, True, subtle, BOX, BOX, BOX, BOX)


def study(
    twin: str, index: int
) -> tuple[StudyPlan, list[DrawnFinding], tuple[FindingPlan, ...] | None]:
    plan = plan_study(twin, "test", index)  # type: ignore[arg-type]
    prior = None
    if plan.prior_index is not None:
        prior = plan_study(twin, "test", plan.prior_index).findings  # type: ignore[arg-type]
    # every third study's findings are subtle, so that hedges are common
    return plan, [drawn(f, subtle=index % 3 == 0) for f in plan.findings], prior


def f1(pairs: list[tuple[set[str], set[str]]]) -> float:
    hits = sum(len(true & read) for true, read in pairs)
    return 2 * hits / sum(len(true) + len(read) for true, read in pairs)


def as_said(m: Mention) -> tuple[str, str, str]:
    return m.name, m.side, m.zone


def test_true_reports_of_the_mimic_dialect_are_read_without_a_fault() -> None:
    pairs, told = [], []
    for index in range(STUDIES):
        written = write_report(*study("mimic", index))
        sections = named_sections(written.text)
        body = [sections[name] for name in ("findings", "impression") if name in sections]
        text = " ".join(body) or sections["last_paragraph"]
        pairs.append(({m.name for m in written.mentions}, names(text)))
        told += [(m, sentence) for sentence, m in written.answers if m is not None]
    assert f1(pairs) == 1
    assert len(told) > STUDIES / 2
    for m, sentence in told:
        assert read_findings(sentence) == (as_said(m),), sentence


def test_true_sentences_of_the_padchest_dialect_are_read_without_a_fault() -> None:
    pairs = []
    for wording in ("padchest", "mimic"):
        for index in range(STUDIES):
            written = write_sentences(*study("padchest", index), wording)  # type: ignore[arg-type]
            text = " ".join(sentence.english for sentence in written)
            pairs.append(({s.mention.name for s in written if s.mention}, names(text)))
            for s in written:
                expected = (as_said(s.mention),) if s.mention else ()
                assert read_findings(s.english) == expected, s.english
    assert f1(pairs) == 1


def test_phrases_of_the_ms_cxr_twin_are_read_without_a_fault() -> None:
    rng = np.random.default_rng(0)
    for index in range(STUDIES):
        for d in study("mimic", index)[1]:
            m = mention(d, FULL, rng)
            text = describe(m, rng)
            assert read_findings(text) == (as_said(m),), text
