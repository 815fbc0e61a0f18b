"""The same function with many orders: in processes of this machine, or as jobs of a Slurm cluster.

Every order runs in a process of its own (`harness.isolate`), so one that is lost is a failure of
its own and the others go on.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal, TypeAlias

from harness.errors import BenchError
from harness.isolate import Ended, Limits, run_isolated

Kind = Literal["local", "processes", "slurm"]
Heard: TypeAlias = Callable[[int, Any], None]

SLOT = (
    "BENCH_SLOT"  # which of the workers of this machine a process is, so that GPUs are shared out
)
POLL = 1.0  # seconds between two looks at jobs
DAY = 24 * 60  # minutes a Slurm job may take if nothing else is said


@dataclass(frozen=True)
class Executor:
    """Where orders are done, and how many at a time; 0 workers: one per processor core."""

    kind: Kind = "local"
    workers: int = 0
    limits: Limits = field(default_factory=Limits)
    folder: Path = Path("jobs")  # of Slurm's logs


@dataclass(frozen=True)
class Order:
    """Arguments of the function; `private` as in `run_isolated`."""

    arguments: tuple[Any, ...]
    private: bool = False


def _ignore(*_: object) -> None:
    """Nobody listens."""


def spread(
    executor: Executor,
    function: Callable[..., Any],
    orders: Sequence[Order],
    heard: Heard = _ignore,
) -> Iterator[tuple[int, Ended]]:
    """The index of each order and how it ended, in the order in which they end.

    `function` is called as ``function(tell, *arguments)``; `heard(index, message)` is called here
    for each ``tell(message)``, one at a time (not from Slurm jobs).

    Raises:
        BenchError: there is no Slurm here, or submitit is not installed.
    """
    if executor.kind == "slurm":
        yield from _jobs(executor, function, orders)
    else:
        yield from _processes(executor, function, orders, heard)


def _processes(
    executor: Executor, function: Callable[..., Any], orders: Sequence[Order], heard: Heard
) -> Iterator[tuple[int, Ended]]:
    todo: SimpleQueue[int] = SimpleQueue()
    for index in range(len(orders)):
        todo.put(index)
    ended: SimpleQueue[tuple[int, Ended]] = SimpleQueue()
    turn = threading.Lock()

    def hear(index: int, message: Any) -> None:
        with turn:
            heard(index, message)

    def work(slot: int) -> None:
        while True:
            try:
                index = todo.get_nowait()
            except Empty:
                return
            ended.put((index, _guarded(partial(hear, index), slot, orders[index])))

    def _guarded(tell: Callable[[Any], None], slot: int, order: Order) -> Ended:
        arguments = (_in_slot, slot, function, order.arguments)
        try:
            return run_isolated(
                *arguments, limits=executor.limits, heard=tell, private=order.private
            )
        except Exception as error:
            return Ended("failed", f"could not be started: {type(error).__name__}: {error}")

    # Daemons: an interrupted run ends at once, and its children with it.
    for slot in range(min(len(orders), executor.workers or os.cpu_count() or 1)):
        threading.Thread(target=work, args=(slot,), daemon=True).start()
    for _ in orders:
        yield ended.get()


def _in_slot(
    tell: Callable[[Any], None], slot: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> Any:
    os.environ[SLOT] = str(slot)
    return function(tell, *arguments)


def _jobs(
    executor: Executor, function: Callable[..., Any], orders: Sequence[Order]
) -> Iterator[tuple[int, Ended]]:
    submit = _slurm(executor)
    with submit.batch():
        jobs = [
            submit.submit(run_isolated, function, *o.arguments, limits=executor.limits, **_of(o))
            for o in orders
        ]
    waiting = dict(enumerate(jobs))
    while waiting:
        for index in [index for index, job in waiting.items() if job.done()]:
            yield index, _result(waiting.pop(index))
        if waiting:
            time.sleep(POLL)


def _of(order: Order) -> dict[str, bool]:
    return {"private": order.private}


def _result(job: Any) -> Ended:
    try:
        ended: Ended = job.result()
    except Exception:
        # submitit's message holds the job's whole log, which may quote what a model printed.
        logs = f"{job.paths.stderr.name} in {job.paths.folder.name}/"
        state = str(job.state).split()[0].lower()
        if state.startswith(("out_of_me", "timeout")):
            status: Any = "timeout" if state == "timeout" else "out_of_memory"
            return Ended(status, f"ended by Slurm ({state}), job {job.job_id}; see {logs}")
        return Ended("failed", f"its job {job.job_id} was lost ({state}); see {logs}")
    return ended


def _slurm(executor: Executor) -> Any:
    if shutil.which("sbatch") is None:
        raise BenchError(
            "--executor slurm: no sbatch on this machine. Run it on a login node of the cluster, "
            "or take --executor processes."
        )
    try:
        import submitit
    except ImportError as error:
        raise BenchError(
            "--executor slurm needs submitit. Install it: pip install 'cxr-bench[slurm]'"
        ) from error
    submit = submitit.SlurmExecutor(folder=executor.folder.resolve())
    minutes = (executor.limits.seconds or DAY * 60) / 60 + 10  # the job's own limit comes first
    submit.update_parameters(
        job_name="bench",
        time=round(minutes),
        array_parallelism=executor.workers or 256,
        use_srun=False,
    )
    return submit
