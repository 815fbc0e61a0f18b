"""MIMIC-CXR reports: found in a folder or in the publisher's zip, and cut into a study's text."""

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from harness.datasets.files import find_file, require_file
from harness.errors import BenchError
from harness.sections import (
    NO_SPECIAL_STUDIES,
    SECTION_POLICY,
    SpecialStudies,
    named_sections,
    read_special_studies,
    special_text,
)
from harness.text import TEXT_POLICY, normalize, tidy

SPECIAL_FILES = ("special_studies.csv", "section_parser.py")
_MEMBER = re.compile(r"^(.*?)p\d{2}/p\d{8}/s\d{8}\.txt$")

ReadReport = Callable[[str, str], "str | None"]  # subject_id, study_id -> report, None if absent


@dataclass(frozen=True)
class StudyText:
    """The text of a study, or '' with the reason why it has none."""

    text: str
    reason: str = ""


@dataclass(frozen=True)
class Reports:
    """The reports of a tree with the rules by which they are cut."""

    read: ReadReport
    special: SpecialStudies
    policy: str

    def text(self, subject: str, study: str, cohort: str) -> StudyText:
        """The text of a study in a cohort.

        `frontal` is findings and impression, where neither is there the last paragraph;
        `impression` and `findings` are that section only. A special study has the text of its own
        rule, in `frontal` only.
        """
        report = self.read(subject, study)
        if report is None:
            return StudyText("", "no report file")
        try:
            text, reason = self._cut(report, f"s{study}", cohort)
        except BenchError as error:
            raise BenchError(f"patient {subject}: {error}") from error
        text = tidy(text)
        return StudyText(text) if normalize(text) else StudyText("", reason)

    def sections(self, subject: str, study: str) -> dict[str, str]:
        """The tidy findings and impression of a study, each where the general rules find it."""
        report = self.read(subject, study)
        if report is None or f"s{study}" in self.special:
            return {}
        return {name: tidy(text) for name, text in named_sections(report).items()}

    def _cut(self, report: str, study: str, cohort: str) -> tuple[str, str]:
        if study in self.special:
            if cohort != "frontal":
                return "", f"special study without a section {cohort}"
            return special_text(report, study, self.special), "special study without a text"
        found = named_sections(report)
        if cohort != "frontal":
            return found.get(cohort, ""), f"report without a section {cohort}"
        both = " ".join(found[name] for name in ("findings", "impression") if name in found)
        return both or found.get("last_paragraph", ""), "report without findings or impression"


def open_reports(top: Path, *, phantom: bool = False) -> Reports:
    """The reports of a `mimic-cxr` tree: ``files/``, ``mimic-cxr-reports/`` or the zip.

    Text files are read as UTF-8 with any line ends, as the official scripts do.

    Raises:
        BenchError: none of the three is there, or the zip is damaged.
    """
    table = find_file(top, *SPECIAL_FILES)
    special = read_special_studies(table) if table else NO_SPECIAL_STUDIES
    note = "" if phantom else f"; special studies: {'table' if table else 'general rules'}"
    return Reports(_reader(top), special, f"{TEXT_POLICY}; {SECTION_POLICY}{note}")


def _reader(top: Path) -> ReadReport:
    for folder in (top / "mimic-cxr-reports" / "files", top / "mimic-cxr-reports", top / "files"):
        if next(folder.glob("p[0-9][0-9]/p*/s*.txt"), None) is not None:
            return partial(_from_folder, folder)
    archive = require_file("mimic-cxr", top, "mimic-cxr-reports.zip")
    return partial(_from_zip, archive)


def report_path(subject: str, study: str) -> str:
    """The path of a report below ``files/``.

    >>> report_path("10000032", "50414267")
    'p10/p10000032/s50414267.txt'
    """
    return f"p{subject[:2]}/p{subject}/s{study}.txt"


@lru_cache(maxsize=8)  # training asks for a study's text and for its sections
def _from_folder(folder: Path, subject: str, study: str) -> str | None:
    try:
        data = (folder / report_path(subject, study)).read_bytes()
    except FileNotFoundError:
        return None
    return _decode(data)


@lru_cache(maxsize=8)
def _from_zip(archive: Path, subject: str, study: str) -> str | None:
    file, prefix = _open_zip(archive)
    try:
        return _decode(file.read(prefix + report_path(subject, study)))
    except KeyError:
        return None
    except zipfile.BadZipFile as error:
        raise BenchError(f"{archive}: damaged ({error}). Download it again.") from error


@lru_cache(maxsize=2)
def _open_zip(archive: Path) -> tuple[zipfile.ZipFile, str]:
    try:
        file = zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise BenchError(
            f"{archive}: truncated or damaged ({error}). Download it again."
        ) from error
    match = next((m for m in map(_MEMBER.match, file.namelist()) if m), None)
    if match is None:
        raise BenchError(
            f"{archive}: holds no report named like files/p10/p10000032/s50414267.txt."
        )
    return file, match.group(1)


def _decode(data: bytes) -> str:
    text = data.decode("utf-8", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
