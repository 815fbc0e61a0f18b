"""Ranked queries as rows of a table and back."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.metrics.pool import CONVENTIONS, RetrievalPool
from harness.metrics.retrieval import DIRECTIONS, RetrievalOutcomes
from harness.samples import ImageText

if TYPE_CHECKING:
    import pandas as pd

KIND = "ranks"


def chance_frame() -> "pd.DataFrame":
    """The one row that says: computed, not asked."""
    import pandas as pd

    return pd.DataFrame({"sample_id": ["chance"]})


def outcome_frame(
    samples: Sequence[ImageText], pool: RetrievalPool, outcomes: RetrievalOutcomes
) -> "pd.DataFrame":
    """One row per query of one direction; per convention rank, tie, relevant candidates and DCG.

    ``rank/...`` is 0 where the convention does not ask the query. ``top_ids`` are the samples of
    the best candidates, best first; a text stands under the first sample that bears it.
    """
    import pandas as pd

    asked = [samples[row] for row in pool.queries]
    columns: dict[str, object] = {
        "sample_id": [sample.sample_id for sample in asked],
        "patient_id": [sample.image.patient_id for sample in asked],
        "direction": outcomes.direction,
    }
    for index, name in enumerate(CONVENTIONS):
        columns[f"rank/{name}"] = outcomes.ranks[:, index].astype(np.int64)
        columns[f"tied/{name}"] = outcomes.tied[:, index].astype(bool)
        columns[f"relevant/{name}"] = outcomes.relevant[:, index].astype(np.int64)
        columns[f"dcg/{name}"] = list(outcomes.dcg[:, index].astype(np.float64))
    hits = outcomes.label_hits
    columns["label_hits"] = [None] * len(asked) if hits is None else list(hits.astype(np.float64))
    columns["top_ids"] = [
        [samples[row].sample_id for row in rows if row >= 0] for rows in outcomes.top
    ]
    columns["top_scores"] = [
        np.asarray(values[rows >= 0], np.float64)
        for rows, values in zip(outcomes.top, outcomes.top_scores, strict=True)
    ]
    return pd.DataFrame(columns)


def outcomes_of(
    frame: "pd.DataFrame", samples: Sequence[ImageText], pool: RetrievalPool
) -> Mapping[str, RetrievalOutcomes]:
    """What `outcome_frame` wrote, by direction, in the order of the pool's queries.

    Raises:
        KeyError: a query of the pool has no row.
    """
    return {direction: _direction(frame, direction, samples, pool) for direction in DIRECTIONS}


def _direction(
    frame: "pd.DataFrame", direction: str, samples: Sequence[ImageText], pool: RetrievalPool
) -> RetrievalOutcomes:
    rows = frame[frame["direction"] == direction].set_index("sample_id")
    rows = rows.loc[[samples[row].sample_id for row in pool.queries]]
    place = {sample.sample_id: row for row, sample in enumerate(samples)}
    n, m = len(samples), len(pool.queries)
    to_text = direction == "image_to_text"
    return RetrievalOutcomes(
        direction=direction,
        patients=pool.patient[pool.queries],
        ranks=_stack(rows, "rank"),
        tied=_stack(rows, "tied"),
        relevant=_stack(rows, "relevant"),
        dcg=np.stack([np.stack(list(rows[f"dcg/{name}"])) for name in CONVENTIONS], axis=1),
        label_hits=_label_hits(rows),
        top=_padded([[place[item] for item in ids] for ids in rows["top_ids"]], -1).astype(int),
        top_scores=_padded(list(rows["top_scores"]), np.nan),
        candidates=(m, m, m, pool.texts) if to_text else (n, n, n, n),
    )


def _stack(rows: "pd.DataFrame", what: str) -> np.ndarray:
    return np.stack([rows[f"{what}/{name}"].to_numpy() for name in CONVENTIONS], axis=1)


def _label_hits(rows: "pd.DataFrame") -> np.ndarray | None:
    column = rows["label_hits"]
    return None if column.isna().all() else np.stack(list(column))


def _padded(lists: Sequence[Sequence[float]], fill: float) -> np.ndarray:
    width = max((len(values) for values in lists), default=0)
    table = np.full((len(lists), width), fill, np.float64)
    for row, values in enumerate(lists):
        table[row, : len(values)] = values
    return table
