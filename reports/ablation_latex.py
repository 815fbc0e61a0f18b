"""The overview and the costs of an ablation as LaTeX tables (booktabs)."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reports.ablation_cost_text import more_time, spread_text
from reports.ablation_text import overview_cell, plain
from reports.ablation_training import UNDER_TRAINED, Cost
from reports.definitions import PHANTOM_SENTENCE
from reports.latex import escape

if TYPE_CHECKING:
    from reports.ablation import Found, Headline

_LINES = 36  # of an overview; more do not fit a page below its caption


def latex(found: "Found") -> str:
    r"""The tables, each within an article's 345 pt; they need ``\usepackage{booktabs}`` only."""
    lines: list[str] = []
    each = max(1, _LINES // (len(found.arms) + 1))
    headlines = found.headlines()
    parts = [headlines[start : start + each] for start in range(0, len(headlines), each)] or [[]]
    for number, part in enumerate(parts, 1):
        which = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        lines += [*_overview(found, part, which), ""]
    return "\n".join([*lines, *_costs(found)]) + "\n"


def _overview(found: "Found", headlines: "Sequence[Headline]", which: str) -> list[str]:
    """One line per arm below each number: side by side they would be wider than a page."""
    caption = [f"{found.title}{which}: full minus arm, 95 % t intervals over seeds and patients."]
    caption += [UNDER_TRAINED.capitalize() + "."] * found.under_trained
    caption += [f"Failed and left out: {len(found.failures)}."] * bool(found.failures)
    caption += [PHANTOM_SENTENCE] * found.phantom
    rows: list[list[str]] = []
    for headline in headlines:
        rows.append([rf"\multicolumn{{2}}{{@{{}}l@{{}}}}{{\emph{{{escape(headline.label)}}}}}"])
        rows += [
            [rf"\quad {escape(arm)}", _sign(overview_cell(found.worth(arm, headline)))]
            for arm in found.arms
        ]
    return _table(" ".join(caption), ["full minus", r"difference [95 \%]"], rows)


def _costs(found: "Found") -> list[str]:
    caption = (
        "What each loss costs per step: seconds and processor seconds, what is compared with its "
        "range over seeds, and peak memory."
    )
    rows = [[_sign(cell) for cell in _cost_cells(cost)] for cost in found.costs]
    return _table(caption, ["arm", "s", "processor s", "full takes", "GB"], rows)


def _cost_cells(cost: Cost) -> list[str]:
    times = [
        spread_text(one) if one is cost.judged else plain(one.mean)
        for one in (cost.step_seconds, cost.step_processor)
    ]
    memory = f"{cost.peak_memory / 1e9:.2f}" if math.isfinite(cost.peak_memory) else "–"
    return [cost.arm, *times, more_time(cost), memory]


def _sign(text: str) -> str:
    return escape(text).replace("−", "$-$")


def _table(caption: str, head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [r"\begin{table}", r"\centering\small", rf"\caption{{{escape(caption)}}}"]
    lines += [rf"\begin{{tabular}}{{@{{}}l{'r' * (len(head) - 1)}@{{}}}}", r"\toprule"]
    lines += [" & ".join(head) + r" \\", r"\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return [*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
