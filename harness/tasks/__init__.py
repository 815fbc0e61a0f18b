"""What is asked of a model: one file per task, and the table of them."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.errors import unknown

if TYPE_CHECKING:
    from harness.tasks.task import Task

TASKS: Mapping[str, str] = {
    "retrieval": "harness.tasks.retrieval",
    "grounding": "harness.tasks.grounding",
    "probe": "harness.tasks.probe",
    "captioning": "harness.tasks.captioning",
}


def find_task(name: str) -> "Task":
    """The task of that name, imported now."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    task: Task = importlib.import_module(TASKS[name]).TASK
    return task
