"""The published ablations: their arms are finished, their records are those that were written."""

from pathlib import Path

import pytest

from harness.ablation import is_finished, read_arms
from harness.record_file import record_intact

FOLDER = Path(__file__).parents[2] / "lofi"
ARMS = {"ablation": 18, "ablation-location": 6}


@pytest.mark.parametrize("name", ARMS)
def test_whoever_runs_the_command_again_trains_nothing(name: str) -> None:
    arms = read_arms(FOLDER / name)
    assert len(arms) == ARMS[name]
    assert all(is_finished(FOLDER / name, arm) for arm in arms)


@pytest.mark.parametrize("name", ARMS)
def test_no_record_was_changed_after_its_checksum_and_none_names_a_machine(name: str) -> None:
    records = list((FOLDER / name / "cells").glob("*/record.json"))
    assert records
    for file in records:
        content = file.read_bytes()
        assert record_intact(content) is True, file
        assert b'": "/' not in content, file
