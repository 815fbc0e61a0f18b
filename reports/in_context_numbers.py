"""The numbers of an in-context table: by row, by nearness of the examples, by finding."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.atomic import write_bytes, write_text
from harness.metrics.compare import Difference
from harness.metrics.metric import scored
from harness.store import safe_name
from reports.csv_text import csv_text
from reports.in_context import FIFTHS, FOUND, Line, Table, in_context_tables
from reports.runs import DatasetSource, Runs

ROWS, NEARNESS, FINDING = "rows", "nearness", "finding"
ENDS = {1: " (furthest)", FIFTHS: " (nearest)"}
CLAIM = ("none", "random", "copying")  # all of which a claim about examples must beat


@dataclass(frozen=True)
class Number:
    """mIoU of one row on some phrases, and how far it lies from what it must beat there.

    `about`: the row whose nearest examples divide the phrases; `nearest` their mean similarity.
    """

    analysis: str
    line: Line
    group: str
    value: float
    low: float
    high: float
    n: int
    patients: int
    about: str = ""
    nearest: float = float("nan")
    apart: Mapping[str, Difference] = field(default_factory=dict)
    against: Mapping[str, str] = field(default_factory=dict)  # rival -> name of its row

    @property
    def verdict(self) -> str:
        """What the intervals allow to say, in the words of the rivals; '' where there is none."""
        if any(found.low is None for found in self.apart.values()):
            return "no interval"
        told = {name: _told(found) for name, found in self.apart.items()}
        if "unswapped" in told:
            words = {"worse": "read: swapping costs", "better": "swapping helps"}
            return words.get(told["unswapped"], "swapping not told apart")
        parts = []
        for word, said in (("beats", "better"), ("not told apart from", ""), ("below", "worse")):
            names = [name for name, how in told.items() if how == said]
            parts += [f"{word} {', '.join(names)}"] * bool(names)
        return "; ".join(parts)

    @property
    def stands(self) -> bool:
        """Whether a claim about examples stands: all three rivals are there and are beaten."""
        found = [self.apart.get(name) for name in CLAIM]
        return all(one is not None and _told(one) == "better" for one in found)


def _told(found: Difference) -> str:
    if not found.excludes_zero:
        return ""
    return "better" if found.value > 0 else "worse"


def numbers_of(one: Table) -> list[Number]:
    """Every number of a table, its rows first."""
    rows = [_number(one, ROWS, line) for line in one.lines]
    return [*rows, *_by_nearness(one), *_by_finding(one)]


def _by_nearness(one: Table) -> Iterator[Number]:
    for line in one.main():
        others = [o for name, o in one.rivals(line).items() if name in ("none", "copying")]
        for place, (nearest, mask) in enumerate(one.fifths(line), 1):
            group = f"{place}{ENDS.get(place, '')}"
            where: dict[str, Any] = {"about": line.name, "nearest": nearest, "group": group}
            for shown in (line, *others):
                yield _number(one, NEARNESS, shown, mask, **where)


def _by_finding(one: Table) -> Iterator[Number]:
    shown: dict[str, Line] = {}
    for line in one.main():
        shown |= {other.name: other for other in one.rivals(line).values()}
        shown[line.name] = line
    for finding, mask in one.findings().items():
        for line in sorted(shown.values(), key=lambda line: line.setting.kind == FOUND):
            yield _number(one, FINDING, line, mask, group=finding)


def _number(
    one: Table,
    analysis: str,
    line: Line,
    mask: np.ndarray | None = None,
    *,
    group: str = "all",
    about: str = "",
    nearest: float = float("nan"),
) -> Number:
    kept = scored(line.rows) if mask is None else scored(line.rows) & mask
    value, low, high = one.value(line, mask)
    # Elsewhere than in its own analysis a row stands for comparison only.
    own = analysis != NEARNESS or line.name == about
    rivals = one.rivals(line) if own else {}
    return Number(
        analysis=analysis,
        line=line,
        group=group,
        value=value,
        low=low,
        high=high,
        n=int(kept.sum()),
        patients=len(np.unique(one.patients[kept])),
        about=about,
        nearest=nearest,
        apart={name: one.apart(line, other, mask) for name, other in rivals.items()},
        against={name: other.name for name, other in rivals.items()},
    )


def of(numbers: Iterable[Number], analysis: str) -> list[Number]:
    """Those of one analysis."""
    return [one for one in numbers if one.analysis == analysis]


def write_in_context(runs: Runs, out: Path, source: DatasetSource) -> list[Path]:
    """in-context.md, .csv and figures; none where no row was shown retrieved examples."""
    from reports.in_context_figures import figures_of
    from reports.in_context_text import frame, markdown

    found = [(one, numbers_of(one)) for one in in_context_tables(runs, source)]
    if not found:
        return []
    figures = []
    for one, numbers in found:
        key = one.key
        stem = "-".join(part for part in (key.dataset, key.cohort, key.split) if part)
        names = {}
        for kind, drawn in figures_of(one, numbers).items():
            names[kind] = f"figures/in-context-{kind}-{safe_name(stem)}.png"
            for suffix, data in drawn.items():
                write_bytes((out / names[kind]).with_suffix(f".{suffix}"), data)
        figures.append(names)
    written = [out / "in-context.md", out / "in-context.csv"]
    write_text(written[0], markdown(found, figures))
    write_text(written[1], csv_text(frame(found)))
    return written
