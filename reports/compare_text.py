"""A comparison as a table on screen, as Markdown, as CSV and as a page."""

from collections.abc import Sequence

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.metrics.bootstrap import MIN_PATIENTS
from reports.compare import Comparison, Line
from reports.definitions import DIRECTIONS, PHANTOM_SENTENCE, TASKS, definition
from reports.leaderboard import template_environment
from reports.markdown import escape

HEADS = ("metric", "A", "B", "A - B", "95 % interval", "p", "A only / B only", "detectable", "n")
STYLES = {"better": "green", "worse": "red", "not told apart": "dim", "no interval": "dim"}
NOTES = (
    "A - B with a 95 % interval over patients (in retrieval of the queries, the gallery fixed), "
    "both resampled together; there is none under 20 patients. p: permutation of a "
    "patient's outcomes, for these checkpoints; Holm-corrected on the primary metric (marked), "
    "exploratory elsewhere. A only / B only: queries that one hits and the other misses. "
    "detectable: the smallest true difference found with 80 % power in a sample like this one."
)


def heading(item: Comparison) -> str:
    """Who is compared on what."""
    data, task = item.a.record.dataset, item.a.record.task
    parts = [TASKS.get(task, task), data.name, data.split]
    parts += [f"cohort {data.cohort}"] * bool(data.cohort)
    parts += [f"text {item.a.record.text_policy}"] * (task == "retrieval")
    return " · ".join(parts)


def names(item: Comparison) -> tuple[str, str]:
    """The two models' names, with the folder where both have the same."""
    a, b = item.a.record.model.name, item.b.record.model.name
    if a != b:
        return a, b
    homes = [side.runs.homes[side.record.key].name for side in (item.a, item.b)]
    return f"{a} ({homes[0]})", f"{b} ({homes[1]})"


def sentence(item: Comparison) -> str:
    """The answer in words, about the primary metric."""
    a, b = names(item)
    line = item.lines[0]
    what = label(line)
    if line.verdict == "no interval":
        few = line.difference.patients < MIN_PATIENTS
        why = f"fewer than {MIN_PATIENTS} patients" if few else "it has no interval"
        return f"{what}: {why}, so nothing is said about {a} and {b}."
    if line.verdict == "not told apart":
        return f"{a} and {b} cannot be told apart on {what}."
    winner, loser = (a, b) if line.verdict == "better" else (b, a)
    return f"{winner} beats {loser} on {what}."


def label(line: Line) -> str:
    """The metric with its direction, and the group where it is not all samples."""
    way = DIRECTIONS.get(line.question.direction, line.question.direction)
    return f"{way} {definition(line.question.metric).label}".strip()


def cells(line: Line, *, first: str = "") -> list[str]:
    """The texts of a row, in the order of `HEADS`."""
    found, places = line.difference, definition(line.question.metric).places
    interval = "–"
    if found.low is not None and found.high is not None:
        interval = f"[{found.low:+.{places}f}, {found.high:+.{places}f}]"
    flips = f"{line.flips.only_a} / {line.flips.only_b}" if line.flips else "–"
    detectable = "–" if found.detectable is None else f"{found.detectable:.{places}f}"
    return [
        first or label(line),
        f"{line.a:.{places}f}",
        f"{line.b:.{places}f}",
        f"{found.value:+.{places}f}",
        interval,
        p_text(line),
        flips,
        detectable,
        f"{found.n:,}",
    ]


def p_text(line: Line) -> str:
    """The p value, never printed as 0; Holm's where there is one."""
    if line.adjusted is not None:
        return f"{_p(line.adjusted)} (Holm)"
    return "–" if line.difference.p is None else _p(line.difference.p)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def print_comparisons(found: Sequence[Comparison], console: Console) -> None:
    """All comparisons as tables, the answer in words first."""
    for item in found:
        console.print(Text(heading(item), style="bold cyan"))
        a, b = names(item)
        console.print(Text(f"A = {a}, B = {b}"))
        if item.a.record.dataset.phantom:
            console.print(Text(PHANTOM_SENTENCE, style="dim italic"))
        console.print(Text(sentence(item), style=f"bold {STYLES[item.lines[0].verdict]}"))
        console.print(_table(item.lines, ""))
        shown = [line for line in item.groups if line.difference.low is not None]
        if shown:
            console.print(Text(f"{label(shown[0])} by group", style="bold"))
            console.print(_table(shown, "group"))
        small = len(item.groups) - len(shown)
        if small:
            text = f"{small} groups of fewer than 20 patients are left to --out"
            console.print(Text(text, style="dim"))
        for note in item.notes:
            console.print(Text(note, style="dim"))
    console.print(Text(NOTES, style="dim"))


def _table(lines: Sequence[Line], first: str) -> Table:
    """The rows as a narrow table, the interval beneath its difference."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim", collapse_padding=True)
    table.add_column(first or HEADS[0], min_width=12, overflow="fold")
    for head in ("A", "B", "A - B", "p", "A only /\nB only", "detect-\nable", "n"):
        table.add_column(head, justify="right", no_wrap=True)
    for line in lines:
        texts = cells(line, first=line.group if first else "")
        difference = Text(texts[3], style=STYLES[line.verdict])
        difference.append(f"\n{texts[4]}" if texts[4] != "–" else "", style="dim")
        plain = [Text(text.replace(" (Holm)", "\nHolm")) for text in texts]
        table.add_row(*plain[:3], difference, *plain[5:])
    return table


def comparison_markdown(found: Sequence[Comparison]) -> str:
    """All comparisons as Markdown."""
    lines = ["# Comparison", "", escape(NOTES), ""]
    for item in found:
        a, b = names(item)
        lines += [f"## {escape(heading(item))}", "", f"A = {escape(a)}, B = {escape(b)}.", ""]
        lines += [f"*{PHANTOM_SENTENCE}*", ""] * item.a.record.dataset.phantom
        lines += [f"**{escape(sentence(item))}**", ""]
        for first, rows in (("metric", item.lines), ("group", item.groups)):
            if rows:
                lines += [_row([first, *HEADS[1:]]), _row(["---"] + ["---:"] * (len(HEADS) - 1))]
                named = [line.group if first == "group" else "" for line in rows]
                shown = (cells(line, first=n) for line, n in zip(rows, named, strict=True))
                lines += [_row([escape(text) for text in texts]) for texts in shown] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def comparison_frame(found: Sequence[Comparison]) -> pd.DataFrame:
    """One row per number at full precision."""
    return pd.DataFrame(
        [_record(item, line) for item in found for line in item.lines + item.groups]
    )


def _record(item: Comparison, line: Line) -> dict[str, object]:
    data, diff = item.a.record.dataset, line.difference
    return {
        "model_a": names(item)[0],
        "model_b": names(item)[1],
        "task": item.a.record.task,
        "dataset": data.name,
        "phantom": data.phantom,
        "cohort": data.cohort,
        "split": data.split,
        "text_policy": item.a.record.text_policy,
        "direction": line.question.direction,
        "relevance": line.question.relevance,
        "group": line.group,
        "metric": line.question.metric,
        "a": line.a,
        "b": line.b,
        "difference": diff.value,
        "low": diff.low,
        "high": diff.high,
        "p": diff.p,
        "p_holm": line.adjusted,
        "a_only": line.flips.only_a if line.flips else None,
        "b_only": line.flips.only_b if line.flips else None,
        "detectable": diff.detectable,
        "n": diff.n,
        "patients": diff.patients,
        "verdict": line.verdict,
    }


def comparison_html(found: Sequence[Comparison]) -> str:
    """All comparisons as one page without a script."""
    return (
        template_environment()
        .get_template("compare.html.j2")
        .render(
            found=found,
            heads=HEADS,
            notes=NOTES,
            heading=heading,
            names=names,
            sentence=sentence,
            cells=cells,
            label=label,
        )
    )
