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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from harness.errors import BenchError
from harness.images import Image

_PLAIN = {".jpg", ".jpeg"}
_ANSWERS = (".answers.jsonl", ".answers.npz")


def _exit_code(process: Any) -> int | None:
    try:
        return int(process.wait(timeout=5))
    except subprocess.TimeoutExpired:
        return None


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

    def answers(self, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any] | None]:
        """One answer per request, in order; None where the worker gave none.

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
        return [found.get(str(number)) for number in range(len(requests))]

    def vectors(self, requests: Sequence[dict[str, Any]]) -> Any:
        """One vector per request, (n, d); raises as `answers`."""
        file = self._ask(requests)
        if file.suffix != ".npz":
            first = file.read_text(encoding="utf-8").partition("\n")[0]
            raise BenchError(f"{self.name}: its worker gave no embedding: {first[:300]}")
        with np.load(file, allow_pickle=False) as stored:
            rows = dict(zip(stored["ids"].tolist(), stored["vectors"], strict=True))
        missing = [n for n in range(len(requests)) if str(n) not in rows]
        if missing:
            raise BenchError(f"{self.name}: its worker left out {len(missing)} embeddings")
        return np.stack([rows[str(number)] for number in range(len(requests))])

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
        return self._wait({str(file.with_suffix(suffix)) for suffix in _ANSWERS})

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
        """The request with its image as a path to a file that any library reads alike."""
        image = request.get("image")
        if not isinstance(image, Image):
            return request
        if image.file.suffix.lower() in _PLAIN:
            return {**request, "image": str(image.file.resolve())}
        name = hashlib.sha256(str(image.file).encode()).hexdigest()[:24]
        file = Path(self._folder.name) / f"{name}.png"
        if not file.exists():
            PIL.Image.fromarray(image.read()).save(file)
        return {**request, "image": str(file)}

    def _started(self) -> Any:
        if self._process is None:
            self._folder = tempfile.TemporaryDirectory(prefix="bench-")
            try:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    bufsize=1,
                )
            except OSError as error:
                self.stop()
                raise BenchError(
                    f"{self.name}: its worker cannot be started: {self.command[0]}: "
                    f"{error.strerror}. Set the variable BENCH_WORKER_... to a command that runs."
                ) from error
            atexit.register(self.stop)
            threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        return self._process

    def _listen(self, process: Any) -> None:
        for line in process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _ended(self) -> BenchError:
        # Its output ends a moment before the process does.
        code = _exit_code(self._process) if self._process else None
        self.stop()
        return BenchError(
            f"{self.name}: its worker ended (exit code {code}). What it printed stands above."
        )

    def stop(self) -> None:
        """End the process and remove the folder of requests."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                stream.close()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._lines = queue.Queue()
