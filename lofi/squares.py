"""Some rows of a table of squares that stays on disk."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8


@dataclass(frozen=True)
class SomeSquares:
    """The squares of `table` that `rows` names, in that order; indexed as an array of their own.

    Only what is asked for is read: MIMIC-CXR at 512 pixels has 62 GB.
    """

    table: UInt8[np.ndarray, "all s s"]
    rows: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        """The number of squares."""
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array has it."""
        return (len(self.rows), *self.table.shape[1:])

    def __getitem__(self, index: Any) -> UInt8[np.ndarray, "..."]:
        """One square, or those of a slice or of an array of places."""
        found: np.ndarray = self.table[self.rows[index]]
        return found
