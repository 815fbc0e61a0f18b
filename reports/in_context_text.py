"""What examples add, as Markdown and as a tidy table."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.metrics.bootstrap import MIN_PATIENTS
from reports.ablation_text import plain, signed, table
from reports.definitions import PHANTOM_SENTENCE
from reports.in_context import COPIED, DRAWN, FOUND, NONE, Line, Table
from reports.in_context_numbers import CLAIM, FINDING, NEARNESS, ROWS, Number, of
from reports.markdown import escape

if TYPE_CHECKING:
    import pandas as pd

RIVALS = (*CLAIM, "unswapped")
BEYOND = "extrapolation"
READING = (
    "**How to read it.** All numbers are mIoU over boxed movable findings, higher is better, with "
    "95 % intervals over patients. *− none*, *− random*, *− copying* are paired differences on the "
    "same phrases, bold where the interval excludes zero: against the same grounder without "
    "examples, after as many random ones (the mean of its draws, which are not resampled), and "
    "against the boxes of the nearest example (of the same retriever, else of the best copying "
    "row). A claim about examples must beat all three. *− unswapped* is what exchanging the "
    "examples' images or boxes for those of others does: below zero where examples are read. "
    f"*{BEYOND.capitalize()}*: more examples than any conversation of the grounder's training held."
)
FIGURES = {
    "k": "mIoU against the number of examples (0: none); hollow marks are extrapolation.",
    "nearness": "mIoU by fifths of the phrases, cut by how similar the nearest example was; beside "
    "it the same phrases without examples, and with the nearest example's boxes copied.",
    "finding": "mIoU by finding, the most frequent first.",
}
COLUMNS = (
    *("dataset", "phantom", "cohort", "split", "analysis", "about", "group", "nearest_similarity"),
    *("model", "draws", "k", "retriever", "similarity", "filter", "swap", "extrapolation"),
    *("miou", "low", "high", "n", "patients", "against", "against_model"),
    *("difference", "difference_low", "difference_high", "verdict"),
)


def title_of(one: Table) -> str:
    """Dataset, cohort and split."""
    cohort = one.key.cohort and f"cohort {one.key.cohort}"
    return ", ".join(part for part in (one.key.dataset, cohort, one.key.split) if part)


def shown_as(line: Line) -> str:
    """The row's name, and over how many draws it is a mean."""
    return f"{line.name} (mean of {line.draws} draws)" if line.draws > 1 else line.name


def with_interval(number: Number) -> str:
    """The value and its interval, if there is one."""
    if not math.isfinite(number.low):
        return plain(number.value)
    return f"{plain(number.value)} [{plain(number.low)}, {plain(number.high)}]"


def difference_cell(number: Number, rival: str) -> str:
    """The paired difference with its interval, bold where it excludes zero."""
    found = number.apart.get(rival)
    if found is None:
        return "–"
    if found.low is None or found.high is None:
        return signed(found.value)
    text = f"{signed(found.value)} [{signed(found.low)}, {signed(found.high)}]"
    return f"**{text}**" if found.excludes_zero else text


def markdown(
    found: Sequence[tuple[Table, Sequence[Number]]], figures: Sequence[Mapping[str, str]]
) -> str:
    """The whole page; `figures` per table: kind to file below the folder."""
    lines = ["# What solved examples add", ""]
    lines += [f"*{PHANTOM_SENTENCE}*", ""] if any(t.key.phantom for t, _ in found) else []
    lines += [READING, ""]
    for (one, numbers), drawn in zip(found, figures, strict=True):
        lines += [f"## {escape(title_of(one))}", "", *_rows(of(numbers, ROWS))]
        lines += _by_k(one, of(numbers, ROWS)) + _picture("k", drawn)
        lines += _by_nearness(of(numbers, NEARNESS)) + _picture("nearness", drawn)
        lines += _by_finding(of(numbers, FINDING)) + _picture("finding", drawn)
    return "\n".join(lines).rstrip() + "\n"


def _picture(kind: str, drawn: Mapping[str, str]) -> list[str]:
    if kind not in drawn:
        return []
    return [f"![{kind}]({drawn[kind]})", "", f"*{FIGURES[kind]}*", ""]


def _rows(numbers: Sequence[Number]) -> list[str]:
    columns = [name for name in RIVALS if any(name in number.apart for number in numbers)]
    head = ["row", "k", "mIoU", *(f"− {name}" for name in columns), "says"]
    body = [
        [
            escape(shown_as(number.line)),
            _k(number.line),
            with_interval(number),
            *(difference_cell(number, name) for name in columns),
            escape(number.verdict) or "–",
        ]
        for number in numbers
    ]
    n, patients = (max(getattr(x, name) for x in numbers) for name in ("n", "patients"))
    lines = [f"{n} phrases of {patients} patients.", "", *table(head, body), ""]
    if patients < MIN_PATIENTS:
        lines += [f"Fewer than {MIN_PATIENTS} patients: no interval, and nothing is claimed.", ""]
    retrieved = [x for x in numbers if x.line.setting.kind == FOUND and not x.line.setting.swap]
    standing = [x.line.name for x in retrieved if x.stands]
    said = f"stands for {', '.join(standing)}" if standing else "stands for no row"
    return [*lines, f"**The claim that retrieved examples help {escape(said)}.**", ""]


def _k(line: Line) -> str:
    if line.setting.kind == NONE:
        return "0"
    k = "1" if line.setting.kind == COPIED else str(line.setting.k)
    return f"{k} ({BEYOND})" if line.extrapolated else k


def family_name(line: Line) -> str:
    """What the rows of a curve over k share."""
    setting = line.setting
    if setting.kind == DRAWN:
        name = setting.retriever
    else:
        name = f"{setting.retriever}, by {setting.similarity}"
    return name if setting.filter == "any" else f"{name}, {setting.filter}"


def _by_k(one: Table, numbers: Sequence[Number]) -> list[str]:
    by_line = {id(number.line): number for number in numbers}
    families = [lines for lines in one.by_k() if len(lines) > 2]
    if not families:
        return []
    head = ["examples by", "k", "mIoU", "− none"]
    body = []
    for lines in families:
        for line in lines:
            number = by_line[id(line)]
            cells = [_k(line), with_interval(number), difference_cell(number, "none")]
            body.append([escape(family_name(lines[-1])), *cells])
    return ["### Against the number of examples", "", *table(head, body), ""]


def _by_nearness(numbers: Sequence[Number]) -> list[str]:
    lines: list[str] = []
    for about in dict.fromkeys(number.about for number in numbers):
        own = [x for x in numbers if x.about == about]
        names = list(dict.fromkeys(x.line.name for x in own))
        by = {(x.group, x.line.name): x for x in own}
        head = ["fifth", "similarity", "phrases", *map(escape, names), "− none", "− copying"]
        body = []
        for group in dict.fromkeys(x.group for x in own):
            first = by[group, about]
            values = [with_interval(by[group, name]) for name in names]
            rivals = [difference_cell(first, name) for name in ("none", "copying")]
            body.append([group, plain(first.nearest), str(first.n), *values, *rivals])
        lines += [f"#### {escape(about)}", "", *table(head, body), ""]
    said = "Fifths of the phrases by the cosine of their nearest example; exploratory."
    return (
        ["### Against the similarity of the nearest example", "", said, "", *lines] if lines else []
    )


def _by_finding(numbers: Sequence[Number]) -> list[str]:
    if not numbers:
        return []
    names = list(dict.fromkeys(x.line.name for x in numbers))
    by = {(x.group, x.line.name): x for x in numbers}
    first_rival: dict[str, str] = {}  # of each retrieved row the random one, else none
    for number in numbers:
        if number.line.setting.kind == FOUND and number.apart:
            first_rival[number.line.name] = "random" if "random" in number.apart else "none"
    head = ["finding", "phrases", "patients", *map(escape, names)]
    head += [f"{escape(name)} − {rival}" for name, rival in first_rival.items()]
    body = []
    for group in dict.fromkeys(x.group for x in numbers):
        first = by[group, names[0]]
        values = [plain(by[group, name].value) for name in names]
        apart = [difference_cell(by[group, name], rival) for name, rival in first_rival.items()]
        body.append([escape(group), str(first.n), str(first.patients), *values, *apart])
    said = f"Differences have an interval from {MIN_PATIENTS} patients on; exploratory."
    return ["### Per finding", "", said, "", *table(head, body), ""]


def frame(found: Sequence[tuple[Table, Sequence[Number]]]) -> "pd.DataFrame":
    """The tidy table: one row per number and rival."""
    import pandas as pd

    rows = [row for one, numbers in found for number in numbers for row in _records(one, number)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _records(one: Table, number: Number) -> Iterator[dict[str, Any]]:
    line, setting = number.line, number.line.setting
    row: dict[str, Any] = {
        name: getattr(one.key, name) for name in ("dataset", "phantom", "cohort", "split")
    }
    row |= {
        name: getattr(setting, name) for name in ("k", "retriever", "similarity", "filter", "swap")
    }
    row |= {"model": line.name, "draws": line.draws, "extrapolation": line.extrapolated}
    row |= {name: getattr(number, name) for name in ("analysis", "about", "group", "low", "high")}
    row |= {"miou": number.value, "n": number.n, "patients": number.patients}
    row |= {"nearest_similarity": number.nearest, "verdict": number.verdict}
    for rival, apart in number.apart.items() or {"": None}.items():
        said = {"against": rival, "against_model": number.against.get(rival, "")}
        if apart is not None:
            said |= {"difference": apart.value, "difference_low": apart.low}  # type: ignore[dict-item]
            said |= {"difference_high": apart.high}  # type: ignore[dict-item]
        yield row | said
