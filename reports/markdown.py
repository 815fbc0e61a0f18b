"""The sections as Markdown: wide tables, controls and ceilings apart, every reason said once."""

import math
import re
from collections.abc import Mapping, Sequence

from harness.record import RunRecord, Score
from reports.definitions import (
    DEFAULT_GROUP,
    DIRECTIONS,
    PHANTOM_SENTENCE,
    RELEVANCES,
    STATUSES,
    TASKS,
    definition,
)
from reports.tables import ColumnKey, Panel, Row, Section, Subgroups, primary_column

ROLE_TITLES = {"model": "Models", "control": "Controls", "ceiling": "Ceilings"}
GROUPS = {
    "fixed": "findings that anatomy places",
    "kind=anatomy": "anatomy",
    "kind=device": "devices",
    "kind=finding_weak": "findings with weak boxes",
    "no comparison": "movable findings, without sentences that compare",
}
Ranks = Mapping[str, str]  # record key -> "1", "2–4"; models only


def number(value: float | None, metric: str) -> str:
    """One value as printed: three decimals, or one for ranks; the CSV keeps every digit.

    >>> number(0.41237, "recall@5"), number(12.0, "median_rank"), number(None, "miou")
    ('0.412', '12.0', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.{definition(metric).places}f}"


def with_interval(score: Score) -> str:
    """A value and its interval: ``0.412 [0.380, 0.444]``."""
    text = number(score.value, score.metric)
    if score.value is None or score.low is None or score.high is None:
        return text
    return f"{text} [{number(score.low, score.metric)}, {number(score.high, score.metric)}]"


def escape(text: str) -> str:
    r"""Text that can neither close a table cell nor become markup or HTML.

    >>> escape("a|b <i>")
    'a\\|b &lt;i&gt;'
    """
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for sign in "\\`*_[]|":
        flat = flat.replace(sign, f"\\{sign}")
    return flat


def column_title(column: ColumnKey) -> str:
    """``Image→Text R@5``, or the metric alone where there is no direction."""
    direction, metric = column
    return f"{DIRECTIONS.get(direction, direction)} {definition(metric).label}".strip()


def panel_title(panel: Panel, section: Section) -> str:
    """What sets a panel apart: relevance and group."""
    parts = []
    if panel.relevance:
        parts.append(f"relevance {panel.relevance}: {RELEVANCES.get(panel.relevance, '')}")
    if panel.group != DEFAULT_GROUP:
        parts.append(GROUPS.get(panel.group, f"group {panel.group}"))
    elif section.key.task == "grounding" and len(section.panels) > 1:
        parts.append("movable findings")
    return "; ".join(parts).strip(" :")


def counts_line(section: Section) -> str:
    """How much was asked: samples, patients, pool, and what was left out and why."""
    data = next((r.dataset for r in section.records if r.dataset.n_used), None)
    if data is None:
        return ""
    parts = [f"n = {data.n_used:,} samples of {data.patients:,} patients"]
    parts += _pools(section)
    left_out = sum(data.excluded.values())
    why = ", ".join(f"{reason}: {count:,}" for reason, count in sorted(data.excluded.items()))
    parts.append(f"{left_out:,} of {data.n_total:,} excluded ({why})" if left_out else "0 excluded")
    parts += [f"licence {data.licence}"] * bool(data.licence)
    return " · ".join(parts)


def _pools(section: Section) -> list[str]:
    """How many texts and images were ranked in the headline panel."""
    found = {}
    for row in section.panels[0].rows if section.panels else ():
        found.update({direction: s.pool for (direction, _), s in row.cells.items() if s.pool})
    kinds = {"image_to_text": "texts", "text_to_image": "images"}
    sizes = [f"{found[d]:,} {kind}" for d, kind in kinds.items() if d in found]
    return [f"ranked {' and '.join(sizes)}"] if sizes else []


def count_names(rows: Sequence[Row]) -> list[str]:
    """The counts that any row has, `malformed` first, in a fixed order."""
    names = {name for row in rows for name in row.record.counts}
    first = ("malformed", "empty", "tied")
    return sorted(names, key=lambda n: (first.index(n) if n in first else len(first), n))


def count_text(record: RunRecord, name: str) -> str:
    """A count as printed: shares (`tied`, `*_share`) as percent, the rest as whole numbers."""
    if name not in record.counts:
        return "–"
    value = record.counts[name]
    if name == "tied" or name.endswith("share"):
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}"


def primary_score(row: Row, panel: Panel, task: str) -> Score | None:
    """The score a row is sorted by, or any of its scores where it lacks that one."""
    column = primary_column(task, panel.columns)
    return row.cells.get(column) if column in row.cells else next(iter(row.cells.values()), None)


def publishable(command: str) -> str:
    """The command without the folders in which somebody keeps data.

    >>> publishable("bench run own --data manifest=/home/me/x --models a")
    'bench run own --data manifest=... --models a'
    """
    return re.sub(r"(--data[ =]['\"]?[\w-]+)=(?:'[^']*'|\S+)", r"\1=...", command)


def absence(record: RunRecord) -> str:
    """Why a cell has no number: ``failed: non-finite embedding``."""
    reason = record.reason or next(iter(record.not_scored.values()), "")
    word = STATUSES.get(record.status, record.status)
    return f"{word}: {reason}" if reason and not reason.startswith(word) else reason or word


def markdown(sections: Sequence[Section], *, ranks: Ranks | None = None) -> str:
    """The whole leaderboard as Markdown."""
    lines = ["# Leaderboard", ""]
    if any(s.private for s in sections):
        lines += ["**Private: holds text or pixels of data under a use agreement.**", ""]
    lines += [
        "Intervals are 95 %, resampled by patient (in retrieval the patients of the queries, the "
        "gallery fixed); none under 20 patients. `leaderboard.csv` holds every metric in full.",
        "Rows marked `internal`, `contaminated` or `unknown` are not external evidence.",
        "",
    ]
    for section in sections:
        lines += _section(section, ranks or {})
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Section, ranks: Ranks) -> list[str]:
    key = section.key
    badge = "PHANTOM · " if key.phantom else ""
    lines = [f"## {badge}{TASKS.get(key.task, key.task)}: {escape(section.title)}", ""]
    lines += [f"*{PHANTOM_SENTENCE}*", ""] if key.phantom else []
    lines += [escape(counts_line(section)), ""] if counts_line(section) else []
    for panel in section.panels:
        title = panel_title(panel, section)
        lines += [f"### {escape(title)}", ""] if title else []
        lines += _panel(panel, section, ranks if panel is section.panels[0] else {})
    for subgroups in section.subgroups:
        lines += _subgroups(subgroups)
    if section.absent:
        lines += ["Without a number:", ""]
        lines += [f"- `{_code(name)}` {escape(absence(record))}" for name, record in section.absent]
        lines.append("")
    return lines


def _subgroups(found: Subgroups) -> list[str]:
    lines = [f"### {column_title(found.column)} by {escape(found.attribute)}", ""]
    sizes = {value: score.n for _, cells in found.rows for value, score in cells.items()}
    heads = [f"{escape(value)} (n = {sizes.get(value, 0):,})" for value in found.values]
    lines += [_line(["model", *heads]), _line(["---"] + ["---:"] * len(heads))]
    for row, cells in found.rows:
        texts = [with_interval(cells[v]) if v in cells else "–" for v in found.values]
        lines.append(_line([escape(row.model), *texts]))
    return [*lines, ""]


def _code(name: str) -> str:
    return " ".join(name.split()).replace("`", "'")


def _panel(panel: Panel, section: Section, ranks: Ranks) -> list[str]:
    counts = count_names(panel.rows) if panel is section.panels[0] else []
    head = ["rank"] * bool(ranks) + ["model", "exposure"]
    names = len(head)
    head += [column_title(c) for c in panel.key_columns] + ["n", "pool", *counts]
    lines = [_line(head), _line(["---"] * names + ["---:"] * (len(head) - names))]
    reasons: list[str] = []
    shown = ""
    for row in panel.rows:
        if row.role != shown and (shown or row.role != "model"):
            lines.append(_line([f"*{ROLE_TITLES[row.role]}*"] + [""] * (len(head) - 1)))
        shown = row.role
        cells = [_cell(row, column, reasons) for column in panel.key_columns]
        score = primary_score(row, panel, section.key.task)
        tail = [f"{score.n:,}", f"{score.pool:,}" if score.pool else "–"] if score else ["–", "–"]
        first = [ranks.get(row.record.key, "–")] * bool(ranks)
        first += [escape(row.model), row.record.exposure if row.role == "model" else "–"]
        lines.append(_line([*first, *cells, *tail, *(count_text(row.record, n) for n in counts)]))
    notes = [f"{index}. {escape(reason)}" for index, reason in enumerate(reasons, 1)]
    return [*lines, "", *notes, *([""] if notes else [])]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(row: Row, column: ColumnKey, reasons: list[str]) -> str:
    score = row.cells.get(column)
    if score is not None and score.value is not None:
        return with_interval(score)
    why = row.notes.get(column, "")
    if why.startswith("not taught"):
        return "not taught"
    if not why:
        return "–"
    if why not in reasons:
        reasons.append(why)
    return f"–<sup>{reasons.index(why) + 1}</sup>"
