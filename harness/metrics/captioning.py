"""Captions against what is there: findings, sides and zones read from the text, per sample."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from harness.metrics.metric import FromSums, Metric, mean, ratio
from harness.samples import Located

Table = Bool[np.ndarray, "n findings"]


@dataclass(frozen=True)
class CaptionOutcomes:
    """What is there and what was said, one row per sample, one column per kind of finding.

    A row is a report on an image or, where `dense`, the description of boxes. A side is asked
    where the truth has one; an unsaid side is not right. Zones alike.
    """

    patients: Int[np.ndarray, " n"]
    dense: Bool[np.ndarray, " n"]
    true: Table
    said: Table
    side_asked: Table
    side_right: Table
    zone_asked: Table
    zone_right: Table


def caption_outcomes(
    *,
    patients: Sequence[str],
    dense: Sequence[bool],
    truth: Sequence[Sequence[Located]],
    said: Sequence[Sequence[Located]],
) -> CaptionOutcomes:
    """The outcomes from (name, side, zone) of what is there and of what was read.

    Raises:
        ValueError: other lengths, or one finding twice in a sample.
    """
    if len({len(patients), len(dense), len(truth), len(said)}) > 1:
        lengths = [len(column) for column in (patients, dense, truth, said)]
        raise ValueError(f"caption outcomes: columns of length {lengths}")
    there, read = [_by_name(row) for row in truth], [_by_name(row) for row in said]
    names = sorted({name for row in (*there, *read) for name in row})

    def table(test: Callable[[Located | None, Located | None], bool]) -> Table:
        rows = [[test(t.get(n), s.get(n)) for n in names] for t, s in zip(there, read, strict=True)]
        return np.array(rows, bool).reshape(len(there), len(names))

    return CaptionOutcomes(
        patients=np.unique(np.array(patients, dtype=str), return_inverse=True)[1],
        dense=np.array(dense, bool),
        true=table(lambda true, _: true is not None),
        said=table(lambda _, told: told is not None),
        side_asked=table(lambda true, _: bool(true and true[1])),
        side_right=table(lambda true, told: bool(true and told and true[1] == told[1])),
        zone_asked=table(lambda true, _: bool(true and true[2])),
        zone_right=table(lambda true, told: bool(true and told and true[2] == told[2])),
    )


def _by_name(findings: Sequence[Located]) -> dict[str, Located]:
    named = {finding[0]: finding for finding in findings}
    if len(named) != len(findings):
        raise ValueError(f"caption outcomes: a finding twice in {list(findings)}")
    return named


def _share(counted: np.ndarray, of: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Per row [counted, of], both summed over findings; NaN outside `rows`."""
    pair = np.column_stack([counted.sum(axis=1), of.sum(axis=1)]).astype(np.float64)
    pair[~rows] = np.nan
    return pair


def _f1_parts(outcomes: CaptionOutcomes) -> tuple[np.ndarray, np.ndarray]:
    hit = (outcomes.true & outcomes.said).astype(np.float64)
    return 2 * hit, outcomes.true.astype(np.float64) + outcomes.said


def _f1(outcomes: CaptionOutcomes) -> np.ndarray:
    return _share(*_f1_parts(outcomes), ~outcomes.dense)


def _macro_f1(outcomes: CaptionOutcomes) -> np.ndarray:
    rows = np.concatenate(_f1_parts(outcomes), axis=1)
    rows[outcomes.dense] = np.nan
    return rows


def _mean_of_kinds(sums: np.ndarray, _: np.ndarray) -> np.ndarray:
    """The mean F1 of the kinds that are there or were said; the first half of the columns is 2TP.

    `metric.macro_mean` takes one kind per row, a report can have many.
    """
    hits, count = np.split(sums, 2, axis=1)
    present = count > 0
    shares = np.where(present, hits / np.where(present, count, 1), 0)
    return np.asarray(shares.sum(axis=1) / present.sum(axis=1))


def _precision(outcomes: CaptionOutcomes) -> np.ndarray:
    return _share(outcomes.true & outcomes.said, outcomes.said, ~outcomes.dense)


def _recall(outcomes: CaptionOutcomes) -> np.ndarray:
    return _share(outcomes.true & outcomes.said, outcomes.true, ~outcomes.dense)


def _exact(outcomes: CaptionOutcomes) -> np.ndarray:
    same: np.ndarray = (outcomes.true == outcomes.said).all(axis=1)
    return same


def _finding_accuracy(outcomes: CaptionOutcomes) -> np.ndarray:
    return np.where(outcomes.dense, _exact(outcomes), np.nan)[:, None].astype(np.float64)


def _of_found(part: str, *, dense: bool) -> Callable[[CaptionOutcomes], np.ndarray]:
    """Sides or zones right of those asked, over findings that were found."""

    def contribute(outcomes: CaptionOutcomes) -> np.ndarray:
        asked = getattr(outcomes, f"{part}_asked") & outcomes.said
        right = getattr(outcomes, f"{part}_right") & asked
        rows = outcomes.dense & _exact(outcomes) if dense else ~outcomes.dense
        return _share(right, asked, rows & asked.any(axis=1))

    return contribute


def _place(part: str, *, dense: bool) -> Metric:
    what = "described boxes" if dense else "findings"
    return Metric(
        f"{'dense/' if dense else ''}{part}_accuracy",
        _of_found(part, dense=dense),
        ratio,
        f"Of the {what} named rightly whose truth has a {part}, the share told with exactly that "
        f"{part}; an unsaid {part} is wrong.",
        needs="a finding named rightly",
    )


_REPORT, _BOXES = "a report", "descriptions of boxes"
CAPTION_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in [
        Metric(
            "finding_f1",
            _f1,
            ratio,
            "F1 over all (image, finding): findings a rule-based reader finds in the report "
            "against those visible in the image.",
            needs=_REPORT,
        ),
        Metric(
            "finding_precision",
            _precision,
            ratio,
            "Share of the findings told that are visible in the image.",
            needs="a finding named in a report",
        ),
        Metric(
            "finding_recall",
            _recall,
            ratio,
            "Share of the findings visible in the image that are told.",
            needs=_REPORT,
        ),
        Metric(
            "finding_f1/macro",
            _macro_f1,
            FromSums(_mean_of_kinds),
            "finding_f1 of each kind of finding, averaged over the kinds.",
            needs=_REPORT,
        ),
        _place("side", dense=False),
        _place("zone", dense=False),
        Metric(
            "dense/finding_accuracy",
            _finding_accuracy,
            mean,
            "Share of boxed phrases whose boxes are described with the true finding and no other.",
            needs=_BOXES,
        ),
        _place("side", dense=True),
        _place("zone", dense=True),
    ]
}
