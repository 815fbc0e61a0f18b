"""A model that fails on a single item misses it; one that fails on all has failed (protocol §1)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from harness.errors import BenchError
from harness.models import NotScorable
from harness.tasks.task import NonFinite

T = TypeVar("T")
R = TypeVar("R")

# What is no failure on an item: a machine that is too small, a user's mistake, a refusal.
ENDS_THE_CELL = (MemoryError, TimeoutError, BenchError, NotScorable, NonFinite)
OTHERS = 3  # so many other items tell a broken model from a batch of odd ones


def one_by_one(
    ask: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T], others: Sequence[T] = ()
) -> list[R | None]:
    """The answers to a batch; None for an item that the model fails on alone.

    `others` are items outside the batch, of which the first few are asked if all of it fails:
    otherwise a lone odd item would end the cell whenever a batch is as small as that.

    Raises:
        Exception: what the model raised, if it fails on all of the batch and of those others; and
            whatever is of `ENDS_THE_CELL`.
    """
    try:
        return list(ask(items))
    except ENDS_THE_CELL:
        raise
    except Exception:
        answers: list[R | None] = [None] * len(items)
        if len(items) > 1:
            answers = [_alone(ask, item) for item in items]
        if all(answer is None for answer in answers):
            alive = any(_alone(ask, other) is not None for other in others[:OTHERS])
            if not alive:
                raise
        return answers


def _alone(ask: Callable[[Sequence[T]], Sequence[R]], item: T) -> R | None:
    try:
        (answer,) = ask([item])
    except Exception:
        return None
    return answer
