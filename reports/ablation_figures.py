"""The forest plot and the learning curves of an ablation, as PNG and SVG with stable bytes."""

import io
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from textwrap import wrap
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from harness.ablation import FULL, ArmRecord
from reports.ablation_training import UNDER_TRAINED, is_score
from reports.ablation_worth import BETTER, NOT_TAUGHT, WORSE, Worth
from reports.definitions import DIRECTIONS, PHANTOM_SENTENCE, definition
from reports.figures import CONTROL, PALETTE, STYLE

if TYPE_CHECKING:
    from reports.ablation import Found

INK, SOFT, _LINE = "#16191d", "#5b646f", "#d9dde2"
_COLORS = {"#010101": INK, "#020202": SOFT, "#030303": _LINE}  # of the page's theme, on paper
_WHITE = dict.fromkeys(("axes.facecolor", "figure.facecolor", "savefig.facecolor"), "white")
PAPER = {k: _COLORS.get(v, v) if isinstance(v, str) else v for k, v in STYLE.items()} | _WHITE
_COLUMNS = 3  # panels in a row


def forest(found: "Found") -> dict[str, bytes]:
    """Differences with intervals, one panel per number of the overview, one lane per arm."""
    headlines, arms = found.headlines(), found.arms
    if not headlines or not arms:
        return {}
    with matplotlib.rc_context(PAPER):
        columns = min(_COLUMNS, len(headlines))
        rows = -(-len(headlines) // columns)
        size = (2.0 + 3.3 * columns, rows * (1.3 + 0.36 * len(arms)) + 0.5)
        canvas = Figure(figsize=size, layout="constrained")
        panels = canvas.subplots(rows, columns, sharey=True, squeeze=False)
        for axes, headline in zip(panels.flat, headlines, strict=False):
            _lanes(axes, [found.worth(arm, headline) for arm in arms])
            axes.set_title(headline.label.replace(": ", "\n"), fontsize=9, loc="left")
            if axes.lines[1:]:
                axes.set_xlabel(_ways(headline.metric), fontsize=8)
            else:  # not taught anywhere: there is no scale
                axes.set_xticks([])
        for axes in panels.flat[len(headlines) :]:
            axes.set_visible(False)
        _warned(canvas, found)
        panels[0][0].set_yticks(range(len(arms)), [literal(arm) for arm in arms])
        panels[0][0].set_ylim(len(arms) - 0.4, -0.6)
        foot(canvas, FOREST_FOOT, phantom=found.phantom)
        return saved(canvas)


def _ways(metric: str) -> str:
    """Which side of zero speaks for which arm."""
    ends = ("arm better", "full better")
    left, right = ends if definition(metric).higher_is_better else ends[::-1]
    return f"← {left}    {right} →"


def literal(text: str) -> str:
    """Text that is not read as a formula."""
    return text.replace("$", r"\$")


def foot(canvas: Figure, *said: str, phantom: bool) -> None:
    """What stands below a figure, in lines no wider than it."""
    wide = int(15 * canvas.get_figwidth())
    lines = [line for text in (*said, *[PHANTOM_SENTENCE] * phantom) for line in wrap(text, wide)]
    canvas.supxlabel("\n".join(lines), fontsize=8, color=SOFT)


FOREST_FOOT = (
    "Full minus arm; 95 % t intervals over seeds and patients, hollow marks have none. Blue: the "
    "full arm is better, orange: the arm is, grey: not told apart or under-trained."
)


def _warned(canvas: Figure, found: "Found") -> None:
    """Say above everything else that only directions may be read, if that is so."""
    if found.under_trained:
        canvas.suptitle(
            UNDER_TRAINED, fontsize=10, color=PALETTE[5], fontweight="bold", x=0.01, ha="left"
        )


def _lanes(axes: Axes, lanes: Sequence[Worth | None]) -> None:
    axes.axvline(0, color=SOFT, lw=1)
    reach = [0.005]
    for lane, one in enumerate(lanes):
        if one is None or one.difference is None:
            continue
        color = _color(one)
        found = one.interval
        whole = found is not None and math.isfinite(found.low)
        if found is not None and whole:
            axes.hlines(lane, found.low, found.high, color=color, lw=2)
            reach += [abs(found.low), abs(found.high)]
        face = color if whole else "white"
        axes.plot([one.difference], [lane], "o", mfc=face, mec=color, ms=6, zorder=3)
        reach.append(abs(one.difference))
    for lane, one in enumerate(lanes):
        word = _word(one)
        if word:
            axes.text(0, lane, word, ha="center", va="center", fontsize=8, color=SOFT,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    axes.set_xlim(-1.15 * max(reach), 1.15 * max(reach))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y", visible=False)


def _color(one: Worth) -> str:
    verdict = one.verdict
    return {BETTER: PALETTE[0], WORSE: PALETTE[1]}.get(verdict, CONTROL)


def _word(one: Worth | None) -> str:
    if one is None:
        return "–"
    if one.difference is not None:
        return ""
    return NOT_TAUGHT if one.status == "not_taught" else one.status


def curves(found: "Found") -> dict[str, bytes]:
    """Losses over the steps, training solid and validation dashed, and validation scores."""
    trained = [r for r in found.records if r.training is not None]
    names = _names(trained)
    if not names:
        return {}
    colors = dict(zip(dict.fromkeys(r.arm for r in trained), cycle((INK, *PALETTE)), strict=False))
    with matplotlib.rc_context(PAPER):
        columns = min(_COLUMNS, len(names))
        rows = -(-len(names) // columns)
        canvas = Figure(figsize=(0.6 + 3.4 * columns, 2.6 * rows + 0.6), layout="constrained")
        panels = canvas.subplots(rows, columns, squeeze=False)
        for axes, name in zip(panels.flat, names, strict=False):
            _panel(axes, name, trained, colors)
        for axes in panels.flat[len(names) :]:
            axes.set_visible(False)
        handles = [Line2D([], [], color=color, label=literal(arm)) for arm, color in colors.items()]
        handles += [
            Line2D([], [], color=SOFT, ls=style, label=text)
            for style, text in (("-", "training"), ("--", "validation"))
        ]
        canvas.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
        return saved(canvas)


def _names(trained: Sequence[ArmRecord]) -> list[str]:
    found: dict[str, None] = {}
    for record in trained:
        for row in (*record.training.curve, *record.training.validation):  # type: ignore[union-attr]
            found |= dict.fromkeys(k for k in row if k.startswith("loss/") or is_score(k))
    return sorted(found, key=lambda name: (not name.startswith("loss/"), name))


def _panel(axes: Axes, name: str, trained: Sequence[ArmRecord], colors: Mapping[str, str]) -> None:
    for arm, color in colors.items():
        records = [r for r in trained if r.arm == arm]
        solid = [r.training.curve for r in records]  # type: ignore[union-attr]
        dashed = [r.training.validation for r in records]  # type: ignore[union-attr]
        for rows, style in ((solid, "-"), (dashed, "--")):
            steps, values = mean_curve(rows, name)
            if len(steps):
                mark = "o" if len(steps) == 1 else ""
                width = 1.8 if arm == FULL else 1.2
                axes.plot(steps, values, style, color=color, lw=width, marker=mark, ms=3)
    axes.set_title(_curve_title(name), fontsize=9, loc="left")
    axes.set_xlabel("step")


def _curve_title(name: str) -> str:
    first, _, metric = name.partition("/")
    if first == "loss":
        return f"loss: {metric.replace('_', ' ')}"
    return f"validation: {DIRECTIONS.get(first, first)} {definition(metric).label}"


def mean_curve(
    seeds: Iterable[Sequence[Mapping[str, float]]], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Steps and the mean over seeds of an entry, at steps that every seed with it has."""
    at: dict[int, list[float]] = defaultdict(list)
    count = 0
    for rows in seeds:
        own = {int(row["step"]): row[name] for row in rows if name in row}
        count += bool(own)
        for step, value in own.items():
            at[step].append(value)
    steps = [step for step in sorted(at) if len(at[step]) == count]
    return np.array(steps), np.array([float(np.mean(at[step])) for step in steps])


def saved(canvas: Figure) -> dict[str, bytes]:
    """The drawing by kind of file, the same bytes for the same drawing."""
    out = {}
    for kind, nothing in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        buffer = io.BytesIO()
        canvas.savefig(buffer, format=kind, dpi=150, metadata=nothing)
        out[kind] = buffer.getvalue()
    return out
