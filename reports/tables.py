"""Records as the wide tables people read: a section per table, a panel per relevance and group."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.record import RunRecord, Score
from reports.definitions import (
    DEFAULT_GROUP,
    DEFAULT_RELEVANCE,
    DIRECTIONS,
    PRIMARY,
    definition,
    is_key,
    metric_order,
)
from reports.tidy import SectionKey, model_labels, role_of, section_key, unique_records

ColumnKey = tuple[str, str]  # direction, metric


@dataclass(frozen=True)
class Row:
    """One model in one panel; `cells` lacks the columns it has no number for, `notes` says why."""

    model: str
    role: str  # model | control | ceiling
    record: RunRecord
    cells: Mapping[ColumnKey, Score]
    notes: Mapping[ColumnKey, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """The rows of one section under one relevance and group, best first within each role."""

    relevance: str
    group: str
    columns: tuple[ColumnKey, ...]
    rows: tuple[Row, ...]

    @property
    def key_columns(self) -> tuple[ColumnKey, ...]:
        """The columns shown at first sight; all of them where none is such."""
        return tuple(c for c in self.columns if is_key(c[1])) or self.columns


@dataclass(frozen=True)
class Subgroups:
    """One metric over the values of one attribute, e.g. mIoU by ``view``: columns are values."""

    attribute: str
    column: ColumnKey
    values: tuple[str, ...]
    rows: tuple[tuple[Row, Mapping[str, Score]], ...]


@dataclass(frozen=True)
class Section:
    """One table per task, dataset, phantom or real, cohort, split and text policy.

    The first panel is the headline; groups that divide it (``view=PA``) stand in `subgroups`.
    `absent` are the cells without any number.
    """

    key: SectionKey
    panels: tuple[Panel, ...]
    subgroups: tuple[Subgroups, ...]
    absent: tuple[tuple[str, RunRecord], ...]
    records: tuple[RunRecord, ...]
    split_data: bool = False  # another table of the same name has other data

    @property
    def agreement(self) -> bool:
        """Whether any of the data stand under a use agreement."""
        return any(r.dataset.restricted for r in self.records)

    @property
    def restricted(self) -> bool:
        """Whether text and pixels must stay out: one row on data under an agreement is enough."""
        return any(r.dataset.restricted and not r.private for r in self.records)

    @property
    def private(self) -> bool:
        """Whether any row holds text or pixels of restricted data."""
        return any(r.private and r.dataset.restricted for r in self.records)

    @property
    def title(self) -> str:
        """Dataset, split, cohort and, for retrieval, the text policy."""
        key = self.key
        parts = [key.dataset, key.split]
        parts += [f"cohort {key.cohort}"] if key.cohort else []
        parts += [f"text {key.text_policy}"] if key.task == "retrieval" else []
        parts += [f"data {key.fingerprint[:8]}"] if self.split_data else []
        return " · ".join(parts)


def primary_column(task: str, columns: Sequence[ColumnKey]) -> ColumnKey | None:
    """The column a table is sorted and ranked by: the task's own, else the first."""
    wanted = PRIMARY.get(task)
    if wanted in columns:
        return wanted
    return columns[0] if columns else None


def sections(records: Iterable[RunRecord]) -> list[Section]:
    """The records as tables, in a fixed order; phantom and real, cohorts and data never mix."""
    unique = unique_records(records)
    labels = model_labels(unique)
    grouped: dict[SectionKey, list[RunRecord]] = {}
    for record in unique:
        grouped.setdefault(section_key(record), []).append(record)
    _join_unseen(grouped)
    _share_controls(grouped)
    names = Counter(_without_data(key) for key in grouped)
    return [
        _section(key, members, labels, names[_without_data(key)] > 1)
        for key, members in grouped.items()
    ]


def _share_controls(grouped: dict[SectionKey, list[RunRecord]]) -> None:
    """Put the controls of the same data into a table that has none.

    A control embeds no text, so it is run under one text policy and stands in the tables of all.
    """
    for key, members in grouped.items():
        if any(map(_is_control, members)) or all(r.status == "skipped" for r in members):
            continue
        for other, found in grouped.items():
            if replace(other, text_policy=key.text_policy) == key:
                members += [r for r in found if _is_control(r)]


def _is_control(record: RunRecord) -> bool:
    return record.model.control and record.model.reference.get("use") != "shuffled"


def _without_data(key: SectionKey) -> tuple[object, ...]:
    return (key.task, key.dataset, key.phantom, key.cohort, key.split, key.text_policy)


def _join_unseen(grouped: dict[SectionKey, list[RunRecord]]) -> None:
    """Put cells that never opened the data (no fingerprint) into the table they were meant for.

    A skipped model asks nothing, so its text policy does not hold it apart either.
    """
    for key in [k for k in grouped if not k.fingerprint]:
        homes = [k for k in grouped if k.fingerprint and _home(k) == _home(key)]
        same = [k for k in homes if k.text_policy == key.text_policy] or homes
        if same and all(not r.scores for r in grouped[key]):
            grouped[same[0]].extend(grouped.pop(key))


def _home(key: SectionKey) -> tuple[object, ...]:
    return (key.task, key.dataset, key.phantom, key.cohort, key.split)


def _section(
    key: SectionKey, members: list[RunRecord], labels: Mapping[str, str], split_data: bool
) -> Section:
    slices = {(s.relevance, s.group) for record in members for s in record.scores}
    ordered = sorted(slices, key=_slice_order)
    panels = [_panel(key.task, members, labels, at) for at in ordered if not attribute_of(at[1])]
    absent = [(labels[r.key], r) for r in members if not r.scores]
    return Section(
        key=key,
        panels=tuple(panels),
        subgroups=tuple(_subgroups(key.task, panels[0], ordered)) if panels else (),
        absent=tuple(absent),
        records=tuple(members),
        split_data=split_data,
    )


def attribute_of(group: str) -> str:
    """What a group divides the samples by: ``view`` for ``view=PA``, "" where it is no division.

    >>> attribute_of("view=PA"), attribute_of("kind=device"), attribute_of("fixed")
    ('view', '', '')
    """
    attribute, _, value = group.partition("=")
    return attribute if value and attribute != "kind" else ""


def _subgroups(task: str, panel: Panel, slices: Sequence[tuple[str, str]]) -> Iterator[Subgroups]:
    """The primary metric of the headline panel, by each attribute."""
    column = primary_column(task, panel.columns)
    groups = [group for relevance, group in slices if relevance == panel.relevance]
    if column is None:
        return
    for attribute in sorted({attribute_of(group) for group in groups} - {""}):
        values = [g.partition("=")[2] for g in groups if attribute_of(g) == attribute]
        rows = [(r, _by_value(r.record, panel.relevance, attribute, column)) for r in panel.rows]
        kept = tuple((row, cells) for row, cells in rows if cells)
        yield Subgroups(attribute, column, tuple(sorted(values)), kept)


def _by_value(
    record: RunRecord, relevance: str, attribute: str, column: ColumnKey
) -> dict[str, Score]:
    return {
        s.group.partition("=")[2]: s
        for s in record.scores
        if s.relevance == relevance
        and attribute_of(s.group) == attribute
        and (s.direction, s.metric) == column
        and s.value is not None
    }


def _slice_order(at: tuple[str, str]) -> tuple[bool, str, bool, str]:
    relevance, group = at
    return group != DEFAULT_GROUP, group, relevance not in ("", DEFAULT_RELEVANCE), relevance


def _panel(
    task: str, members: Sequence[RunRecord], labels: Mapping[str, str], at: tuple[str, str]
) -> Panel:
    rows = []
    for record in members:
        cells = {(s.direction, s.metric): s for s in record.scores if (s.relevance, s.group) == at}
        if cells:
            rows.append(Row(labels[record.key], role_of(record), record, cells))
    found = {column for row in rows for column in row.cells}
    columns = tuple(sorted(found, key=lambda c: (_direction_order(c[0]), metric_order(c[1]))))
    noted = [Row(r.model, r.role, r.record, r.cells, _notes(r, columns)) for r in rows]
    return Panel(at[0], at[1], columns, tuple(_ordered(noted, primary_column(task, columns))))


def _direction_order(direction: str) -> int:
    return list(DIRECTIONS).index(direction) if direction in DIRECTIONS else len(DIRECTIONS)


def _notes(row: Row, columns: Sequence[ColumnKey]) -> dict[ColumnKey, str]:
    empty = [c for c in columns if c not in row.cells or row.cells[c].value is None]
    return {column: row.record.not_scored.get(column[1], "") for column in empty}


def _ordered(rows: Sequence[Row], primary: ColumnKey | None) -> list[Row]:
    roles = ("model", "control", "ceiling")
    sign = -1.0 if primary is None or definition(primary[1]).higher_is_better else 1.0

    def place(row: Row) -> tuple[int, float, str]:
        score = row.cells.get(primary) if primary else None
        missing = score is None or score.value is None
        return roles.index(row.role), float("inf") if missing else sign * score.value, row.model

    return sorted(rows, key=place)
