"""Shares of what pulls on the encoder, worked by hand."""

import pytest

from reports.ablation_pull import pull_section, pull_shares
from tests.reports.arms import arm, found


def row(step: int, **pulls: float) -> dict[str, float]:
    return {"step": step, "loss/sigmoid": 1.0, **{f"pull/{k}": v for k, v in pulls.items()}}


def test_shares_are_means_over_validations_and_then_over_seeds():
    # Seed 0: 3 of 4 and 1 of 2, mean 0.625. Seed 1: 1 of 8, whatever the size of the gradients.
    first = [row(40, sigmoid=3.0, grounding=1.0), row(80, sigmoid=0.5, grounding=0.5)]
    records = [
        arm("full", 0, validation=first),
        arm("full", 1, validation=[row(80, sigmoid=10.0, grounding=70.0)]),
        arm("without-sigmoid", 0, validation=[row(80, grounding=1.0, captioning=3.0)]),
    ]
    assert pull_shares(records, "full") == pytest.approx({"sigmoid": 0.375, "grounding": 0.625})
    lines = pull_section(found(records=records))
    assert lines[2:3] == ["| arm | sigmoid | grounding | captioning |"]
    assert "| `full` | 38 % | 62 % | – |" in lines
    assert "| `without-sigmoid` | – | 25 % | 75 % |" in lines


def test_nothing_is_said_of_trainings_that_did_not_measure_it_or_where_nothing_pulls():
    records = [arm("full", 0, validation=[row(80)]), arm("full", 1, validation=[])]
    assert pull_section(found(records=records)) == []
    still = [arm("full", 0, validation=[row(80, sigmoid=0.0, grounding=0.0)])]
    assert pull_shares(still, "full") == {}
