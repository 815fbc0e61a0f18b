"""What a run set out to do, beside its cells, so that another shell can say how far it is."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.atomic import write_json
from harness.datasets.table import dataset_spec
from harness.plan import CellPlan

NAME = "plan.json"


@dataclass(frozen=True)
class Planned:
    """One cell that a run meant to fill; `cohort` is "" in plans of earlier versions."""

    task: str
    dataset: str
    split: str
    model: str
    text_policy: str
    seed: int
    cohort: str = ""


def write_plan(folder: Path, cells: Sequence[CellPlan]) -> None:
    """Put the list of planned cells at the top of a runs folder.

    Raises:
        BenchError: the folder cannot be written.
    """
    planned = [
        Planned(
            task=cell.evaluation.task,
            dataset=cell.evaluation.dataset,
            split=cell.evaluation.split,
            model=cell.handle.reference.name,
            text_policy=cell.text_policy,
            seed=cell.seed,
            cohort=cell.evaluation.cohort or dataset_spec(cell.evaluation.dataset).cohorts[0],
        )
        for cell in cells
    ]
    write_json(folder / NAME, {"cells": [vars(item) for item in planned]})


def read_plan(folder: Path) -> list[Planned]:
    """The planned cells; none where no plan was written or it cannot be read."""
    try:
        found = json.loads((folder / NAME).read_text("utf-8"))["cells"]
        return [Planned(**item) for item in found]
    except (OSError, ValueError, KeyError, TypeError):
        return []
