"""Jobs over several processes, in order, with a word on how far they are."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from harness.errors import BenchError

Job = TypeVar("Job")
Result = TypeVar("Result")


def usable_cores() -> int:
    """The number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None = None
) -> Iterator[Result]:
    """The result of each job, in the order of the jobs.

    Args:
        function: at the top level of a module, so that other processes find it.
        jobs: what it is called with.
        workers: processes; None: one per core that may be used; 1: in this process.

    Raises:
        BenchError: a process died.
    """
    count = min(workers or usable_cores(), len(jobs))
    if count <= 1:
        yield from map(function, jobs)
        return
    # Not forked: a fork of a process with threads (BLAS, progress bars) can hang.
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(function, jobs)
        except BrokenProcessPool as error:
            raise BenchError(
                "phantom: a rendering process died (out of memory?). What is finished is kept: "
                "run again, with fewer workers."
            ) from error
