"""The official section rules, on invented reports; each case is worked by hand from the rule."""

from pathlib import Path

import pytest

from harness.errors import BenchError
from harness.sections import (
    SpecialStudies,
    conclusion,
    named_sections,
    read_special_studies,
    special_text,
    split_report,
)

HEAD = "                                 FINAL REPORT\n"


def names(text: str) -> list[str]:
    return [section.name for section in split_report(text)]


def test_a_heading_is_a_new_line_one_space_capitals_and_a_colon() -> None:
    text = HEAD + " FINDINGS: Clear.\n \n IMPRESSION: Normal."
    assert names(text) == ["preamble", "findings", "impression"]
    assert named_sections(text) == {"impression": "Normal.", "findings": "Clear."}


def test_a_report_without_a_leading_space_has_no_heading() -> None:
    assert names("FINDINGS: Clear.\nIMPRESSION: Normal.") == ["full report"]


def test_digits_and_ampersands_make_no_heading() -> None:
    assert names(HEAD + " CHEST, 2 VIEWS: Clear.") == ["full report"]
    assert names(HEAD + " HEART & LUNGS: Clear.") == ["full report"]


def test_a_second_heading_on_the_same_line_is_not_split() -> None:
    text = HEAD + " FINDINGS: Clear. IMPRESSION: no\n \n IMPRESSION: Yes."
    assert named_sections(text)["findings"] == "Clear. IMPRESSION: no"
    assert named_sections(text)["impression"] == "Yes."


def test_spellings_and_view_headings_are_mapped() -> None:
    assert names(HEAD + " IMPRESSON: a")[1] == "impression"
    assert names(HEAD + " CONCLUSION: a")[1] == "impression"
    assert names(HEAD + " FINDINGS/IMPRESSION: a")[1] == "impression"
    assert names(HEAD + " CHEST, TWO VIEWS: a")[1] == "findings"
    assert names(HEAD + " PORTABLE SEMI-UPRIGHT: a")[1] == "findings"
    assert names(HEAD + " REASON FOR EXAM: a")[1] == "indication"
    assert names(HEAD + " NDICATION: a")[1] == "impression"  # so it stands in the official table


def test_the_last_section_of_a_name_wins() -> None:
    text = HEAD + " IMPRESSION: First.\n \n IMPRESSION: Second."
    assert named_sections(text)["impression"] == "Second."


def test_an_empty_findings_section_is_dropped() -> None:
    text = HEAD + " CHEST:\n \n COMPARISON: None.\n \n The lungs are clear."
    assert names(text) == ["preamble", "comparison", "last_paragraph"]
    assert named_sections(text)["last_paragraph"] == "The lungs are clear."


def test_without_findings_or_impression_the_last_section_is_cut_at_its_first_blank_line() -> None:
    text = HEAD + " INDICATION: Cough.\n \n Lungs are clear.\n \n Heart is normal."
    sections = named_sections(text)
    assert sections == {"last_paragraph": "Lungs are clear.\n \n Heart is normal."}


def test_without_a_blank_line_there_is_no_last_paragraph() -> None:
    assert named_sections(HEAD + " INDICATION: Cough.\n Lungs are clear.") == {}


def test_the_conclusion_is_impression_then_findings_then_paragraph_then_comparison() -> None:
    assert conclusion(HEAD + " FINDINGS: F.\n \n IMPRESSION: I.") == "I."
    assert conclusion(HEAD + " FINDINGS: F.\n \n COMPARISON: C.") == "F."
    assert conclusion(HEAD + " COMPARISON: C.\n \n P.") == "P."
    assert conclusion(HEAD + " COMPARISON: C.") == "C."
    assert conclusion("nothing at all") == ""


def test_starts_point_into_the_report() -> None:
    text = HEAD + " INDICATION: Cough.\n \n FINDINGS: Clear."
    for section in split_report(text):
        assert text[section.start :].startswith(section.text)


SPECIAL = SpecialStudies({"s50000001": "technique"}, {"s50000002": (3, 8), "s50000003": (0, 0)})


def test_a_special_study_has_the_section_or_slice_of_its_own_rule() -> None:
    text = HEAD + " TECHNIQUE: Lungs are clear.\n \n IMPRESSION: Wrong."
    assert special_text(text, "s50000001", SPECIAL) == "Lungs are clear."
    assert special_text("abcdefghij", "s50000002", SPECIAL) == "defgh"
    assert special_text(text, "s50000003", SPECIAL) == ""
    assert conclusion(text, "s50000001", SPECIAL) == "Lungs are clear."
    assert conclusion(text, "s59999999", SPECIAL) == "Wrong."


def test_a_special_study_whose_section_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(BenchError, match=r"s50000001.*'technique'"):
        special_text(HEAD + " IMPRESSION: x", "s50000001", SPECIAL)


def test_the_official_file_is_parsed_and_never_executed(tmp_path: Path) -> None:
    path = tmp_path / "section_parser.py"
    path.write_text(
        "raise SystemExit('executed')\n"
        "def custom_mimic_cxr_rules():\n"
        "    custom_section_names = {'s50000001': 'technique'}  # where\n"
        "    custom_indices = {'s50000002': [3, 8]}\n"
        "    return custom_section_names, custom_indices\n"
    )
    special = read_special_studies(path)
    assert special.sections == {"s50000001": "technique"}
    assert special.slices == {"s50000002": (3, 8)}


def test_a_table_of_special_studies_may_be_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "special_studies.csv"
    path.write_text("study,section,start,end\ns50000001,technique,,\ns50000002,,3,8\n")
    special = read_special_studies(path)
    assert special.sections == {"s50000001": "technique"}
    assert special.slices == {"s50000002": (3, 8)}


@pytest.mark.parametrize(
    "content", ["x = 1", "custom_indices = open('x')\ncustom_section_names = {}", "def ("]
)
def test_a_file_without_the_two_plain_tables_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "section_parser.py"
    path.write_text(content)
    with pytest.raises(BenchError, match="custom_section_names"):
        read_special_studies(path)
