"""What a retrieval run asks, in integers: who belongs to whom, without ids or text."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Int

CONVENTIONS = ("instance", "same_study", "same_text", "unique_text")


@dataclass(frozen=True)
class RetrievalPool:
    """One row per image with the text of its study; an asked row is a query in both directions.

    Image-to-text ranks the texts of the asked rows; text-to-image ranks all images, so a row that
    is not asked is a distractor there and nothing else.

    Attributes:
        study: code of the row's study.
        patient: code of the row's patient.
        group: rows with equal codes >= 0 bear the same text (`same_text`); -1 for none.
        text: index of the row's normalized text among the unique texts of the asked rows; -1 on
            a distractor whose text nobody asks about.
        asked: False for distractors.
        labels: optional label bits, for `label_precision@K`.
    """

    study: Int[np.ndarray, " n"]
    patient: Int[np.ndarray, " n"]
    group: Int[np.ndarray, " n"]
    text: Int[np.ndarray, " n"]
    asked: Bool[np.ndarray, " n"]
    labels: Bool[np.ndarray, "n l"] | None = None

    def __post_init__(self) -> None:
        """Check that the columns fit together.

        Raises:
            ValueError: columns differ in length, or an asked row has no text, or the unique texts
                are not exactly 0..u-1 over the asked rows.
        """
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self) if f.name != "labels"}
        if self.labels is not None:
            lengths["labels"] = len(self.labels)
        if len(set(lengths.values())) > 1:
            raise ValueError(f"retrieval pool: columns of different length {lengths}")
        used = np.unique(self.text[self.asked])
        if not np.array_equal(used, np.arange(len(used))) or self.text.max(initial=-1) >= len(used):
            raise ValueError(
                "retrieval pool: the texts of the asked rows must be 0..u-1 without gaps and "
                f"distractors hold one of them or -1; asked rows hold {used[:5].tolist()}..., "
                f"the largest of all rows is {self.text.max(initial=-1)}"
            )

    @property
    def queries(self) -> Int[np.ndarray, " m"]:
        """The asked rows, in order: query q of both directions is row `queries[q]`."""
        return np.flatnonzero(self.asked)

    @property
    def texts(self) -> int:
        """The number of unique texts."""
        return int(self.text.max(initial=-1)) + 1


def _codes(values: Sequence[object]) -> np.ndarray:
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], np.int64)


def _group_codes(groups: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Equal codes for rows of one text group or, without a group, of one text; -1 without both."""
    keys = [("group", g) if g else ("text", t) for g, t in zip(groups, texts, strict=True)]
    codes = _codes(keys)
    codes[[key == ("text", "") for key in keys]] = -1
    return codes


def pool_of(
    *,
    studies: Sequence[str],
    patients: Sequence[str],
    texts: Sequence[str],
    groups: Sequence[str] | None = None,
    asked: Sequence[bool] | None = None,
    labels: Bool[np.ndarray, "n l"] | None = None,
) -> tuple[RetrievalPool, list[int]]:
    """The pool, and for each unique text the row that bears it first (embed those texts).

    Args:
        studies: study id per row.
        patients: patient id per row.
        texts: normalized text per row; "" on a distractor without text.
        groups: `text_group` per row; where it is empty the normalized text decides.
        asked: default all.
        labels: label bits per row.

    Raises:
        ValueError: an asked row has no text.
    """
    ask = np.ones(len(texts), bool) if asked is None else np.asarray(asked, bool)
    bare = [row for row in np.flatnonzero(ask).tolist() if not texts[row]]
    if bare:
        raise ValueError(f"{len(bare)} asked rows have no text, the first is row {bare[0]}")
    first: dict[str, int] = {}
    for row in np.flatnonzero(ask).tolist():
        first.setdefault(texts[row], row)
    order = {text: code for code, text in enumerate(first)}
    pool = RetrievalPool(
        study=_codes(studies),
        patient=_codes(patients),
        group=_group_codes(groups if groups is not None else [""] * len(texts), texts),
        text=np.array([order.get(text, -1) for text in texts], np.int64),
        asked=ask,
        labels=labels,
    )
    return pool, list(first.values())
