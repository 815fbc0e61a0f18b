"""What solved examples add: each in-context row against none, random ones and copying the nearest.

All numbers are mIoU over boxed movable findings, from the stored outcomes; an answer is compared
with the other rows' answers to the same phrases.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.errors import BenchError
from harness.metrics.bootstrap import LEVEL, MIN_PATIENTS, draw_values
from harness.metrics.compare import Difference, paired_difference
from harness.metrics.metric import Metric, scored, value_of_rows
from harness.record import RunRecord
from harness.tasks.grounding_context import EXTRAPOLATED
from harness.tasks.supply import BANK, FIRST
from reports.paired import Contributed, Question, check_aligned, open_cell
from reports.runs import DatasetSource, Runs
from reports.tidy import SectionKey, section_key

NONE, DRAWN, FOUND, COPIED = "none", "drawn", "retrieved", "copied"
COMPOSED, COPY = "in-context", "copy-nearest"
METRIC = Question("miou")
FIFTHS = 5
# What is taken where a suite does not say it: the defaults of the option `demonstrations`,
_UNSAID: Mapping[str, Any] = {"k": 4, "similarity": "mean", "filter": "any", "swap": ""}
# and of those that say where examples come from and how they stand.
_BANK: Mapping[str, Any] = {
    "dataset": BANK,
    "cohort": "",
    "split": "train",
    "limit": FIRST,
    "order": "nearest last",
}


@dataclass(frozen=True)
class Setting:
    """How a row was shown examples; rows that differ in the seed of their draws alone are equal."""

    kind: str
    grounder: str = ""
    retriever: str = ""
    k: int = 0
    similarity: str = ""
    filter: str = ""
    swap: str = ""
    more: str = ""  # all other options: the bank, the order


@dataclass(frozen=True, eq=False)
class Line:
    """One row of a table; where its examples are drawn by chance, the mean over its draws.

    Attributes:
        rows: (n, 1) IoU of each phrase, NaN where it has no box or is not movable.
        nearest: (n,) similarity of the nearest example, NaN where none was compared.
        extrapolated: more examples than any training conversation of the grounder held.
    """

    name: str
    setting: Setting
    rows: np.ndarray
    nearest: np.ndarray
    draws: int = 1
    extrapolated: bool = False


@dataclass(frozen=True, eq=False)
class Table:
    """The rows that were asked the same phrases."""

    key: SectionKey
    metric: Metric
    patients: np.ndarray
    lines: tuple[Line, ...]
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)

    def value(self, line: Line, mask: np.ndarray | None = None) -> tuple[float, float, float]:
        """Value and 95 % interval over patients, NaN where there are fewer than 20."""
        rows = line.rows if mask is None else np.where(mask[:, None], line.rows, np.nan)
        kept = scored(rows)
        if len(np.unique(self.patients[kept])) < MIN_PATIENTS:
            return value_of_rows(self.metric, rows), np.nan, np.nan
        drawn = draw_values([(self.metric, rows)], self.patients, 1000, 0)[0]
        low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return value_of_rows(self.metric, rows), float(low), float(high)

    def apart(self, one: Line, other: Line, mask: np.ndarray | None = None) -> Difference:
        """The first minus the second on the phrases that both were scored on."""
        where = np.ones(len(one.rows), bool) if mask is None else mask
        rows = tuple(np.where(where[:, None], line.rows, np.nan) for line in (one, other))
        return paired_difference(self.metric, (rows[0], rows[1]), self.patients)

    def rivals(self, line: Line) -> dict[str, Line]:
        """What a row with examples must beat: none, random ones of its number and filter, copying.

        Copying is that of its own retriever and similarity, else the best of the same filter: one
        that may not choose among its finding's examples is too weak a rival. A row with exchanged
        examples is held against the row without the exchange alone.
        """
        setting = line.setting
        if setting.kind not in (DRAWN, FOUND):
            return {}
        if setting.swap:
            twin = self._like(replace(setting, swap=""))
            return {"unswapped": twin} if twin else {}
        found = {"none": self._none(setting.grounder)}
        if setting.kind == FOUND:
            drawn = replace(setting, kind=DRAWN, retriever="random", similarity="")
            found["random"] = self._like(drawn)
        found["copying"] = self._copy(setting)
        return {name: other for name, other in found.items() if other is not None}

    def _none(self, grounder: str) -> Line | None:
        lines = (one for one in self.lines if one.setting.kind == NONE)
        return next((one for one in lines if one.setting.grounder == grounder), None)

    def _like(self, setting: Setting) -> Line | None:
        return next((one for one in self.lines if one.setting == setting), None)

    def _copy(self, setting: Setting) -> Line | None:
        copies = [one for one in self.lines if one.setting.kind == COPIED and not one.setting.swap]
        wanted = _choosing(setting)
        copies = [one for one in copies if one.setting.filter == setting.filter]
        own = [one for one in copies if _choosing(one.setting) == wanted]
        best = sorted(copies, key=lambda one: -value_of_rows(self.metric, one.rows))
        return next(iter(own or best), None)

    def main(self) -> list[Line]:
        """The retrieved rows of the analyses: unswapped, and as many examples as the random row."""
        drawn = {
            (one.setting.grounder, one.setting.k)
            for one in self.lines
            if one.setting.kind == DRAWN and not one.setting.swap
        }
        rows = [o for o in self.lines if o.setting.kind == FOUND and not o.setting.swap]
        return [o for o in rows if (o.setting.grounder, o.setting.k) in drawn] or rows

    def by_k(self) -> list[tuple[Line, ...]]:
        """Families that differ in the number of examples alone, fewest first; none as k = 0."""
        families: dict[Setting, list[Line]] = {}
        for line in self.lines:
            if line.setting.kind in (DRAWN, FOUND) and not line.setting.swap:
                families.setdefault(replace(line.setting, k=0), []).append(line)
        out = []
        for setting, lines in families.items():
            none = self._none(setting.grounder)
            ordered = sorted(lines, key=lambda line: line.setting.k)
            if len(ordered) > 1 or none:
                out.append((*([none] if none else []), *ordered))
        return sorted(out, key=lambda lines: -len(lines))

    def fifths(self, line: Line) -> list[tuple[float, np.ndarray]]:
        """Mean similarity and mask of each fifth of the phrases, the furthest examples first."""
        rows = np.flatnonzero(np.isfinite(line.nearest) & scored(line.rows))
        order = rows[np.argsort(line.nearest[rows], kind="stable")]
        out = []
        for part in np.array_split(order, FIFTHS):
            if len(part):
                mask = np.zeros(len(line.rows), bool)
                mask[part] = True
                out.append((float(line.nearest[part].mean()), mask))
        return out

    def findings(self) -> dict[str, np.ndarray]:
        """Finding to mask, those with most phrases first."""
        found = {n.partition("=")[2]: m for n, m in self.groups.items() if n.startswith("finding=")}
        return dict(sorted(found.items(), key=lambda item: (-int(item[1].sum()), item[0])))


def _choosing(setting: Setting) -> tuple[str, ...]:
    """What decides which example is the nearest."""
    return setting.retriever, setting.similarity, setting.filter, setting.more


def in_context_tables(runs: Runs, source: DatasetSource) -> list[Table]:
    """The tables that hold a row with examples; without those whose data are not at hand."""
    by_key: dict[SectionKey, list[RunRecord]] = {}
    for record in runs.records:
        if record.task == "grounding" and record.status == "ok":
            by_key.setdefault(section_key(record), []).append(record)
    out = []
    for key, records in by_key.items():
        settings = {r.key: s for r, s in zip(records, _settings(records), strict=True) if s}
        kept = [r for r in records if r.key in settings]
        if any(settings[r.key].kind == FOUND for r in kept) and source(kept[0])[0] is not None:
            try:
                out.append(_table(key, kept, settings, (runs, source)))
            except (
                BenchError
            ):  # outcomes of one of them are gone; its row stands in the leaderboard
                continue
    return out


def _table(
    key: SectionKey,
    records: Sequence[RunRecord],
    settings: Mapping[str, Setting],
    how: tuple[Runs, DatasetSource],
) -> Table:
    runs, source = how
    cells = {r.key: open_cell(r, runs, source)(METRIC) for r in records}
    check_aligned(list(cells.values()))
    first = cells[records[0].key]
    same: dict[Setting, list[RunRecord]] = {}
    for record in records:
        same.setdefault(settings[record.key], []).append(record)
    order = sorted(same, key=lambda s: (bool(s.swap), (NONE, DRAWN, FOUND, COPIED).index(s.kind)))
    lines = [_line(setting, same[setting], cells, runs) for setting in order]
    return Table(key, first.metric, first.patients, tuple(lines), dict(first.groups))


def _line(
    setting: Setting, members: Sequence[RunRecord], cells: Mapping[str, Contributed], runs: Runs
) -> Line:
    first = cells[members[0].key]
    rows = np.mean([cells[record.key].rows for record in members], axis=0)
    frame = runs.cell(members[0]).read("boxes").set_index("sample_id")
    stored = frame.get("similarities", {})
    near = [max(stored.get(sample, ()), default=np.nan) for sample in first.samples]
    return Line(
        name=re.sub(r"-seed\d+$", "", members[0].model.name),
        setting=setting,
        rows=np.where(first.groups["all"][:, None], rows, np.nan),
        nearest=np.asarray(near, np.float64),
        draws=len(members),
        extrapolated=EXTRAPOLATED in members[0].model.preprocessing,
    )


def _settings(records: Iterable[RunRecord]) -> list[Setting | None]:
    """Of each record how it was shown examples; None for models of another kind."""
    kept = list(records)
    composed = [_composed(record) for record in kept]
    grounders = {setting.grounder for setting in composed if setting}
    return [
        setting or (Setting(NONE, _target(record)) if _target(record) in grounders else None)
        for setting, record in zip(composed, kept, strict=True)
    ]


def _target(record: RunRecord) -> str:
    reference = record.model.reference
    return str(reference.get("use") or reference.get("name") or record.model.name)


def _composed(record: RunRecord) -> Setting | None:
    if _target(record) not in (COMPOSED, COPY):
        return None
    options = dict(record.model.reference.get("options", {}))
    wanted = {**_UNSAID, **_BANK, **(options.get("demonstrations") or {})}
    retriever = _named(options.get("retriever", ""))
    grounder = _named(options.get("grounder", COPY))
    drawn = retriever in ("random", "fixed")
    return Setting(
        kind=COPIED if grounder == COPY else DRAWN if drawn else FOUND,
        grounder=grounder,
        retriever=retriever,
        k=int(wanted["k"]),
        similarity="" if drawn else str(wanted["similarity"]),
        filter=str(wanted["filter"]),
        swap=str(wanted["swap"]),
        more=str(sorted((k, str(v)) for k, v in wanted.items() if k not in _UNSAID)),
    )


def _named(reference: Any) -> str:
    """What a model reference means, however it is written."""
    if isinstance(reference, Mapping):
        return str(reference.get("use") or reference.get("name"))
    return str(reference)
