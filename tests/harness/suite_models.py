"""Small models for the tests of a run; each is loaded by `harness.registry` as code."""

import ctypes
import itertools
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.boxes import boxes_from_unit
from harness.images import Image
from harness.models import Grounding, ModelCard, NotScorable, Query


class Pixels:
    """Embeds an image by its mean grey in 8 x 8 cells and a text by its letters."""

    def __init__(self, name: str, log: str = "", nan_after: int | None = None):
        self.card = ModelCard(name, "test", weights=name, trained_on=())
        self.log = log
        self.nan_after = nan_after
        self.asked = 0

    def prepare_image(self, image: Image) -> np.ndarray:
        pixels = image.read().astype(np.float32)
        rows, columns = np.linspace(0, pixels.shape[0], 9), np.linspace(0, pixels.shape[1], 9)
        cells = [
            pixels[int(a) : int(b), int(c) : int(d)].mean()
            for a, b in itertools.pairwise(rows)
            for c, d in itertools.pairwise(columns)
        ]
        return np.array(cells, np.float32)

    def embed_images(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        note(self.log, len(prepared))
        self.asked += len(prepared)
        rows = np.stack(prepared) - 100
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        if self.nan_after is not None and self.asked > self.nan_after:
            rows[-1] = np.nan
        return rows

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.stack([np.bincount([ord(c) % 64 for c in t + "x"], minlength=64) for t in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Boxer:
    """Answers with a box that depends on the pixels; may kill its own process once."""

    def __init__(self, log: str = "", die_at: int = 0):
        self.card = ModelCard("boxer", "test", weights="boxer", trained_on=())
        self.log = log
        self.die_at = die_at
        self.asked = 0

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        note(self.log, len(queries))
        self.asked += len(queries)
        if self.die_at and self.asked > self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return [self._one(query) for query in queries]

    def _one(self, query: Query) -> Grounding:
        share = float(query.image.read().mean()) / 255
        return Grounding(boxes_from_unit([[share / 2, 0.2, share / 2 + 0.4, 0.7]]))


class Choosy(Boxer):
    """Raises whenever it is asked about one certain film."""

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        if any(query.image.image_id == "nih_00008365_000" for query in queries):
            raise RuntimeError("this film I cannot read")
        return super().ground(queries)


class Untaught(Boxer):
    """A model whose location loss was ablated."""

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        raise NotScorable(f"not taught: grounding ({len(queries)} phrases)")


def note(log: str, count: int) -> None:
    """One line per call, so that a test can count what was computed."""
    if log:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{count}\n")


def pixels(device: str, **options: Any) -> Pixels:
    del device
    return Pixels(**{"name": "pixels", **options})


def boxer(device: str, **options: Any) -> Boxer:
    del device
    return Boxer(**options)


def choosy(device: str) -> Choosy:
    del device
    return Choosy()


def untaught(device: str) -> Untaught:
    del device
    return Untaught()


def raises(device: str) -> Any:
    raise RuntimeError(f"no such chip: {device}")


def out_of_memory(device: str) -> Any:
    del device
    raise MemoryError("64 GiB asked")


def segfaults(device: str) -> Any:
    del device
    return Doomed("segfaults", lambda: ctypes.string_at(0))


def hangs(device: str) -> Any:
    del device
    return Doomed("hangs", lambda: time.sleep(3600))


def swallows(device: str) -> Any:
    del device
    return Doomed("swallows", _swallow)


def quotes(device: str) -> Any:
    """Fails with the text it was given in its message."""
    del device
    return Quoting()


def describe_external() -> ModelCard:
    return ModelCard("segfaults", "external", weights="segfaults", trained_on=())


class Doomed(Pixels):
    """Says who it is, and does something to its process when it is asked."""

    def __init__(self, name: str, doom: Callable[[], Any]):
        super().__init__(name)
        self.doom = doom

    def embed_images(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        self.doom()
        return super().embed_images(prepared)


class Quoting(Pixels):
    """Its errors, its log and its output hold what it was asked."""

    def __init__(self) -> None:
        super().__init__("quotes")

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        raise RuntimeError(f"cannot embed: {' | '.join(texts)}")

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        raise RuntimeError(f"cannot locate: {' | '.join(query.phrase for query in queries)}")


def _swallow() -> None:
    held = []
    while True:
        held.append(b"\1" * 50_000_000)
        time.sleep(0.02)


class Turned(Pixels):
    """One of many models that share a name and weights and differ by an option alone."""

    def __init__(self, turn: float = 1.0):
        super().__init__("turned")
        self.turn = turn

    def embed_images(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        rows = super().embed_images(prepared)
        return rows * np.where(np.arange(rows.shape[1]) % 2, self.turn, 1).astype(np.float32)


def turned(device: str, **options: Any) -> Turned:
    del device
    return Turned(**options)


class Rounding(Pixels):
    """A matrix product of a whole batch: its last digits depend on what shares the batch."""

    def __init__(self) -> None:
        super().__init__("rounding")
        self.weights = np.random.default_rng(5).normal(size=(64, 512)).astype(np.float32)

    def embed_images(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        rows = super().embed_images(prepared) @ self.weights
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        rows = super().embed_texts(texts) @ self.weights
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def rounding(device: str) -> Rounding:
    del device
    return Rounding()


class Placed(Boxer):
    """Notes each time it is asked which process of how many it is in."""

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        place = f"{os.environ.get('RANK', 0)} of {os.environ.get('WORLD_SIZE', 1)}"
        with Path(self.log).open("a", encoding="utf-8") as file:
            file.write(f"{place}\n")
        return [self._one(query) for query in queries]


def placed(device: str, *, log: str) -> Placed:
    del device
    return Placed(log)


def raises_on(device: str, *, rank: str) -> Any:
    """A model that only one of several processes cannot load."""
    if os.environ.get("RANK") == rank:
        raise RuntimeError(f"no such chip: {device}")
    return Pixels("raises_on")


def speaks(device: str, *, message: str) -> Any:
    del device
    raise RuntimeError(message)


def missing_file(device: str, *, file: str) -> Any:
    """A model whose weights somebody has yet to bring."""
    del device
    if not Path(file).exists():
        raise RuntimeError("no weights yet")
    return Pixels("late")


def waits(device: str, *, file: str) -> Any:
    """A model that takes until a file is there."""
    del device
    return Doomed("waits", lambda: _until(Path(file)))


def _until(file: Path) -> None:
    while not file.exists():
        time.sleep(0.05)
