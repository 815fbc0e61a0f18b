"""The metrics of answered boxes: overlap, accuracy, F1, RoDeO, and explicit answers of none."""

from collections.abc import Callable, Mapping

import numpy as np

from harness.metrics import rodeo
from harness.metrics.grounding import STATUS, GroundingOutcomes
from harness.metrics.metric import FromSums, Metric, class_columns, macro_mean, mean

ACC_AT = (0.1, 0.3, 0.5, 0.7)
BOXES = "boxes"

Contribute = Callable[[GroundingOutcomes], np.ndarray]


def _where(rows: np.ndarray, population: np.ndarray) -> np.ndarray:
    """The rows as (n, 1) float64 with NaN outside the population."""
    return np.where(population, rows, np.nan)[:, None]


def boxed_population(outcomes: GroundingOutcomes) -> np.ndarray:
    """Phrases with at least one true box, answered in boxes, (n,) bool."""
    return np.asarray(outcomes.boxed & outcomes.has_boxes)


def union_iou_rows(outcomes: GroundingOutcomes) -> np.ndarray:
    """IoU of painted unions per boxed phrase, (n, 1)."""
    return _where(outcomes.box_numbers.union_iou, boxed_population(outcomes))


def _acc_rows(threshold: float) -> Contribute:
    def rows(outcomes: GroundingOutcomes) -> np.ndarray:
        reached = outcomes.box_numbers.union_iou >= threshold
        return _where(reached, boxed_population(outcomes))

    return rows


def _single_rows(threshold: float) -> Contribute:
    def rows(outcomes: GroundingOutcomes) -> np.ndarray:
        reached = outcomes.box_numbers.best_box_iou >= threshold
        return _where(reached, (outcomes.truth.counts == 1) & outcomes.has_boxes)

    return rows


micro_f1 = FromSums(lambda sums, _: 2 * sums[:, 0] / (sums[:, 1] + sums[:, 2]))


def set_f1_rows(outcomes: GroundingOutcomes) -> np.ndarray:
    """F1 of each boxed phrase under its best one-to-one matching at IoU >= 0.5, (n, 1)."""
    matched = outcomes.box_numbers.optimal
    boxes = outcomes.predicted.counts + outcomes.truth.counts
    return _where(2 * matched / np.maximum(boxes, 1), boxed_population(outcomes))


def _said_none(outcomes: GroundingOutcomes) -> np.ndarray:
    return np.asarray(outcomes.status == STATUS.index("empty"))


def _negated_rows(outcomes: GroundingOutcomes) -> np.ndarray:
    population = ~outcomes.boxed & outcomes.phrases.negated & outcomes.has_boxes
    return _where(_said_none(outcomes), population)


def _absent_rows(outcomes: GroundingOutcomes) -> np.ndarray:
    population = ~outcomes.boxed & ~outcomes.phrases.negated & outcomes.has_boxes
    return _where(_said_none(outcomes), population)


def _false_empty_rows(outcomes: GroundingOutcomes) -> np.ndarray:
    return _where(_said_none(outcomes), boxed_population(outcomes))


def _malformed_rows(outcomes: GroundingOutcomes) -> np.ndarray:
    return _where(outcomes.malformed, np.ones(len(outcomes), bool))


def per_finding(contribute: Contribute, *, counted: bool = False) -> Contribute:
    """Rows for `class_columns`: the contribution, 1 if `counted`, finding, number of findings."""

    def rows(outcomes: GroundingOutcomes) -> np.ndarray:
        numbers = contribute(outcomes)
        made = np.ones((len(numbers), numbers.shape[1] + counted + 2))
        made[:, : numbers.shape[1]] = numbers
        made[:, -2] = outcomes.phrases.finding
        made[:, -1] = len(outcomes.phrases.findings)
        return made

    return rows


def macro(metric: Metric) -> Metric:
    """The mean over findings of a metric that is a mean over phrases, as ``name/macro``."""
    return Metric(
        name=f"{metric.name}/macro",
        contribute=per_finding(metric.contribute, counted=True),
        reduce=macro_mean,
        definition=f"Mean over findings of: {metric.definition}",
        higher_is_better=metric.higher_is_better,
        needs=metric.needs,
        bounded=metric.bounded,
    )


def _macro_f1(sums: np.ndarray, _: np.ndarray) -> np.ndarray:
    matched, predicted, true = np.split(sums, 3, axis=1)
    boxes = predicted + true
    values = np.where(boxes > 0, 2 * matched / np.where(boxes > 0, boxes, 1), 0.0)
    return np.asarray(values.sum(axis=1) / (boxes > 0).sum(axis=1))


MIOU = Metric(
    "miou",
    union_iou_rows,
    mean,
    "Mean over phrases with a true box of the IoU of painted unions.",
    needs=BOXES,
)
ACCURACY = [
    Metric(
        f"acc@{threshold}",
        _acc_rows(threshold),
        mean,
        f"Share of phrases with a true box whose union IoU is at least {threshold}.",
        needs=BOXES,
    )
    for threshold in ACC_AT
]
SINGLE_BOX = [
    Metric(
        f"acc@{threshold}/single-box",
        _single_rows(threshold),
        mean,
        "Share of phrases with exactly one true box whose box of highest score (else the first) "
        f"has IoU of at least {threshold}.",
        needs=BOXES,
    )
    for threshold in ACC_AT
]
F1 = [
    Metric(
        "f1@0.5",
        lambda outcomes: outcomes.boxed_count_rows,
        micro_f1,
        "Micro F1 over all boxes of phrases with a true box, greedy in truth order at IoU >= 0.5.",
        needs=BOXES,
    ),
    Metric(
        "f1@0.5/all",
        lambda outcomes: outcomes.count_rows,
        micro_f1,
        "As f1@0.5 over all phrases: a box on a phrase without one is a false one.",
        needs=BOXES,
    ),
    Metric(
        "f1@0.5/macro",
        per_finding(lambda outcomes: outcomes.boxed_count_rows),
        FromSums(_macro_f1, class_columns),
        "Mean over findings of f1@0.5.",
        needs=BOXES,
    ),
    Metric(
        "set_f1@0.5",
        set_f1_rows,
        mean,
        "Mean over phrases with a true box of F1 under the best one-to-one matching at IoU >= 0.5.",
        needs=BOXES,
    ),
]
_PARTS = (
    ("rodeo", rodeo.total_score, "Harmonic mean of RoDeO localization, shape and matched share"),
    ("rodeo/localization", rodeo.localization, "RoDeO eq. 2, closeness of box centers"),
    ("rodeo/shape", rodeo.shape_matching, "RoDeO eq. 3, agreement of box shapes"),
)
RODEO = [
    Metric(
        f"{name}{suffix}",
        rows,
        reduce,
        f"{text}, one class, one unit per (image, phrase), {population}.",
        needs=BOXES,
    )
    for name, reduce, text in _PARTS
    for suffix, rows, population in (
        ("", lambda outcomes: outcomes.boxed_rodeo_rows, "phrases with a true box"),
        ("/all", lambda outcomes: outcomes.rodeo_rows, "all phrases"),
    )
]
ANSWERS = [
    Metric(
        "specificity/negated",
        _negated_rows,
        mean,
        "Share of negated sentences answered with an explicit none.",
        needs=BOXES,
    ),
    Metric(
        "specificity/absent",
        _absent_rows,
        mean,
        "Share of queries for an absent finding answered with an explicit none.",
        needs=BOXES,
    ),
    Metric(
        "false_empty",
        _false_empty_rows,
        mean,
        "Share of phrases with a true box answered with an explicit none.",
        higher_is_better=False,
        needs=BOXES,
    ),
    Metric(
        "malformed",
        _malformed_rows,
        mean,
        "Share of phrases whose answer could not be read.",
        higher_is_better=False,
    ),
]

BOX_METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in [
        MIOU,
        macro(MIOU),
        *ACCURACY,
        *map(macro, ACCURACY),
        *SINGLE_BOX,
        *F1,
        *RODEO,
        *ANSWERS,
    ]
}
