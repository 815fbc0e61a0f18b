"""What each arm of an ablation costs, in Markdown; the cells serve the LaTeX table, too."""

import math
from typing import TYPE_CHECKING

from harness.ablation import FULL
from reports.ablation_text import plain, signed, table
from reports.ablation_training import Cost, Spread

if TYPE_CHECKING:
    from reports.ablation import Found

NOTE = (
    "Inside steps only; seconds are the mean over seeds with its range. *Full takes* compares "
    "processor seconds (on a GPU seconds). Other work on the machine is in these, too, because "
    "caches and memory are shared: a percentage is given only where the ranges of the full arm and "
    "of the other, over two seeds each or more, do not overlap. Seeds that ran beside other work "
    "than those of the other arm can still move it. No memory is given for an arm that was stopped "
    "on the way and of which only the last session was measured."
)


def cost_section(found: "Found") -> list[str]:
    """The section with one row per arm."""
    head = ["arm", "s per step", "processor s per step", "full takes"]
    head += ["peak memory", "full takes", "seeds"]
    kinds = ", ".join(sorted({c.memory for c in found.costs} - {""})) or "–"
    rows = [_row(cost) for cost in found.costs]
    note = f"Memory: {kinds}. {NOTE}"
    return ["## What each loss costs", "", *table(head, rows), "", note, ""]


def _row(cost: Cost) -> list[str]:
    more = cost.arm != FULL and math.isfinite(cost.more_memory)
    return [
        f"`{cost.arm}`",
        spread_text(cost.step_seconds),
        spread_text(cost.step_processor),
        more_time(cost),
        f"{cost.peak_memory / 1e9:.2f} GB" if math.isfinite(cost.peak_memory) else "–",
        f"{signed(cost.more_memory / 1e9, 2)} GB" if more else "–",
        str(cost.seeds),
    ]


def more_time(cost: Cost) -> str:
    """How much longer a step of the full arm takes, or a dash where that can not be told.

    >>> one = Spread(1.0, 0.9, 1.1, 3)
    >>> more_time(Cost("without-x", 3, one, one, 1e9, "resident", more_time=0.4))
    '+40 %'
    """
    known = cost.arm != FULL and math.isfinite(cost.more_time)
    return f"{signed(100 * cost.more_time, 0)} %" if known else "–"


def spread_text(one: Spread) -> str:
    """The mean with its range over seeds; the value alone of one seed.

    >>> spread_text(Spread(1.107, 0.956, 1.231, 3)), spread_text(Spread(1.1, 1.1, 1.1, 1))
    ('1.107 [0.956, 1.231]', '1.100')
    """
    span = f" [{plain(one.low)}, {plain(one.high)}]" if one.seeds > 1 else ""
    return f"{plain(one.mean)}{span}"
