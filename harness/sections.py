"""The official MIMIC-CXR section rules, written anew.

Source: MIT-LCP/mimic-cxr, txt/section_parser.py and txt/create_section_files.py (read 2026-11).
A heading is a new line, one space, capitals and a colon; digits and `&` make no heading. Headings
are mapped to a few names; empty findings and impressions are dropped; where neither is left, what
follows the last section's first blank line is the `last_paragraph`. The last of a name wins.
54 special studies have hand-made rules there, which `read_special_studies` reads from the user's
copy of that file; it is parsed, never executed.
"""

import ast
import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BenchError

SECTION_POLICY = "sections-1"

_HEADING = re.compile(r"\n ([A-Z ()/,-]+):\s")
_BLANK = "\n \n"
_CONCLUSIONS = ("impression", "findings", "last_paragraph", "comparison")

# Headings that mean a section, spelled as radiologists did; a heading not listed is searched for
# the words of `_WORDS`, then for `_VIEW_HEADING`.
_SPELLINGS: Mapping[str, str] = {
    "impression": "conclusion|findings and impression|findings/impression|findings/ impression"
    "|impresson|imprression|imoression|impressoin|imprssion|impresion|imperssion|mpression"
    "|impession|ndication",  # `ndication` stands there as it is
    "findings": "chest, two views|finding|findins|findindgs|findgings|findngs|findnings|finidngs"
    "|reference findings",
    "indication": "reason for examination|reason for exam|clinical indication|idication",
    "history": "clinical history|clinical information|patient history|pfi",
    "comparison": "comparisons|reference exam|comparison exam|comparison film|comparision"
    "|comparsion|comparrison|comparisions",
    "examination": "exam|type of examination",
    "recommendations": "recommendation(s)|recommendation",
    "wet read": "wetread",
    "addendum": "",
    "comment": "",
    "date": "",
    "notification": "",
    "preamble": "",
    "technique": "",
}
_NAMES = {
    spelling: name
    for name, others in _SPELLINGS.items()
    for spelling in (name, *filter(None, others.split("|")))
}
_WORDS = ("impression", "findings", "history", "comparison", "addendum")
_VIEW_HEADING = re.compile(
    r"chest|portable|pa and lateral|lateral and pa|ap and lateral|lateral and ap|frontal and"
    r"|two views|frontal view|pa view|ap view|one view|lateral view|bone window|frontal upright"
    r"|frontal semi-upright|ribs|pa and lat"
)


@dataclass(frozen=True)
class Section:
    """One section of a report, its name normalized; `start` is where its text begins."""

    name: str
    text: str
    start: int


@dataclass(frozen=True)
class SpecialStudies:
    """Studies that the general rules get wrong: a named section, or a slice of characters.

    Keys are `s########`. A slice of no length means that the report describes nothing.
    """

    sections: Mapping[str, str]
    slices: Mapping[str, tuple[int, int]]

    def __contains__(self, study: object) -> bool:
        return study in self.sections or study in self.slices


NO_SPECIAL_STUDIES = SpecialStudies({}, {})


def split_report(text: str) -> list[Section]:
    r"""The sections of a report in order, by the official rules.

    A report without any heading is one section `full report`; what precedes the first heading is
    the `preamble`. After a heading the search resumes behind the next line break, so a second
    heading on the same line is not one.

    >>> [s.name for s in split_report("X\n \n FINDINGS: Clear.\n \n IMPRESSION: Normal.")]
    ['preamble', 'findings', 'impression']
    """
    sections = [
        section
        for section in _raw_sections(text)
        if section.name not in ("impression", "findings") or section.text.strip()
    ]
    if any(section.name in ("impression", "findings") for section in sections):
        return sections
    return _with_last_paragraph(sections)


def named_sections(text: str) -> dict[str, str]:
    r"""The stripped text of each conclusion section that is there; the last of a name wins.

    Keys are among impression, findings, last_paragraph and comparison.

    >>> named_sections("X\n \n FINDINGS: Clear.\n \n IMPRESSION: Normal.")
    {'impression': 'Normal.', 'findings': 'Clear.'}
    """
    found = {section.name: section.text.strip() for section in split_report(text)}
    return {name: found[name] for name in _CONCLUSIONS if name in found}


def conclusion(text: str, study: str = "", special: SpecialStudies = NO_SPECIAL_STUDIES) -> str:
    """The one section the official script calls the conclusion, or ''.

    Impression, else findings, else last paragraph, else comparison; special studies by their own
    rule.
    """
    if study in special:
        return special_text(text, study, special)
    return next(iter(named_sections(text).values()), "")


def special_text(text: str, study: str, special: SpecialStudies) -> str:
    """What a special study's own rule takes from its report, stripped; '' where there is nothing.

    Raises:
        BenchError: the report has no section of the name in the table.
    """
    if study in special.slices:
        start, end = special.slices[study]
        return text[start:end].strip()
    name = special.sections[study]
    found = [section.text for section in split_report(text) if section.name == name]
    if not found:
        raise BenchError(
            f"report {study}: the table of special studies asks for its section {name!r}, which it "
            "has not. Is the report another version (expected MIMIC-CXR 2.0 or 2.1)?"
        )
    return found[-1].strip()


def read_special_studies(path: Path) -> SpecialStudies:
    """The table of special studies in the official `section_parser.py`, or in a CSV of the same.

    The Python file is parsed for its two tables and never executed. The CSV has the columns study,
    section, start, end (a section, or a slice).

    Raises:
        BenchError: the tables are not there or not plain values.
    """
    if path.suffix == ".csv":
        return _special_from_csv(path)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tables = {
            target.id: ast.literal_eval(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
            and target.id in ("custom_section_names", "custom_indices")
        }
        return _special(tables["custom_section_names"], tables["custom_indices"])
    except (KeyError, SyntaxError, TypeError, ValueError) as error:
        raise BenchError(
            f"{path}: no tables custom_section_names and custom_indices of plain values. Expected "
            "txt/section_parser.py of github.com/MIT-LCP/mimic-cxr."
        ) from error


def _special(sections: Mapping[str, str], slices: Mapping[str, Any]) -> SpecialStudies:
    return SpecialStudies(
        {str(study): str(name) for study, name in sections.items()},
        {str(study): (int(pair[0]), int(pair[1])) for study, pair in slices.items()},
    )


def _special_from_csv(path: Path) -> SpecialStudies:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        named = {row["study"]: row["section"] for row in rows if row["section"]}
        cut = {row["study"]: (row["start"], row["end"]) for row in rows if not row["section"]}
        return _special(named, cut)
    except (KeyError, TypeError, ValueError) as error:
        raise BenchError(f"{path}: expected the columns study, section, start, end.") from error


def _raw_sections(text: str) -> list[Section]:
    match = _HEADING.search(text)
    if match is None:
        return [Section("full report", text, 0)]
    sections = [Section("preamble", text[: match.start(1)], 0)]
    while match is not None:
        start = match.end()
        line_end = text.find("\n", start)
        following = _HEADING.search(text, start if line_end == -1 else line_end)
        end = len(text) if following is None else following.start()
        sections.append(Section(_name(match.group(1)), text[start:end], start))
        match = following
    return sections


def _name(heading: str) -> str:
    words = heading.lower().strip()
    if words in _NAMES:
        return _NAMES[words]
    for word in _WORDS:
        if word in words:
            return word
    return "findings" if _VIEW_HEADING.search(words) else words


def _with_last_paragraph(sections: list[Section]) -> list[Section]:
    if not sections or _BLANK not in sections[-1].text:
        return sections
    last = sections[-1]
    first, _, rest = last.text.partition(_BLANK)
    head = Section(last.name, first, last.start)
    return [*sections[:-1], head, Section("last_paragraph", rest, last.start + len(first))]
