"""MIMIC-style reports: sections, headings and line breaks as the official splitter meets them.

Source: MIT-LCP/mimic-cxr txt/section_parser.py for what counts as a heading (newline, one space,
capitals, colon); layout as in `knowledge/data.md` §1a. No sentence is taken from a real report.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.phantom.language.english import pick
from harness.phantom.language.mention import (
    FULL,
    SHORT,
    Mention,
    change_since,
    content,
    masked,
    mention,
)
from harness.phantom.language.normal import DEVICE, NO_CHANGE, denials, normal_text
from harness.phantom.language.sentences_en import sentence
from harness.phantom.plan import DrawnFinding, FindingPlan, StudyPlan
from harness.phantom.streams import stream
from harness.phantom.vocabulary import FINDINGS

WIDTH = 79
Sections = Literal["both", "impression", "findings", "neither"]
_SECTIONS: tuple[Sections, ...] = ("both", "impression", "findings", "neither")
_SECTION_SHARES = (0.86, 0.06, 0.06, 0.02)
DEVICE_SAID = 0.6
CHANGE_SAID = 0.5

_INDICATIONS = (
    "shortness of breath",
    "chest pain",
    "cough and fever",
    "fall",
    "preoperative assessment",
    "dyspnea",
    "follow up",
    "altered mental status",
)
_QUESTIONS = ("acute process", "infection", "interval change", "acute cardiopulmonary disease")


@dataclass(frozen=True)
class Report:
    """One study's report and what it says.

    `answers` are the findings sentences with the mention each puts into words (None: a denial or
    a normal sentence); `mentions` is what the text as a whole says of each finding.
    """

    text: str
    findings: str
    impression: str
    mentions: tuple[Mention, ...]
    answers: tuple[tuple[str, Mention | None], ...]
    denied: bool
    compared: bool

    @property
    def masked(self) -> str:
        """Canonical words without side, zone and number."""
        return masked(self.mentions)

    @property
    def content(self) -> str:
        """Canonical words with locations."""
        return content(self.mentions)


def write_report(
    plan: StudyPlan, drawn: Sequence[DrawnFinding], earlier: Sequence[FindingPlan] | None
) -> Report:
    """The report of a study: only visible findings are mentioned.

    Args:
        plan: the study.
        drawn: what became of its findings in its first film.
        earlier: the visible findings of the prior study, None where there is no prior.
    """
    rng = stream(plan.seed, "words", "mimic")
    seen = [d for d in drawn if d.visible]
    device = [DEVICE] if plan.devices and rng.random() < DEVICE_SAID else []
    kind = _SECTIONS[int(np.searchsorted(np.cumsum(_SECTION_SHARES), rng.random() * 0.999))]
    if not seen:
        findings, impression = normal_text(rng, device)
        compared = earlier is not None and rng.random() < 0.15
        findings = f"{findings} {NO_CHANGE}" if compared else findings
        text = _lay_out(plan, kind, findings, impression)
        return Report(text, findings, impression, (), ((findings, None),), True, bool(compared))
    mentions = [mention(d, FULL, rng, _change(d.plan, earlier, rng)) for d in seen]
    absent = set(FINDINGS) - {f.name for f in plan.findings}
    said: list[tuple[str, Mention | None]] = [(sentence(m, rng), m) for m in mentions]
    said += [(text, None) for text in denials(rng, absent, int(rng.integers(1, 4)))]
    said = [said[k] for k in rng.permutation(len(said))] + [(text, None) for text in device]
    brief = [mention(d, SHORT, rng, _change(d.plan, earlier, rng)) for d in seen]
    findings = " ".join(text for text, _ in said)
    impression = " ".join(sentence(m, rng) for m in brief)
    return Report(
        text=_lay_out(plan, kind, findings, impression),
        findings=findings,
        impression=impression,
        mentions=tuple(brief if kind == "impression" else mentions),
        answers=tuple(said),
        denied=kind != "impression" and len(said) > len(mentions) + len(device),
        compared=any(m.change for m in (*mentions, *brief)),
    )


def _change(
    plan: FindingPlan, earlier: Sequence[FindingPlan] | None, rng: np.random.Generator
) -> Literal["", "stable", "improving", "worsening", "new", "resolved"]:
    said = rng.random() < CHANGE_SAID
    return change_since(plan, earlier) if earlier is not None and said else ""


def _lay_out(plan: StudyPlan, kind: Sections, findings: str, impression: str) -> str:
    # Its own stream: the frame of a report must tell nothing of its findings.
    rng = stream(plan.seed, "layout")
    two = "LATERAL" in plan.views
    person = "woman" if plan.patient.sex == "F" else "man"
    exam = "CHEST (PA AND LAT)" if two else f"CHEST ({plan.views[0]})"
    reason = f"___ year old {person} with {pick(rng, _INDICATIONS)}  // {pick(rng, _QUESTIONS)}?"
    prior = "Chest radiograph ___." if plan.prior_index is not None else "None."
    parts = [
        (pick(rng, ("EXAMINATION", "EXAM")), exam),
        (pick(rng, ("INDICATION", "HISTORY", "REASON FOR EXAM")), reason),
        ("COMPARISON", prior),
    ]
    body = {
        "both": [("FINDINGS", findings), ("IMPRESSION", impression)],
        "impression": [("IMPRESSION", impression)],
        "findings": [("FINDINGS", findings)],
        "neither": [("", findings)],
    }[kind]
    lines = [" " * 33 + "FINAL REPORT"]
    for heading, text in parts + body:
        lines += [*_section(heading, text), " "]
    return "\n".join(lines[:-1]) + "\n"


def _section(heading: str, text: str) -> list[str]:
    wrap = textwrap.TextWrapper(
        width=WIDTH, initial_indent=" ", subsequent_indent=" ", break_on_hyphens=False
    )
    if heading in ("FINDINGS", "IMPRESSION"):
        return [f" {heading}: ", " ", *wrap.wrap(text)]
    return wrap.wrap(f"{heading}:  {text}" if heading else text)
