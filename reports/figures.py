"""Figures as SVG text with the same bytes for the same data; colors follow the page's theme."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import matplotlib
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

# Drawn in these, then written as variables of the page, so that one drawing fits light and dark.
INK, SOFT, LINE = "#010101", "#020202", "#030303"
THEME = {INK: "var(--ink,#16191d)", SOFT: "var(--soft,#5b646f)", LINE: "var(--line,#d9dde2)"}

# Mid-lightness hues that hold against white and near-black.
PALETTE = ("#3f7fd9", "#e0862b", "#2fa37c", "#c4569a", "#8a72d8", "#b9574e", "#4f9fb0", "#a18a36")
CONTROL = "#8a939e"

STYLE = {
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "text.color": INK,
    "xtick.color": SOFT,
    "xtick.labelsize": 9,
    "ytick.color": SOFT,
    "ytick.labelsize": 9,
}


@dataclass(frozen=True)
class SpeedPoint:
    """One model: samples per second while asked, and its value with interval."""

    model: str
    per_second: float
    value: float
    low: float | None = None
    high: float | None = None


def speed_accuracy(points: Sequence[SpeedPoint], label: str) -> str:
    """Value against speed on a logarithmic axis; the line joins what nothing beats in both."""
    ordered = sorted(points, key=lambda p: (p.per_second, p.value, p.model))
    with _styled():
        canvas, axes = _canvas(5.4, 3.4)
        front = pareto_front(ordered)
        line = [(p.per_second, p.value) for p in front]
        axes.plot(*zip(*line, strict=True), color=LINE, linewidth=2, zorder=1)
        colors = dict(zip([p.model for p in points], cycle(PALETTE), strict=False))
        for index, point in enumerate(ordered):
            color = colors[point.model]
            if point.low is not None and point.high is not None:
                axes.vlines(point.per_second, point.low, point.high, color=color, alpha=0.5, lw=2)
            axes.scatter([point.per_second], [point.value], color=color, s=34, zorder=3)
            place = (7, 4) if index % 2 else (7, -10)
            at = (point.per_second, point.value)
            axes.annotate(_plain(point.model), at, place, textcoords="offset points", fontsize=9)
        _log_axis(axes)
        axes.margins(x=0.25, y=0.15)
        axes.set_xlabel("samples per second (log)")
        axes.set_ylabel(label)
        return _svg(canvas)


def pareto_front(points: Sequence[SpeedPoint]) -> list[SpeedPoint]:
    """The points that no other beats in speed and value, slowest first."""
    kept: list[SpeedPoint] = []
    for point in sorted(points, key=lambda p: (-p.per_second, -p.value, p.model)):
        if not kept or point.value > kept[-1].value:
            kept.append(point)
    return kept[::-1]


def recall_curves(
    ranks: Mapping[str, Mapping[str, np.ndarray]], chance: Mapping[str, Mapping[int, float]]
) -> str:
    """Recall against K, one panel per direction.

    Args:
        ranks: panel title -> model -> (n,) ranks, 1 is best.
        chance: panel title -> K -> recall of guessing.
    """
    with _styled():
        canvas = Canvas(figsize=(9.4, 3.5), layout="constrained")
        panels = canvas.subplots(1, len(ranks), sharey=True, squeeze=False)[0]
        for axes, (title, models) in zip(panels, ranks.items(), strict=True):
            deepest = min(100, max((int(r.max(initial=1)) for r in models.values()), default=1))
            depths = np.arange(1, max(2, deepest) + 1)
            for index, (model, found) in enumerate(models.items()):
                share = np.searchsorted(np.sort(found), depths, side="right") / max(len(found), 1)
                color = PALETTE[index % len(PALETTE)]
                seaborn.lineplot(
                    x=depths, y=share, ax=axes, color=color, label=_plain(model), lw=1.8
                )
            if chance.get(title):
                known = sorted(chance[title].items())
                axes.plot(*zip(*known, strict=True), "--", color=CONTROL, lw=1.2, label="chance")
            _log_axis(axes)
            axes.set_xlim(1, depths[-1])
            axes.set_ylim(0, None)
            axes.set_xlabel("K (log)")
            axes.set_title(title, fontsize=10, color=INK, loc="left")
            axes.legend(loc="upper left")
        panels[0].set_ylabel("share of queries found in the top K")
        return _svg(canvas)


def iou_histograms(ious: Mapping[str, np.ndarray]) -> str:
    """How the IoU of painted unions is spread over phrases: one row of bars per model."""
    with _styled():
        canvas = Canvas(figsize=(5.4, 0.4 + 0.85 * len(ious)), layout="constrained")
        panels = canvas.subplots(len(ious), 1, sharex=True, squeeze=False)[:, 0]
        for index, (axes, (model, values)) in enumerate(zip(panels, ious.items(), strict=True)):
            color = PALETTE[index % len(PALETTE)]
            bins = np.linspace(0, 1, 21)
            seaborn.histplot(
                values, bins=bins, stat="proportion", color=color, ax=axes, edgecolor="none"
            )
            axes.axvline(float(np.mean(values)), color=INK, lw=1.2)
            axes.set_ylabel("")
            axes.set_yticks([])
            axes.grid(False)
            axes.spines["left"].set_visible(False)
            axes.set_title(_plain(model), fontsize=9, loc="left", color=INK, pad=2)
        panels[-1].set_xlabel("IoU of painted areas (line: mean)")
        return _svg(canvas)


def finding_heatmap(table: pd.DataFrame, label: str) -> str:
    """Models (rows) by finding (columns), the value written in each cell; NaN left empty."""
    rows, columns = table.shape
    table = table.rename(index=_plain, columns=_plain)
    with _styled():
        size = (max(5.4, 1.9 + 0.62 * columns), 1.5 + 0.36 * rows)
        canvas, axes = _canvas(*size)
        seaborn.heatmap(
            table,
            ax=axes,
            annot=True,
            fmt=".2f",
            annot_kws={"fontsize": 8.5},
            cmap=seaborn.light_palette("#3f7fd9", as_cmap=True),
            cbar=False,  # the values stand in the cells; a bar would be a raster image
            vmin=0,
            linewidths=1,
            linecolor="none",
        )
        axes.grid(False)
        axes.set_title(label, fontsize=9, loc="right", color=SOFT)
        axes.set_xlabel("")
        axes.set_ylabel("")
        axes.tick_params(length=0)
        axes.set_xticks(axes.get_xticks(), axes.get_xticklabels(), rotation=35, ha="right")
        return _svg(canvas)


def _log_axis(axes: Axes) -> None:
    """A logarithmic x axis whose ticks are plain numbers: 1, 2, 5, 10, ..."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _plain(text: str) -> str:
    """A name that is neither read as a formula nor, by its first letter, left out of a legend."""
    safe = text.replace("$", r"\$")
    return f"\u2009{safe}" if safe.startswith("_") else safe


def _styled() -> "matplotlib.RcParams":
    return matplotlib.rc_context(STYLE)


def _canvas(width: float, height: float) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(width, height), layout="constrained")
    return canvas, canvas.subplots()


def _svg(canvas: Canvas) -> str:
    """The drawing as an `svg` element without a date, its colors those of the page."""
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    canvas.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg)', _without_size, text, count=1)
    for color, variable in THEME.items():
        text = text.replace(color, variable)
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
    text = re.sub(r"(font: [\d.]+px )[^;\"]+", rf"\g<1>{font}", text)
    return _at_reading_size(text)


def _without_size(found: re.Match[str]) -> str:
    return found.group(1) or found.group(2)


def _at_reading_size(svg: str) -> str:
    """The drawing no larger than its letters need: 10 points in it are 13 pixels on the page."""
    found = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    width = round(float(found.group(1)) * 1.3) if found else 560
    return svg.replace("<svg", f'<svg style="max-width:{width}px"', 1)
