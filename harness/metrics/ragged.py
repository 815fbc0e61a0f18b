"""Lists of box sets of different lengths, laid end to end."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Ragged:
    """A list of box sets laid end to end: set i is ``boxes[start[i]:start[i + 1]]``."""

    boxes: Float[np.ndarray, "total 4"]
    start: Int[np.ndarray, " n_plus_1"]

    def __len__(self) -> int:
        return len(self.start) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.boxes[self.start[index] : self.start[index + 1]]

    @cached_property
    def counts(self) -> np.ndarray:
        """Boxes per set, (n,)."""
        return np.diff(self.start)


def ragged(sets: Sequence[np.ndarray]) -> Ragged:
    """The box sets laid end to end, float64."""
    start = np.cumsum([0, *map(len, sets)])
    boxes = np.concatenate(sets).astype(np.float64) if sets else np.zeros((0, 4))
    return Ragged(boxes.reshape(-1, 4), start)
