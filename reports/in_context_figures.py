"""Accuracy against the number of examples, their similarity, and by finding, as PNG and SVG."""

import math
from collections.abc import Sequence
from itertools import cycle

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.ablation_figures import INK, PAPER, SOFT, foot, literal, saved
from reports.figures import CONTROL, PALETTE
from reports.in_context import COPIED, DRAWN, FOUND, NONE, Line, Table
from reports.in_context_numbers import FINDING, NEARNESS, ROWS, Number, of
from reports.in_context_text import family_name, shown_as, title_of

MOST_FINDINGS = 16  # of a figure; the table has all
Drawn = dict[str, bytes]  # by kind of file


def figures_of(one: Table, numbers: Sequence[Number]) -> dict[str, Drawn]:
    """The figures of a table by analysis; one that has nothing to show is left out."""
    made = {
        "k": _by_k(one, of(numbers, ROWS)),
        "nearness": _by_nearness(one, of(numbers, NEARNESS)),
        "finding": _by_finding(one, of(numbers, FINDING)),
    }
    return {name: drawn for name, drawn in made.items() if drawn}


def _by_k(one: Table, numbers: Sequence[Number]) -> Drawn:
    families = [lines for lines in one.by_k() if len(lines) > 2]
    if not families:
        return {}
    by_line = {id(number.line): number for number in numbers}
    with matplotlib.rc_context(PAPER):
        canvas, axes = _canvas(one, (6.0, 3.6))
        for lines, color in zip(families, cycle(PALETTE), strict=False):
            points = [(line.setting.k, by_line[id(line)]) for line in lines]
            _line(axes, points, color, family_name(lines[-1]))
        for number in numbers:  # rows of one k, and the control, as marks beside the curves
            if number.line.setting.kind == DRAWN and not number.line.setting.swap:
                mark = [(number.line.setting.k, number)]
                _line(axes, mark, CONTROL, shown_as(number.line), style="s")
            if number.line.setting.kind == COPIED:
                axes.axhline(number.value, color=SOFT, ls=":", lw=1.2, label=number.line.name)
        axes.set_xlabel("examples in the context")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return _finished(canvas, axes)


def _line(
    axes: Axes, points: Sequence[tuple[float, Number]], color: str, label: str, style: str = "o-"
) -> None:
    """Values with intervals; a hollow mark where the row is extrapolation."""
    xs, ys = [x for x, _ in points], [number.value for _, number in points]
    mark = style[0]
    axes.plot(xs, ys, style[1:] or "none", color=color, lw=1.6, marker=mark, ms=5, label=label)
    for x, number in points:
        if math.isfinite(number.low):
            axes.vlines(x, number.low, number.high, color=color, lw=1.2, alpha=0.6)
        if number.line.extrapolated:
            axes.plot([x], [number.value], mark, color=color, mfc="white", ms=6, zorder=4)


def _by_nearness(one: Table, numbers: Sequence[Number]) -> Drawn:
    names = list(dict.fromkeys(number.about for number in numbers))
    if not names:
        return {}
    with matplotlib.rc_context(PAPER):
        columns = min(3, len(names))
        rows = -(-len(names) // columns)
        canvas = Figure(figsize=(2.6 + 3.0 * columns, 0.9 + 2.7 * rows), layout="constrained")
        panels = canvas.subplots(rows, columns, sharey=True, squeeze=False)
        for axes in panels.flat[len(names) :]:
            axes.set_visible(False)
        for axes, about in zip(panels.flat, names, strict=False):
            own = [number for number in numbers if number.about == about]
            for name in dict.fromkeys(number.line.name for number in own):
                points = [(x.nearest, x) for x in own if x.line.name == name]
                _line(axes, points, *_look(points[0][1].line, about))
            axes.set_title(literal(about), fontsize=9, loc="left")
            axes.set_xlabel("cosine of the nearest example")
            axes.xaxis.set_major_locator(MaxNLocator(4))
        panels[0][0].set_ylabel("mIoU")
        _titled(canvas, one)
        handles = {h.get_label(): h for a in panels.flat for h in a.get_legend_handles_labels()[0]}
        canvas.legend(handles=list(handles.values()), loc="outside right center")
        return saved(canvas)


def _look(line: Line, about: str) -> tuple[str, str, str]:
    if line.name == about:
        return PALETTE[0], "after its\nexamples", "o-"
    if line.setting.kind == COPIED:
        return SOFT, "nearest example's\nboxes copied", "^:"
    return INK, "without\nexamples", "s--"


def _by_finding(one: Table, numbers: Sequence[Number]) -> Drawn:
    findings = list(dict.fromkeys(number.group for number in numbers))[:MOST_FINDINGS]
    if not findings:
        return {}
    lines = {number.line.name: number.line for number in numbers}
    colors = cycle(PALETTE)
    with matplotlib.rc_context(PAPER):
        canvas, axes = _canvas(one, (6.4, 1.4 + 0.34 * len(findings)))
        step = 0.6 / max(len(lines), 1)
        for place, (name, line) in enumerate(lines.items()):
            own = {x.group: x for x in numbers if x.line.name == name}
            color = next(colors) if line.setting.kind == FOUND else CONTROL
            marks = {NONE: "s", DRAWN: "D", COPIED: "^"}
            lanes = [index - 0.3 + step * (place + 0.5) for index in range(len(findings))]
            values = [own[finding].value for finding in findings]
            mark = marks.get(line.setting.kind, "o")
            axes.plot(values, lanes, mark, color=color, ms=4.5, label=shown_as(line))
            for lane, finding in zip(lanes, findings, strict=True):
                if math.isfinite(own[finding].low):
                    axes.hlines(lane, own[finding].low, own[finding].high, color=color, lw=1)
        counts = {x.group: x.n for x in numbers}
        labels = [f"{literal(finding)} ({counts[finding]})" for finding in findings]
        axes.set_yticks(range(len(findings)), labels)
        axes.set_ylim(len(findings) - 0.5, -0.5)
        axes.set_xlabel("mIoU")
        axes.set_ylabel("")
        return _finished(canvas, axes)


def _canvas(one: Table, size: tuple[float, float]) -> tuple[Figure, Axes]:
    canvas = Figure(figsize=size, layout="constrained")
    axes = canvas.subplots()
    axes.set_ylabel("mIoU")
    _titled(canvas, one)
    return canvas, axes


def _titled(canvas: Figure, one: Table) -> None:
    canvas.suptitle(literal(title_of(one)), fontsize=10, x=0.01, ha="left")
    foot(canvas, phantom=one.key.phantom)


def _finished(canvas: Figure, axes: Axes) -> Drawn:
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return saved(canvas)
