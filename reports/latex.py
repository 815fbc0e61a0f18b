"""The sections as LaTeX: booktabs tables that compile without any other package."""

from collections.abc import Sequence

from harness.record import Score
from reports.definitions import DIRECTIONS, PHANTOM_SENTENCE, TASKS, definition
from reports.markdown import (
    ROLE_TITLES,
    Ranks,
    absence,
    counts_line,
    number,
    panel_title,
    primary_score,
)
from reports.tables import ColumnKey, Panel, Row, Section

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "→": r"$\rightarrow$",
    "–": "--",
    "·": r"$\cdot$",
    "≥": r"$\geq$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def escape(text: str) -> str:
    r"""The text with no character left that LaTeX would execute.

    >>> print(escape("50 % of a_b, --limit 8"))
    50 \% of a\_b, -{}-limit 8
    """
    plain = "".join(_SPECIAL.get(sign, sign) for sign in " ".join(text.split()).replace("--", "\0"))
    return plain.replace("\0", "-{}-")  # two hyphens would become a dash


def latex(sections: Sequence[Section], *, ranks: Ranks | None = None) -> str:
    r"""One `table` per panel; needs ``\usepackage{booktabs}`` only."""
    lines = [
        r"% Needs \usepackage{booktabs}. Intervals are 95 %, resampled by patient (in retrieval",
        "% the patients of the queries, the gallery fixed); there is none under 20 patients.",
        "",
    ]
    if any(section.private for section in sections):
        lines.insert(0, "% PRIVATE: made from data under a use agreement.")
    for section in sections:
        for panel in section.panels:
            first = panel is section.panels[0]
            lines += [*_table(panel, section, (ranks or {}) if first else {}), ""]
        lines += [f"% {escape(name)}: {escape(absence(r))}" for name, r in section.absent]
    return "\n".join(lines).rstrip() + "\n"


def _table(panel: Panel, section: Section, ranks: Ranks) -> list[str]:
    columns = panel.key_columns
    names = 2 + bool(ranks)
    head = ["rank"] * bool(ranks) + ["model", "exposure"]
    head += [escape(definition(metric).label) for _, metric in columns] + ["$n$"]
    lines = [r"\begin{table}", r"\centering\small", rf"\caption{{{_caption(panel, section)}}}"]
    lines += [rf"\begin{{tabular}}{{{'l' * names}{'r' * (len(columns) + 1)}}}", r"\toprule"]
    lines += _directions(columns, names)
    lines += [_line(head), r"\midrule"]
    shown = "model"
    for row in panel.rows:
        if row.role != shown:
            lines += [r"\midrule", _line([rf"\emph{{{ROLE_TITLES[row.role]}}}"])]
            shown = row.role
        lines.append(_row(row, panel, (section.key.task, ranks)))
    return [*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]


def _caption(panel: Panel, section: Section) -> str:
    key = section.key
    parts = [f"{TASKS.get(key.task, key.task)}: {section.title}.", counts_line(section) + "."]
    parts += [f"{panel_title(panel, section)}."] * bool(panel_title(panel, section))
    parts += [PHANTOM_SENTENCE] * key.phantom
    return escape(" ".join(part for part in parts if part != "."))


def _directions(columns: Sequence[ColumnKey], names: int) -> list[str]:
    found = list(dict.fromkeys(direction for direction, _ in columns))
    if not any(found):
        return []
    cells = []
    for direction in found:
        width = sum(column[0] == direction for column in columns)
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(DIRECTIONS.get(direction, ''))}}}")
    return [_line([*[""] * names, *cells, ""])]


def _row(row: Row, panel: Panel, what: tuple[str, Ranks]) -> str:
    task, ranks = what
    score = primary_score(row, panel, task)
    cells = [escape(ranks.get(row.record.key, "–"))] * bool(ranks)
    cells += [escape(row.model), row.record.exposure if row.role == "model" else "--"]
    cells += [
        _cell(row.cells.get(column), row.notes.get(column, "")) for column in panel.key_columns
    ]
    return _line([*cells, f"{score.n:,}" if score else "--"])


def _cell(score: Score | None, note: str) -> str:
    if score is None or score.value is None:
        return "not taught" if note.startswith("not taught") else "--"
    text = number(score.value, score.metric)
    if score.low is None or score.high is None:
        return text
    low, high = number(score.low, score.metric), number(score.high, score.metric)
    return rf"{text} {{\scriptsize [{low}, {high}]}}"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
