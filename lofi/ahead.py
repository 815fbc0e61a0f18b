"""Work done ahead by a thread: the next batch is made while the model works on this one."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from lofi.data import Batch

Result = TypeVar("Result")


def in_background(work: Callable[[], Result]) -> "Future[Result]":
    """The result of `work` once a thread has it; an error is raised where it is asked for.

    The thread does not keep a process alive that ends otherwise (a pool's would).
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # the caller's to judge
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


class Ahead:
    """Batches of consecutive steps below `stop`, each made while the one before is used.

    A batch is a function of its step, so what is made ahead is what would have been made late.
    """

    def __init__(self, batches: Callable[[int], Batch], stop: int):
        self.batches, self.stop = batches, stop
        self._coming: tuple[int, Future[Batch]] | None = None

    def __call__(self, step: int) -> Batch:
        """The batch of a step; the next one is begun."""
        coming, self._coming = self._coming, None
        ready = coming is not None and coming[0] == step
        batch = coming[1].result() if ready else self.batches(step)
        if step + 1 < self.stop:
            self._coming = (step + 1, in_background(lambda: self.batches(step + 1)))
        return batch

    def settle(self) -> None:
        """Wait for what is being made: a tokenizer serves one thread at a time."""
        if self._coming is not None:
            self._coming[1].result()
