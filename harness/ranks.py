"""One cell over many processes: who does which part, and where they wait for each other.

Under ``accelerate launch`` (or torchrun) every process runs the same command. Each asks its share,
stores what it gets, and all meet before the first one scores. Nothing but short messages passes
between them: outcomes and embeddings meet in the store, by sample id.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from harness.errors import BenchError

T = TypeVar("T")

# A rank that died breaks its connections at once; this only bounds how long one may be slower.
PATIENCE = timedelta(days=7)


class RankFailed(BenchError):
    """Another process of this cell has failed; the message says which and how."""


@dataclass(frozen=True)
class Ranks:
    """This process's number among all that run the same command."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that scores and writes."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Every `world`-th item: this process's part of a list that is the same for all."""
        return list(items[self.rank :: self.world])

    def meet(self) -> None:
        """Wait for all others.

        Raises:
            RankFailed: one of them has failed.
        """
        self.from_first(None)

    def from_first(self, value: T) -> T:
        """What the first process gave, on all of them.

        Raises:
            RankFailed: as `meet`.
        """
        if self.world == 1:
            return value
        answer: T = self._told(value if self.first else None)[0]
        return answer

    def gather(self, value: T) -> list[T]:
        """What each process gave, in the order of their numbers, on all of them.

        Raises:
            RankFailed: as `meet`.
        """
        return [value] if self.world == 1 else self._told(value)

    def _told(self, value: Any) -> list[Any]:
        told = self._exchange((None, value))
        failed = [f"process {rank}: {why}" for rank, (why, _) in enumerate(told) if why]
        if failed:
            raise RankFailed(failed[0])
        return [given for _, given in told]

    @contextmanager
    def together(self) -> Iterator[None]:
        """A part that all do or none: who fails in it tells the others, who then stop too."""
        try:
            yield
        except RankFailed:
            raise
        except Exception as error:
            if self.world > 1:
                # The type alone: a message could quote a report, and is told by its own process.
                self._exchange((type(error).__name__, None))
            raise
        self.meet()

    def _exchange(self, message: Any) -> list[Any]:
        import torch.distributed

        answers: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(answers, message)
        return answers


ALONE = Ranks()


@contextmanager
def ranks_here() -> Iterator[Ranks]:
    """This process's place by RANK and WORLD_SIZE, joined to the others; `ALONE` without them."""
    world = int(os.environ.get("WORLD_SIZE") or 1)
    if world == 1:
        yield ALONE
        return
    import torch.distributed

    joined = not torch.distributed.is_initialized()
    if joined:
        torch.distributed.init_process_group("gloo", timeout=PATIENCE)
    ranks = Ranks(int(os.environ["RANK"]), world)
    yield ranks
    # Who leaves while another still talks to it breaks that one's connection.
    ranks.meet()
    if joined:
        torch.distributed.destroy_process_group()
