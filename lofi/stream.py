"""A stream of newly drawn phantoms: one chunk is trained on while the next one is drawn."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.cache_root import cache_root
from harness.datasets.table import dataset_spec
from harness.datasets.training import TrainingSet, load_training
from harness.errors import BenchError
from harness.phantom.parallel import usable_cores
from harness.phantom.world import BLOCK_STUDIES
from lofi.ahead import in_background
from lofi.config import Data, LofiConfig
from lofi.data import Batch, Batches, Studies
from lofi.drawn import Chunks, draw_chunk, forget_chunk
from lofi.source import Report

KEPT = 2  # chunks that stay on disk behind the one in use, for a run that resumes a little earlier


@dataclass
class Phantoms:
    """The chunks of a stream as training sets, drawn in a process of their own if asked ahead."""

    chunks: Chunks
    report: Report | None = None
    leads: bool = True  # whether this process draws ahead and removes what was used
    workers: int = max(usable_cores() - 1, 1)
    drawing: dict[int, Any] = field(default_factory=dict, repr=False)  # processes by chunk

    def training_set(self, number: int) -> TrainingSet:
        """A chunk through the harness's loaders; `split` is "train", patients are new ones."""
        if number in self.drawing:
            self.drawing.pop(number).wait()  # should it have failed, the chunk is drawn here
        roots = draw_chunk(
            self.chunks, number, workers=self.workers, progress=self._progress(number)
        )
        return load_training(
            "mimic-cxr",
            "train",
            roots,
            variant=self.chunks.boxes,
            phantom=True,
            truth=roots["truth"],
        )

    def _progress(self, number: int) -> Callable[[int, int], None] | None:
        told = self.report
        return None if told is None else partial(told, f"drawing chunk {number}")

    def draw_ahead(self, number: int) -> None:
        """Begin to draw a chunk, and remove those long used."""
        if not self.leads:
            return
        old = number - 2 - KEPT
        if old > 0:  # the first chunk stays: the tokenizer and the record are of it
            forget_chunk(self.chunks, old)
        if number not in self.drawing and not self.chunks.is_drawn(number):
            of = self.chunks
            what = (of.top, number, of.studies, of.boxes, of.size, self.workers)
            command = [sys.executable, "-m", "lofi.drawn", *map(str, what)]
            paths = [os.environ.get("PYTHONPATH"), str(Path(__file__).parents[1])]
            env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
            self.drawing[number] = subprocess.Popen(command, env=env)


class Stream:
    """Studies without an end: `chunk(k)` for `steps` steps, then `chunk(k + 1)`.

    `read` gives the studies of a chunk; `prepare` is told, early, which one will be needed next.
    """

    def __init__(
        self,
        read: Callable[[int], Studies],
        steps: int,
        prepare: Callable[[int], None] = lambda _: None,
    ):
        self.read, self.steps, self.prepare = read, steps, prepare
        self._coming: tuple[int, Future[Studies]] | None = None
        self._used: tuple[int, Studies] | None = None

    def chunk(self, number: int) -> Studies:
        """The studies of a chunk, read now unless they are in use or were asked for ahead."""
        if self._used is None or self._used[0] != number:
            coming, self._coming = self._coming, None
            ready = coming is not None and coming[0] == number
            self._used = (number, coming[1].result() if ready else self.read(number))
        return self._used[1]

    def ahead(self, number: int) -> None:
        """Begin to draw and to read a chunk while others are trained on."""
        self.prepare(number)
        self._coming = (number, in_background(lambda: self.read(number)))


class StreamedBatches:
    """Batches of a stream; the one of a step depends on (seed, step) alone, as of a fixed split."""

    def __init__(
        self,
        stream: Stream,
        config: LofiConfig,
        *,
        tokenizers: tuple[Any, Any],
        share: tuple[int, int] = (0, 1),
    ):
        self.stream, self.config, self.share = stream, config, share
        self.prompts, self.text_tokenizer = tokenizers
        self.last = (config.training.steps - 1) // stream.steps
        self._open: tuple[int, Batches] | None = None

    def __call__(self, step: int) -> Batch:
        """The batch of a step, or this process's share of it."""
        number = step // self.stream.steps
        if self._open is None or self._open[0] != number:
            studies = self.stream.chunk(number)
            if number < self.last:
                self.stream.ahead(number + 1)
            tokenizers = (self.prompts, self.text_tokenizer)
            batches = Batches(studies, self.config, tokenizers=tokenizers, share=self.share)
            self._open = (number, batches)
        return self._open[1](step)


def batches_of(
    studies: Studies | Stream,
    config: LofiConfig,
    *,
    tokenizers: tuple[Any, Any],
    share: tuple[int, int],
) -> Batches | StreamedBatches:
    """The batches of a fixed split, or of a stream."""
    made = StreamedBatches if isinstance(studies, Stream) else Batches
    return made(studies, config, tokenizers=tokenizers, share=share)


def open_phantoms(
    data: Data,
    roots: Mapping[str, Path],
    *,
    limit: int | None = None,
    report: Report | None = None,
    leads: bool = True,
) -> Phantoms:
    """The stream that `data.stream` asks for.

    Raises:
        BenchError: real data or another data set than mimic-cxr, a limit, or patients cut in two.
    """
    if data.dataset != "mimic-cxr" or not dataset_spec(data.dataset).is_phantom(roots):
        raise BenchError(
            f"data.stream is {data.stream}: it draws phantoms of mimic-cxr, and the data are "
            f"{data.dataset} {'' if dataset_spec(data.dataset).is_phantom(roots) else '(real)'}. "
            "Add -o data.stream=0 to train on them."
        )
    if limit is not None:
        raise BenchError(
            f"--limit {limit} with data.stream {data.stream}: a stream has no first studies. "
            "Add -o data.stream=0 for a fixed split, or choose the size of a chunk there."
        )
    if data.stream % BLOCK_STUDIES:
        raise BenchError(
            f"data.stream is {data.stream}. Expected a multiple of {BLOCK_STUDIES}, which keeps "
            "each patient in one chunk."
        )
    chunks = Chunks(cache_root() / "phantom-stream", data.stream, data.boxes)
    return Phantoms(chunks, report, leads)


def stream_of(
    phantoms: Phantoms, read: Callable[[TrainingSet, Path], Studies], config: LofiConfig
) -> Stream:
    """The stream as the training loop reads it; `read` gets a chunk and the folder it lies in."""

    def chunk(number: int) -> Studies:
        return read(phantoms.training_set(number), phantoms.chunks.folder(number))

    return Stream(chunk, steps_of(config), phantoms.draw_ahead)


def steps_of(config: LofiConfig) -> int:
    """For how many steps each chunk is trained on: `data.passes` times over all of it."""
    shown = config.data.stream * config.data.passes
    return max(-(-shown // config.training.batch_size), 1)
