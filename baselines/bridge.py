"""A worker process of another environment: started once, asked in batches, ended with us."""

import atexit
import hashlib
import json
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from baselines.process_tree import end_tree
from baselines.stored_answers import read_arrays
from harness.errors import BenchError
from harness.images import Image

_PLAIN = {".jpg", ".jpeg"}
_ANSWERS = (".answers.jsonl", ".answers.npz")


def _exit_code(process: Any) -> int | None:
    try:
        return int(process.wait(timeout=5))
    except subprocess.TimeoutExpired:
        return None


def _read_lines(stream: Any, lines: Any) -> None:
    """Put the lines into a queue, None after the last; only this thread may close the stream.

    Closing waits for who is reading, and a process that escaped its parent may hold the other end
    for hours.
    """
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


@dataclass
class Worker:
    """One worker; its protocol stands in `baselines.external`.

    What it prints to standard error goes to ours; to standard output it prints nothing but the
    paths of its answers (other lines are passed over: libraries print what they like).
    """

    name: str
    command: tuple[str, ...]
    seconds: float
    _process: Any = None
    _folder: Any = None
    _lines: Any = field(default_factory=queue.Queue)
    _count: int = 0
    _pictures: tuple[set[Path], set[Path]] = field(default_factory=lambda: (set(), set()))

    def answers(
        self, requests: Sequence[dict[str, Any]]
    ) -> tuple[list[dict[str, Any] | None], Path]:
        """One answer per request, in order, None where the worker gave none; the file of maps.

        Raises:
            TimeoutError: no answer in time; the worker is ended.
            BenchError: the worker ended, or wrote what is no answer.
        """
        file = self._ask(requests)
        found: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            try:
                answer = json.loads(line)
                found[answer["id"]] = answer
            except (ValueError, KeyError, TypeError) as error:
                raise BenchError(
                    f"{self.name}: its worker's answer {number} is no JSON object with an id"
                ) from error
        maps = file.with_name(file.name.replace(".answers.jsonl", ".maps.npz"))
        return [found.get(str(number)) for number in range(len(requests))], maps

    def vectors(self, requests: Sequence[dict[str, Any]]) -> Any:
        """One vector per request, (n, d); raises as `answers`."""
        ids, found = self._arrays(requests, "ids", "vectors")
        rows = dict(zip(ids.tolist(), found, strict=True))
        missing = [n for n in range(len(requests)) if str(n) not in rows]
        if missing:
            raise BenchError(f"{self.name}: its worker left out {len(missing)} embeddings")
        return np.stack([rows[str(number)] for number in range(len(requests))])

    def scores(self, images: Sequence[Image], texts: Sequence[str]) -> Any:
        """The score of every pair, (n, m); raises as `answers`."""
        request = {"task": "score", "images": list(images), "texts": list(texts)}
        [scores] = self._arrays([request], "scores")
        if scores.shape != (len(images), len(texts)):
            raise BenchError(
                f"{self.name}: its worker gave scores {scores.shape} for {len(images)} images and "
                f"{len(texts)} texts"
            )
        return scores

    def _arrays(self, requests: Sequence[dict[str, Any]], *names: str) -> list[Any]:
        file = self._ask(requests)
        if file.suffix != ".npz":
            first = file.read_text(encoding="utf-8").partition("\n")[0]
            raise BenchError(f"{self.name}: its worker gave no numbers: {first[:300]}")
        return read_arrays(file, *names)

    def _ask(self, requests: Sequence[dict[str, Any]]) -> Path:
        """The file of answers to a batch."""
        process = self._started()
        self._count += 1
        folder = Path(self._folder.name)
        file = folder / f"requests-{self._count:06d}.jsonl"
        lines = [
            json.dumps({"id": str(number), **self._plain(request)})
            for number, request in enumerate(requests)
        ]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        try:
            process.stdin.write(f"{file}\n")
            process.stdin.flush()
        except OSError as error:
            raise self._ended() from error
        answers = self._wait({str(file.with_suffix(suffix)) for suffix in _ANSWERS})
        self._forget()
        return answers

    def _wait(self, expected: set[str]) -> Path:
        """The path of the answers, once the worker prints it."""
        deadline = time.monotonic() + self.seconds
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                self.stop()
                raise TimeoutError(
                    f"{self.name}: its worker gave no answer within {self.seconds:g} s"
                ) from None
            if line is None:
                raise self._ended()
            if line.strip() in expected:
                return Path(line.strip())

    def _plain(self, request: dict[str, Any]) -> dict[str, Any]:
        """The request with its images as paths to files that any library reads alike."""
        if isinstance(request.get("image"), Image):
            return {**request, "image": self._picture(request["image"])}
        if "images" in request:
            return {**request, "images": [self._picture(image) for image in request["images"]]}
        return request

    def _picture(self, image: Image) -> str:
        if image.file.suffix.lower() in _PLAIN:
            return str(image.file.resolve())
        name = hashlib.sha256(str(image.file).encode()).hexdigest()[:24]
        file = Path(self._folder.name) / f"{name}.png"
        if not file.exists():
            PIL.Image.fromarray(image.read()).save(file)
        self._pictures[1].add(file)
        return str(file)

    def _forget(self) -> None:
        """Remove the pictures that neither this batch nor the one before it asked about."""
        before, now = self._pictures
        for file in before - now:
            file.unlink(missing_ok=True)
        self._pictures = (now, set())

    def _started(self) -> Any:
        if self._process is None:
            self._folder = tempfile.TemporaryDirectory(prefix="bench-")
            try:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    bufsize=1,
                )
            except OSError as error:
                self.stop()
                raise BenchError(
                    f"{self.name}: its worker cannot be started: {self.command[0]}: "
                    f"{error.strerror}. Set the variable BENCH_WORKER_... to a command that runs."
                ) from error
            atexit.register(self.stop)
            self._listen()
        return self._process

    def _listen(self) -> None:
        """Read what the worker prints, in a thread that lives as long as anyone can print."""
        arguments = (self._process.stdout, self._lines)
        name = f"answers of {self.name}"
        threading.Thread(target=_read_lines, args=arguments, name=name, daemon=True).start()

    def _ended(self) -> BenchError:
        # Its output ends a moment before the process does.
        code = _exit_code(self._process) if self._process else None
        self.stop()
        return BenchError(
            f"{self.name}: its worker ended (exit code {code}). What it printed stands above."
        )

    def stop(self) -> None:
        """End the process with all that it started, and remove the folder of requests."""
        if self._process is not None:
            end_tree(self._process)
            with suppress(OSError):  # a request that it never read
                self._process.stdin.close()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._lines = queue.Queue()
