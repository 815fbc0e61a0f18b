"""Records as the tidy frame of leaderboard.csv: one row per number, and what keeps rows apart."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.record import RunRecord
from reports.definitions import CEILINGS

if TYPE_CHECKING:  # a finished suite is printed without it
    import pandas as pd

COLUMNS = (
    *("model", "family", "task", "dataset", "phantom", "cohort", "split", "text_policy"),
    *("direction", "relevance", "group", "exposure", "metric", "value", "low", "high", "n", "pool"),
    *("status", "reason"),
)


@dataclass(frozen=True)
class SectionKey:
    """What two rows must share to stand in one table; `fingerprint` says the data were the same."""

    task: str
    dataset: str
    phantom: bool
    cohort: str
    split: str
    text_policy: str
    fingerprint: str


def role_of(record: RunRecord) -> str:
    """`ceiling`, `control` or `model`; a model that was shuffled is a control."""
    use = str(record.model.reference.get("use", ""))
    if record.model.name in CEILINGS or use in CEILINGS:
        return "ceiling"
    return "control" if record.model.control or use == "shuffled" else "model"


def section_key(record: RunRecord) -> SectionKey:
    """The table a record belongs to."""
    data = record.dataset
    return SectionKey(
        task=record.task,
        dataset=data.name,
        phantom=data.phantom,
        cohort=data.cohort,
        split=data.split,
        text_policy=record.text_policy,
        fingerprint=data.fingerprint,
    )


def model_labels(records: Sequence[RunRecord]) -> dict[str, str]:
    """Key -> the model's name, with its seed or key where one table has it more than once."""
    names = Counter((section_key(r), r.model.name) for r in records)
    seeds = Counter((section_key(r), r.model.name, r.seed) for r in records)
    labels = {}
    for record in records:
        at, name = section_key(record), record.model.name
        label = name
        if names[at, name] > 1:
            label = f"{name} (seed {record.seed})"
        if seeds[at, name, record.seed] > 1:
            label = f"{name} ({record.key[:8]})"
        labels[record.key] = label
    return labels


def unique_records(records: Iterable[RunRecord]) -> list[RunRecord]:
    """One record per key: a finished one before an unfinished one, then the newest."""
    kept: dict[str, RunRecord] = {}
    for record in sorted(records, key=lambda r: (r.status == "ok", r.created)):
        kept[record.key] = record
    return sorted(kept.values(), key=_record_order)


def _record_order(record: RunRecord) -> tuple[object, ...]:
    key = section_key(record)
    roles = ("model", "control", "ceiling")
    head = (key.task, key.dataset, key.phantom, key.cohort, key.split, key.text_policy)
    return (*head, key.fingerprint, roles.index(role_of(record)), record.model.name, record.seed)


def _head(record: RunRecord, label: str) -> dict[str, object]:
    data = record.dataset
    return {
        "model": label,
        "family": record.model.family,
        "task": record.task,
        "dataset": data.name,
        "phantom": data.phantom,
        "cohort": data.cohort,
        "split": data.split,
        "text_policy": record.text_policy,
        "exposure": "" if _has_learned_nothing(record) else record.exposure,
    }


def _has_learned_nothing(record: RunRecord) -> bool:
    """Whether it is a control that was fitted to no data: nothing could have been seen by it."""
    shuffled = record.model.reference.get("use") == "shuffled"  # a model, and what it has seen
    return record.model.control and not shuffled and not record.model.trained_on


def _tidy_rows(record: RunRecord, label: str) -> list[dict[str, object]]:
    head = _head(record, label)
    rows: list[dict[str, object]] = []
    for score in record.scores:
        state = "ok" if score.value is not None else "not_scored"
        reason = record.not_scored.get(score.metric, "")
        rows.append({**head, **score.model_dump(exclude={"patients"}), "status": state})
        rows[-1]["reason"] = reason
    scored = {score.metric for score in record.scores}
    for metric, reason in record.not_scored.items():
        if metric not in scored:
            state = "not_taught" if reason.startswith("not taught") else "not_scored"
            rows.append({**head, "metric": metric, "status": state, "reason": reason})
    if record.status != "ok":
        rows.append({**head, "metric": "", "status": record.status, "reason": record.reason})
    return rows


def leaderboard_frame(records: Iterable[RunRecord]) -> "pd.DataFrame":
    """The tidy table of design section 6.9: one row per number, and one per cell without any.

    A model that stands more than once in a table (seeds) is told apart in `model`. `value`, `low`
    and `high` are float64 at full precision, `n` and `pool` nullable integers.
    """
    import pandas as pd

    unique = unique_records(records)
    labels = model_labels(unique)
    rows = [row for record in unique for row in _tidy_rows(record, labels[record.key])]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    texts = [c for c in COLUMNS if c not in ("phantom", "value", "low", "high", "n", "pool")]
    frame[texts] = frame[texts].astype("object").fillna("")
    frame[["value", "low", "high"]] = frame[["value", "low", "high"]].astype("float64")
    frame[["n", "pool"]] = frame[["n", "pool"]].astype("Int64")
    frame["phantom"] = frame["phantom"].astype("bool")
    return frame
