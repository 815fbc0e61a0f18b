"""The overview and the costs of an ablation as LaTeX tables (booktabs)."""

import math
from typing import TYPE_CHECKING

from harness.ablation import FULL
from reports.ablation_text import overview_cell, plain, signed
from reports.ablation_training import UNDER_TRAINED
from reports.definitions import PHANTOM_SENTENCE
from reports.latex import escape

if TYPE_CHECKING:
    from reports.ablation import Found


def latex(found: "Found") -> str:
    r"""Two tables; they need ``\usepackage{booktabs}`` only."""
    return "\n".join([*_overview(found), "", *_costs(found)]) + "\n"


def _overview(found: "Found") -> list[str]:
    headlines = found.headlines()
    caption = [found.title + ": full minus arm, 95 % t intervals over seeds and patients."]
    caption += [UNDER_TRAINED.capitalize() + "."] * found.under_trained
    caption += [PHANTOM_SENTENCE] * found.phantom
    head = ["full minus", *(escape(one.label) for one in headlines)]
    rows = [
        [escape(arm), *(_sign(overview_cell(found.worth(arm, h))) for h in headlines)]
        for arm in found.arms
    ]
    return _table(" ".join(caption), head, rows)


def _costs(found: "Found") -> list[str]:
    rows = []
    for cost in found.costs:
        shown = cost.arm != FULL and math.isfinite(cost.more_time)
        more = f"{signed(100 * cost.more_time, 0)} %" if shown else "–"
        memory = f"{cost.peak_memory / 1e9:.2f}" if math.isfinite(cost.peak_memory) else "–"
        times = (plain(cost.step_seconds), plain(cost.step_processor))
        cells = (cost.arm, *times, more, memory)
        rows.append([_sign(cell) for cell in cells])
    head = ["arm", "s per step", "processor s", "full takes", "peak memory (GB)"]
    return _table("What each loss costs.", head, rows)


def _sign(text: str) -> str:
    return escape(text).replace("−", "$-$")


def _table(caption: str, head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [r"\begin{table}", r"\centering\small", rf"\caption{{{escape(caption)}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule"]
    lines += [" & ".join(head) + r" \\", r"\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return [*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
