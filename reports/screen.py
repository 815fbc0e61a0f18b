"""The leaderboard on a terminal: narrow tables, the interval beneath each value."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from harness.record import RunRecord, Score
from reports.definitions import DEFAULT_GROUP, DIRECTIONS, PHANTOM_SENTENCE, TASKS, definition
from reports.markdown import Ranks, absence, count_text, counts_line, number
from reports.tables import ColumnKey, Panel, Row, Section, primary_column, sections

ACCENT = "cyan"
EXPOSURE_STYLES = {"external": "green", "internal": "yellow", "contaminated": "red"}
ROLE_STYLES = {"model": "bold", "control": "", "ceiling": "italic"}

MODEL_WIDTH = 26
CELL_WIDTH = 13  # "0.380–0.444" and a margin
FIXED_WIDTH = MODEL_WIDTH + 14 + 7  # model, exposure, n


def print_leaderboard(
    records: Iterable[RunRecord], console: Console, *, ranks: Ranks | None = None
) -> None:
    """Print the headline panel of every section, as many columns as the screen holds.

    Skipped models are one line at the end; failures stand under their table with the reason.
    """
    found = sections(records)
    for section in found:
        console.print(_section(section, console.width, ranks or {}))
        console.print()
    skipped = _skipped_line(found)
    if skipped:
        console.print(skipped, soft_wrap=True)


def _section(section: Section, width: int, ranks: Ranks) -> Group:
    key = section.key
    title = Text.assemble((TASKS.get(key.task, key.task), f"bold {ACCENT}"), ("  " + section.title))
    if key.phantom:
        title.append("  PHANTOM ", style="bold magenta")
    parts: list[object] = [title]
    if key.phantom:
        parts.append(Text(PHANTOM_SENTENCE, style="dim italic"))
    if counts_line(section):
        parts.append(Text(counts_line(section), style="dim"))
    if section.panels:
        parts += _panel(section.panels[0], section, width, ranks)
    parts += _absent(section)
    return Group(*parts)


def _shown_columns(panel: Panel, task: str, width: int) -> list[ColumnKey]:
    """The leading columns that fit, the primary one always among them, one panel's order kept."""
    room = max(1, (width - FIXED_WIDTH) // CELL_WIDTH)
    wanted = _by_weight(panel.key_columns, task)[:room]
    return [column for column in panel.key_columns if column in wanted]


def _by_weight(columns: Sequence[ColumnKey], task: str) -> list[ColumnKey]:
    """The primary metric in each direction first, so that a narrow screen still shows both."""
    primary = primary_column(task, columns)
    turns: dict[ColumnKey, int] = {}
    seen: dict[str, int] = {}
    for column in columns:
        turns[column] = seen[column[0]] = seen.get(column[0], -1) + 1
    first = primary[1] if primary else ""
    return sorted(columns, key=lambda c: (c[1] != first, c[1].endswith("/macro"), turns[c]))


def _panel(panel: Panel, section: Section, width: int, ranks: Ranks) -> list[object]:
    columns = _shown_columns(panel, section.key.task, width)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim", border_style="bright_black")
    if ranks:
        table.add_column("rank", justify="right")
    table.add_column("model", max_width=MODEL_WIDTH, overflow="fold", vertical="top")
    table.add_column("exposure", min_width=8)
    for column in columns:
        table.add_column(_heading(column), justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    shown = "model"
    for row in panel.rows:
        if row.role != shown:
            head = Text(f"\n{row.role}s", style=f"dim {ACCENT}")
            table.add_row(*[""] * bool(ranks), head)
            shown = row.role
        table.add_row(*_cells(row, columns, ranks))
    return [table, *_footer(panel, columns, section)]


def _heading(column: ColumnKey) -> Text:
    direction, metric = column
    label = definition(metric).label
    return Text(f"{DIRECTIONS.get(direction, direction)}\n{label}" if direction else label)


def _cells(row: Row, columns: Sequence[ColumnKey], ranks: Ranks) -> list[Text]:
    record = row.record
    cells = [Text(ranks.get(record.key, "–"))] * bool(ranks)
    cells.append(Text(row.model, style=ROLE_STYLES[row.role]))
    exposure = record.exposure if row.role == "model" else ""
    cells.append(Text(exposure, style=EXPOSURE_STYLES.get(exposure, "dim")))
    for column in columns:
        score, note = row.cells.get(column), row.notes.get(column, "")
        cells.append(_value(score, note, interval=row.role == "model"))
    score = next((row.cells[c] for c in columns if c in row.cells), None)
    cells.append(Text(f"{score.n:,}" if score else "–", style="dim"))
    return cells


def _value(score: Score | None, note: str, *, interval: bool) -> Text:
    if score is None or score.value is None:
        return Text("not taught" if note.startswith("not taught") else "–", style="dim")
    text = Text(number(score.value, score.metric))
    if interval and score.low is not None and score.high is not None:
        low, high = number(score.low, score.metric), number(score.high, score.metric)
        text.append(f"\n{low}–{high}", style="dim")
    return text


def _footer(panel: Panel, columns: Sequence[ColumnKey], section: Section) -> list[object]:
    lines = []
    counted = [
        f"{row.model} {count_text(row.record, 'malformed')}"
        for row in panel.rows
        if row.record.counts.get("malformed")
    ]
    if counted:
        lines.append("answers that could not be read, scored as wrong: " + ", ".join(counted))
    hidden = len(panel.columns) - len(columns)
    others = len(section.panels) - 1
    counts = ((hidden, "column"), (others, "panel"))
    more = [f"{n} more {name}{'s' * (n > 1)}" for n, name in counts if n]
    if more:
        named = "" if panel.group == DEFAULT_GROUP else f" (this one: {panel.group})"
        lines.append(f"{' and '.join(more)} in leaderboard.md{named}")
    return [Text(line, style="dim") for line in lines]


def _absent(section: Section) -> list[object]:
    names: dict[tuple[bool, str], list[str]] = {}  # what many rows lack is said once
    for name, record in section.absent:
        if record.status == "skipped" and not record.model.control:
            continue
        bad = record.status in ("failed", "timeout", "out_of_memory")
        names.setdefault((bad, absence(record)), []).append(name)
    return [_absent_line(found, why, bad) for (bad, why), found in names.items()]


def _absent_line(names: Sequence[str], why: str, bad: bool) -> Text:
    text = Text("✗ " if bad else "– ", style="red" if bad else "dim")
    text.append(", ".join(names), style="bold" if bad else "")
    return text.append(f"  {why}", style="" if bad else "dim")


def _skipped_line(found: Sequence[Section]) -> Text | None:
    names = sorted(
        {
            name
            for section in found
            for name, record in section.absent
            if record.status == "skipped" and not record.model.control
        }
    )
    if not names:
        return None
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    plural = "model" if len(names) == 1 else "models"
    return Text(f"{len(names)} {plural} skipped: {listed}. leaderboard.csv says why.", style="dim")
