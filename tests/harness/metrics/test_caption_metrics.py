"""Caption metrics on reports and boxes small enough to count by hand."""

import numpy as np
import pytest

from harness.metrics.bootstrap import score
from harness.metrics.captioning import CAPTION_METRICS, CaptionOutcomes, caption_outcomes
from harness.metrics.metric import contributions, value
from harness.samples import Located

# (dense, what is there, what was said)
ROWS: list[tuple[bool, list[Located], list[Located]]] = [
    # effusion found on the wrong side, nodule found in full, mass invented
    (
        False,
        [("effusion", "left", ""), ("nodule", "right", "upper")],
        [("effusion", "right", "lower"), ("nodule", "right", "upper"), ("mass", "left", "")],
    ),
    (False, [("nodule", "left", "lower")], [("nodule", "", "")]),  # found, place unsaid
    (False, [("edema", "", "")], []),  # missed; it has no side to ask
    (False, [], []),  # a normal report
    (True, [("mass", "left", "mid")], [("mass", "left", "upper")]),  # zone wrong
    (True, [("mass", "left", "mid")], [("mass", "left", "mid"), ("nodule", "", "")]),  # two named
    (True, [("edema", "", "")], [("edema", "both", "")]),
]


def outcomes(rows: list[tuple[bool, list[Located], list[Located]]] = ROWS) -> CaptionOutcomes:
    return caption_outcomes(
        patients=[f"p{n}" for n in range(len(rows))],
        dense=[row[0] for row in rows],
        truth=[row[1] for row in rows],
        said=[row[2] for row in rows],
    )


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("finding_precision", 3 / 4),
        ("finding_recall", 3 / 4),
        ("finding_f1", 2 * 3 / (4 + 4)),
        ("finding_f1/macro", (1 + 1 + 0 + 0) / 4),  # effusion, nodule, mass (invented), edema
        ("side_accuracy", 1 / 3),
        ("zone_accuracy", 1 / 2),
        ("dense/finding_accuracy", 2 / 3),
        ("dense/side_accuracy", 1.0),
        ("dense/zone_accuracy", 0.0),
    ],
)
def test_every_metric_counted_by_hand(metric: str, expected: float) -> None:
    assert value(CAPTION_METRICS[metric], outcomes()) == pytest.approx(expected)


def test_naming_everything_does_not_pay() -> None:
    names = ["effusion", "nodule", "mass", "edema"]
    loud = [(dense, there, [(n, "", "") for n in names]) for dense, there, _ in ROWS]
    assert value(CAPTION_METRICS["finding_recall"], outcomes(loud)) == 1
    assert value(CAPTION_METRICS["finding_precision"], outcomes(loud)) == 4 / 16
    assert value(CAPTION_METRICS["dense/finding_accuracy"], outcomes(loud)) == 0


def test_reports_and_boxes_never_share_a_number() -> None:
    for name, metric in CAPTION_METRICS.items():
        rows = contributions(metric, outcomes())
        spoken = ~np.isnan(rows).any(axis=1)
        assert not spoken[[row[0] != name.startswith("dense/") for row in ROWS]].any(), name


def test_a_silent_model_has_no_precision_and_zero_f1() -> None:
    silent = outcomes([(dense, there, []) for dense, there, _ in ROWS])
    assert value(CAPTION_METRICS["finding_f1"], silent) == 0
    assert np.isnan(value(CAPTION_METRICS["finding_precision"], silent))


def test_an_interval_counts_reports_and_patients() -> None:
    found = score(CAPTION_METRICS, outcomes(ROWS * 6), draws=20)["all"]["finding_f1"]
    assert (found.n, found.patients) == (24, 24)
    assert found.low is not None
    assert found.low <= found.value <= (found.high or 0)


def test_outcomes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        outcomes([(False, [("mass", "left", ""), ("mass", "right", "")], [])])
    with pytest.raises(ValueError, match="length"):
        caption_outcomes(patients=["p"], dense=[], truth=[], said=[])
