"""A promise of a model protocol, and what it is looked at with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.check_films import Marked
from harness.images import Image


class Broken(Exception):
    """A promise that was not kept; `hint` names the likely mistake."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


class NotAsked(Exception):
    """A promise that this model does not make; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A model and what it is shown."""

    model: Any
    films: Sequence[Image]
    marked: Sequence[Marked]


@dataclass(frozen=True)
class Promise:
    """A name and the function that looks: it returns a remark, or raises `Broken` or `NotAsked`."""

    name: str
    look: Callable[[Subject], str | None]


def largest_difference(left: Any, right: Any) -> float:
    """The largest absolute difference of two arrays; NaN counts as equal to NaN only.

    >>> largest_difference([1.0, float("nan")], [1.5, float("nan")])
    0.5
    """
    a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    both = ~np.isnan(a)
    return float(np.abs(a[both] - b[both]).max(initial=0.0))
