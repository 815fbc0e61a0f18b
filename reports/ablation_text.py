"""The Markdown of an ablation: overview, every number, sub-groups, shares of the steps, cost."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.ablation import SHARES, ArmRecord
from harness.metrics.bootstrap import MIN_PATIENTS
from reports.ablation_training import LEARNED, RISE, UNDER_TRAINED
from reports.ablation_worth import BETTER, NOT_TAUGHT, WORSE, Worth
from reports.definitions import PHANTOM_SENTENCE, definition
from reports.markdown import escape

if TYPE_CHECKING:
    from reports.ablation import Found

MINUS = "−"
FIGURES = {
    "forest": "Paired differences, full minus the arm, at the last step; bars are 95 % t intervals "
    "over seeds and patients, hollow marks have none.",
    "curves": "Learning curves: lines over training batches, dashed over validation; one line per "
    "arm, the mean over its seeds.",
}
READING = (
    "**How to read it.** An arm is the full configuration without a loss or with one setting "
    "changed, with the same batches and steps, and from the same initial weights as long as all "
    "sizes stay: a part of another size, and those built after it, draw other initial values. "
    "Differences are *full minus arm*: "
    "positive means that what the arm lacks is worth something (for an error rate, negative). "
    "Intervals are 95 % t intervals over training seeds and test patients (Satterthwaite). "
    "*p (these checkpoints)* swaps patients between the trained models: other seeds are not in it. "
    "*Detectable* is the smallest true difference found with 80 % power by as many seeds and "
    "patients. An arm cannot be scored on what it was never taught: `not taught`, never a "
    "difference; what such a loss does to the image encoder is the *frozen encoder* measure, one "
    "identical small grounding decoder trained on every arm."
)


@dataclass(frozen=True)
class Drawn:
    """A picture beside the report: its file below the folder and what it shows."""

    file: str
    caption: str


def signed(value: float | None, places: int = 3) -> str:
    """A number with its sign.

    >>> signed(0.0123), signed(-0.5), signed(None)
    ('+0.012', '−0.500', '–')
    """
    if value is None or math.isnan(value):
        return "–"
    return f"{'+' if value >= 0 else MINUS}{abs(value):.{places}f}"


def plain(value: float | None, places: int = 3) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{places}f}"


def overview_cell(one: Worth | None) -> str:
    """The difference with its interval, or the word that stands in its place."""
    places = definition(one.question.metric).places if one else 3
    if one is None:
        return "–"
    if one.status == "not_taught":
        return NOT_TAUGHT
    if one.difference is None:
        return one.status
    found = one.interval
    if found is None or not math.isfinite(found.low):
        return signed(one.difference, places)
    ends = f"[{signed(found.low, places)}, {signed(found.high, places)}]"
    return f"{signed(one.difference, places)} {ends}"


def under_trained_line(found: "Found") -> str:
    """How many arms still rise, and by how much the first of them."""
    rising = [f"{arm} ({one.reason})" for arm, one in found.curves.items() if not one.flat]
    where = f"{len(rising)} of {len(found.curves)} arms"
    return f"The validation curve is not flat in {where}, first {'; '.join(rising[:1])}."


def markdown(
    found: "Found", *, figures: Sequence[str] = (), pictures: Mapping[str, Sequence[Drawn]]
) -> str:
    """The whole page."""
    from reports.ablation_cost_text import cost_section
    from reports.ablation_pull import pull_section

    lines = [f"# {escape(found.title)}", ""]
    lines += [f"*{PHANTOM_SENTENCE}*", ""] if found.phantom else []
    lines += _state(found)
    lines += ["## Overview", "", *_overview(found), ""]
    for name in figures:
        lines += [f"![{name}](figures/{name}.png)", "", f"*{FIGURES[name]}*", ""]
    lines += [READING, ""]
    lines += _numbers(found) + _groups(found) + _shares(found)
    lines += pull_section(found) + cost_section(found)
    lines += _pictures(pictures) + _arms(found)
    return "\n".join(lines).rstrip() + "\n"


def _state(found: "Found") -> list[str]:
    seeds = sorted({r.seed for r in found.records})
    steps = sorted({r.training.steps for r in found.records if r.training is not None})
    said = f"{len(seeds)} seed{'s' * (len(seeds) != 1)} ({', '.join(map(str, seeds))})"
    lines = [f"{said}, {', '.join(f'{n:,}' for n in steps) or 'no'} steps each.", ""]
    if found.under_trained:
        lines += [f"**{UNDER_TRAINED}.** {escape(under_trained_line(found))}", ""]
    if found.failures:
        lines += ["**Failed, and in no difference:**", ""]
        lines += [*(f"- {escape(note)}" for note in found.failures), ""]
    if len(seeds) == 1:
        lines += ["**One seed: no interval.** What differs may be the luck of this seed.", ""]
    return lines


def _warned(shown: Iterable[Worth | None]) -> list[str]:
    """What stands over a table if only the directions in it may be read."""
    rising = any(one is not None and one.under_trained for one in shown)
    return [f"*{UNDER_TRAINED}*", ""] if rising else []


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """A Markdown table, `left` columns of words and the rest numbers."""
    line = ["---"] * left + ["---:"] * (len(head) - left)
    return [f"| {' | '.join(cells)} |" for cells in (head, line, *rows)]


def _overview(found: "Found") -> list[str]:
    headlines = found.headlines()
    head = ["full minus", *(escape(one.label) for one in headlines)]
    rows = [
        [f"`{arm}`", *(_bold(found.worth(arm, headline)) for headline in headlines)]
        for arm in found.arms
    ]
    shown = [found.worth(arm, headline) for arm in found.arms for headline in headlines]
    return [*_warned(shown), *table(head, rows)]


def _bold(one: Worth | None) -> str:
    text = overview_cell(one)
    return f"**{text}**" if one is not None and one.verdict in (BETTER, WORSE) else text


def _numbers(found: "Found") -> list[str]:
    from reports.ablation import place_name, question_name

    lines = []
    for place in dict.fromkeys(w.place for w in found.worths if w.place.share == 100):
        rows = [w for w in found.worths if w.place == place and w.group == "all"]
        lines += [f"## {escape(place_name(place))}", ""]
        lines += _warned(rows)
        head = ["arm", "metric", "full", "arm's", "full − arm [95 %]"]
        head += ["p (these checkpoints)", "detectable", "seeds", "patients", "verdict"]
        body = [[f"`{w.arm}`", question_name(w.question), *_cells(w)] for w in rows]
        lines += [*table(head, body, left=2), ""]
        if any(w.adjusted is not None for w in rows):
            lines += ["p of the primary metric after Holm over the arms; others exploratory.", ""]
    return lines


def _cells(one: Worth) -> list[str]:
    p = "–" if one.p is None else f"{one.p:.4f}"
    if one.adjusted is not None:
        p = f"{one.adjusted:.4f} (Holm; {p})"
    places = definition(one.question.metric).places
    detectable = plain(one.interval.detectable, places) if one.interval else "–"
    taught = NOT_TAUGHT if one.status == "not_taught" else "–"
    values = [plain(v, places) if v is not None else taught for v in (one.full, one.without)]
    counts = [str(one.seeds), str(one.patients) if one.patients else "–"]
    return [*values, _bold(one), p, detectable, *counts, escape(one.verdict)]


def _groups(found: "Found") -> list[str]:
    from reports.ablation import place_name, question_name

    lines: list[str] = []
    for place in dict.fromkeys(w.place for w in found.worths):
        rows = [w for w in found.worths if w.place == place and w.group != "all"]
        rows = [w for w in rows if w.patients >= MIN_PATIENTS]
        primary = next((w.question for w in found.worths if w.place == place and w.primary), None)
        rows = [w for w in rows if w.question == primary]
        if not rows or primary is None:
            continue
        arms = list(dict.fromkeys(w.arm for w in rows))
        by = {(w.arm, w.group): w for w in rows}
        groups = list(dict.fromkeys(w.group for w in rows))
        title = f"{place_name(place)}: {question_name(primary)} by sub-group"
        body = [[escape(g), *(_counted(by.get((arm, g))) for arm in arms)] for g in groups]
        lines += [
            f"### {escape(title)}",
            "",
            *_warned(rows),
            *table(["group", *(f"`{a}`" for a in arms)], body),
            "",
        ]
    if lines:
        said = f"Exploratory, at least {MIN_PATIENTS} patients; all others are in `ablation.csv`."
        lines = ["## Sub-groups", "", said, "", *lines]
    return lines


def _counted(one: Worth | None) -> str:
    return "–" if one is None else f"{overview_cell(one)} ({one.patients} patients)"


def _shares(found: "Found") -> list[str]:
    shares = [s for s in SHARES if found.headlines(s)]
    if len(shares) < 2:
        return []
    rows = []
    shown: list[Worth | None] = []
    for arm in found.arms:
        for headline in found.headlines(shares[0]):
            at = {
                h.place.share: h for s in shares for h in found.headlines(s) if _same(h, headline)
            }
            cells = [found.worth(arm, at[s]) if s in at else None for s in shares]
            shown += cells
            rows.append([f"`{arm}`", escape(headline.label), *map(overview_cell, cells)])
    head = ["arm", "full minus arm in", *(f"{s} % of the steps" for s in shares)]
    return ["## At shares of the steps", "", *_warned(shown), *table(head, rows, left=2), ""]


def _same(one: object, other: object) -> bool:
    named = ("measure", "task", "dataset", "split", "cohort", "text_policy")
    places = (one.place, other.place)  # type: ignore[attr-defined]
    same = all(getattr(places[0], n) == getattr(places[1], n) for n in named)
    return same and (one.direction, one.metric) == (other.direction, other.metric)  # type: ignore[attr-defined]


def _pictures(pictures: Mapping[str, Sequence[Drawn]]) -> list[str]:
    lines = ["## Samples won and lost", ""] if any(pictures.values()) else []
    for title, drawn in pictures.items():
        if drawn:
            lines += [f"### {escape(title)}", ""]
            lines += [
                f"![{escape(one.caption)}]({one.file})\n\n{escape(one.caption)}\n" for one in drawn
            ]
    return lines


def _arms(found: "Found") -> list[str]:
    head = ["arm", "seed", "differs from full in", "status", "steps", "validation curve"]
    lines = ["## Arms", "", *table(head, [_arm(r, found) for r in found.records], left=6), ""]
    lines += [
        f"A curve is flat if every validation score rose by at least {LEARNED} above chance and at "
        f"most {100 * RISE:.0f} % of the rise came in the second half of the steps. The learning "
        "rate falls to nothing in every run, so flat means that this schedule was long enough, not "
        "that a longer one would end in the same place.",
        "",
    ]
    commands = dict.fromkeys(r.command for r in found.records if r.command)
    return [*lines, *(f"    {command}" for command in commands)]


def _arm(record: ArmRecord, found: "Found") -> list[str]:
    parts = [f"{key}: {one} → {other}" for key, (one, other) in record.difference.items()]
    state = record.status if record.status == "ok" else f"{record.status}: {record.reason}"
    curve = found.curves.get(record.title)
    shape = "–" if curve is None else "flat" if curve.flat else curve.reason
    steps = str(record.training.steps) if record.training else "–"
    return [
        f"`{record.arm}`",
        str(record.seed),
        escape(", ".join(parts)) or "–",
        escape(state),
        steps,
        escape(shape),
    ]
