"""A runs folder: its cells by what was asked of whom, and all their records."""

import hashlib
import re
from pathlib import Path

from harness.cache_root import cache_root
from harness.cell import FINAL, Cell
from harness.record import RunRecord, cell_folder
from harness.record_file import read_record

__all__ = ["FINAL", "Cell", "Store", "cache_root"]


class Store:
    """The cells below one runs folder, e.g. `runs/retrieval`; nothing is created before a write."""

    def __init__(self, root: Path | str):
        self.root = Path(root)

    def cell(self, task: str, dataset: str, split: str, model: str, key: str) -> Cell:
        """The cell of that model on that evaluation; `key` is the whole SHA-256 of its identity."""
        task, dataset, split, model = (safe_name(part) for part in (task, dataset, split, model))
        return Cell(self.root / "cells" / cell_folder(task, dataset, split, model, key), key)

    def records(self) -> list[RunRecord]:
        """All readable records, by folder name; damaged ones are set aside with a warning.

        Raises:
            BenchError: a record was written by a newer version.
        """
        found = (read_record(path) for path in sorted(self.root.glob("cells/*/record.json")))
        return [record for record in found if record is not None]


def safe_name(name: str) -> str:
    """`name` as one part of a file name; names that had to change stay apart by a short hash.

    >>> safe_name("lofi-tiny"), safe_name("../x")
    ('lofi-tiny', 'x-d6b96a97')
    """
    safe = re.sub(r"[^A-Za-z0-9._+@=-]+", "_", name).lstrip("._-")[:60]
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
