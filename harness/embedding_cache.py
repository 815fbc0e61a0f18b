"""Embeddings that were computed once, found again by everything that decides them.

A cache is a folder of safetensors shards, each named by its SHA-256 and holding `vectors` (n, d)
and `ids` (n, 32: the SHA-256 of each content id). The index is rebuilt from the shards; a vector is
given out only from a shard whose bytes have just been verified.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from jaxtyping import Bool, Float, Int, UInt8
from safetensors import SafetensorError, safe_open

from harness import atomic
from harness.cache_root import cache_root
from harness.file_hash import file_sha256
from harness.identity import key_of
from harness.models import ModelCard
from harness.quarantine import quarantine

_NAME = re.compile(r"^[0-9a-f]{64}\.safetensors$")


@dataclass(frozen=True)
class EmbeddingIdentity:
    """All that decides an embedding except its content; each field enters the key.

    `weights` is a content hash or pinned revision; `dtype` that of the computation, with autocast
    named (e.g. "bfloat16-autocast"); `options` what the model was loaded with.
    """

    modality: str  # "image" | "text"
    family: str
    weights: str
    adapter_version: int
    preprocessing: str
    dtype: str
    text_policy: str
    max_tokens: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def key(self) -> str:
        """The SHA-256 of all fields."""
        return key_of(asdict(self))


def open_cache(
    card: ModelCard,
    modality: str,
    dtype: str = "float32",
    *,
    text_policy: str = "official",
    options: Mapping[str, Any] | None = None,
    root: Path | None = None,
) -> "EmbeddingCache":
    """The cache of that model for "image" or "text", below `root` (default: the cache folder)."""
    identity = EmbeddingIdentity(
        modality=modality,
        family=card.family,
        weights=card.weights,
        adapter_version=card.version,
        preprocessing=card.preprocessing,
        dtype=dtype,
        text_policy=text_policy if modality == "text" else "",
        max_tokens=card.max_tokens if modality == "text" else None,
        options=dict(options or {}),
    )
    return EmbeddingCache(root or cache_root(), identity, card.name)


def text_id(text: str) -> str:
    """The content id of a text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def image_id(file: Path) -> str:
    """The content id of an image: the SHA-256 of its file, remembered by path, size and time."""
    return file_sha256(file)


class EmbeddingCache:
    """One model's embeddings of one modality; safe for several processes at once.

    A model without a weights hash is not cached: nothing is found and nothing is stored, because
    other weights could stand behind the same name.
    """

    def __init__(self, root: Path, identity: EmbeddingIdentity, model: str = ""):
        self.root = root
        self.identity = identity
        self.model = model or identity.family
        self.usable = bool(identity.weights)
        self._key = identity.key()
        family = re.sub(r"[^A-Za-z0-9._-]+", "_", identity.family)[:40]
        self.folder = root / "embeddings" / f"{family}-{identity.modality}-{self._key[:16]}"
        self._shards: list[Path] = []
        self._ids: list[UInt8[np.ndarray, "_ 32"]] = []
        self._index: _Index | None = None

    def computed_in(self, dtype: str) -> "EmbeddingCache":
        """The cache of the same model computing in other numbers, e.g. "bfloat16-autocast"."""
        if dtype == self.identity.dtype:
            return self
        return EmbeddingCache(self.root, replace(self.identity, dtype=dtype), self.model)

    def get(self, ids: Sequence[str]) -> tuple[Bool[np.ndarray, " _"], Float[np.ndarray, "n _"]]:
        """Which content ids are there, and a row for each id; rows not found are NaN.

        The matrix has the dtype that was stored, and no columns if nothing was found. Ask for
        all ids at once: each call reads and verifies the shards it touches.
        """
        wanted = _digests(ids)
        self._scan()
        while True:
            if self._index is None:
                self._index = _Index(self._ids)
            shard, row = self._index.find(wanted)
            try:
                return shard >= 0, self._gather(wanted, shard, row)
            except _Damaged as damage:
                self._drop(damage.shard, damage.reason)

    def put(self, ids: Sequence[str], matrix: Float[np.ndarray, "n d"]) -> None:
        """Store one row per content id in a new shard; durable when this returns.

        Raises:
            ValueError: a row is not finite (the model and the ids are named), an id occurs twice,
                or the shape does not fit the ids or the cache.
            BenchError: the cache folder is full or cannot be written to.
        """
        rows = np.ascontiguousarray(matrix)
        self._check(ids, rows)
        if not len(rows) or not self.usable:
            return
        tensors = {"ids": _digests(ids), "vectors": rows}
        data = safetensors.numpy.save(tensors, {"identity": self._key})
        if not self.folder.exists():
            atomic.write_json(self.folder / "identity.json", asdict(self.identity))
        name = f"{hashlib.sha256(data).hexdigest()}.safetensors"
        atomic.write_bytes(self.folder / name, data)

    def _check(self, ids: Sequence[str], rows: np.ndarray) -> None:
        where = f"{self.model}: {self.identity.modality} embeddings"
        if rows.ndim != 2 or len(rows) != len(ids) or rows.dtype.kind != "f":
            raise ValueError(f"{where}: {rows.dtype} {rows.shape} for {len(ids)} ids")
        if len(set(ids)) != len(ids):
            raise ValueError(f"{where}: an id occurs twice")
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            named = ", ".join(ids[index] for index in bad[:3])
            raise ValueError(f"{where}: non-finite in {len(bad)} of {len(ids)} rows: {named}")

    def _scan(self) -> None:
        known = {path.name for path in self._shards}
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.name in known or not _NAME.match(path.name):
                continue
            try:
                with safe_open(path, framework="np") as opened:
                    ids = opened.get_tensor("ids")
                if ids.shape[1:] != (32,) or ids.dtype != np.uint8:
                    raise ValueError(f"ids are {ids.dtype} {ids.shape}")
            except FileNotFoundError:
                continue
            except (SafetensorError, OSError, ValueError) as error:
                quarantine(path, self.folder, f"is not an embedding shard ({error})")
                continue
            self._shards.append(path)
            self._ids.append(ids)
            self._index = None

    def _gather(
        self, wanted: UInt8[np.ndarray, "n 32"], shard: Int[np.ndarray, " _"], row: Any
    ) -> Float[np.ndarray, "n _"]:
        matrix: np.ndarray | None = None
        for number in np.unique(shard[shard >= 0]):
            vectors, ids = self._load(int(number))
            places = np.flatnonzero(shard == number)
            if matrix is None:
                matrix = np.full((len(wanted), vectors.shape[1]), np.nan, vectors.dtype)
            if not np.array_equal(ids[row[places]], wanted[places]):
                raise _Damaged(int(number), "holds other ids than when it was opened")
            if vectors.shape[1:] != matrix.shape[1:] or vectors.dtype != matrix.dtype:
                raise _Damaged(int(number), f"holds {vectors.dtype} rows of {vectors.shape[1]}")
            matrix[places] = vectors[row[places]]
        return np.full((len(wanted), 0), np.nan, np.float32) if matrix is None else matrix

    def _load(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        path = self._shards[number]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _Damaged(number, f"cannot be read ({error.strerror})") from error
        if hashlib.sha256(data).hexdigest() != path.stem:
            raise _Damaged(number, "does not have the hash in its name")
        # The header is only read once the bytes are known to be what some writer wrote.
        size = int.from_bytes(data[:8], "little")
        mark = json.loads(data[8 : 8 + size])["__metadata__"]["identity"]
        if mark != self._key:
            raise _Damaged(number, f"holds embeddings of another model ({mark[:12]})")
        tensors = safetensors.numpy.load(data)
        return tensors["vectors"], tensors["ids"]

    def _drop(self, number: int, reason: str) -> None:
        quarantine(self._shards.pop(number), self.folder, reason)
        self._ids.pop(number)
        self._index = None


class _Damaged(Exception):
    def __init__(self, shard: int, reason: str):
        super().__init__(reason)
        self.shard = shard
        self.reason = reason


class _Index:
    """Where each content id stands: 32 + 24 bytes per row, so that ten million fit in 600 MB."""

    def __init__(self, ids: Sequence[UInt8[np.ndarray, "_ 32"]]):
        sizes = [len(part) for part in ids]
        self._ids = np.concatenate([*ids, np.zeros((0, 32), np.uint8)])
        self._shard = np.repeat(np.arange(len(sizes)), sizes)
        self._row = np.concatenate([*(np.arange(size) for size in sizes), np.zeros(0, np.int64)])
        heads = _heads(self._ids)
        self._order = np.argsort(heads, kind="stable")
        self._heads = heads[self._order]

    def find(
        self, wanted: UInt8[np.ndarray, "n 32"]
    ) -> tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]:
        """Shard and row of each id, -1 where it is not there.

        Two ids that share their first 64 bits count as one not there: it is computed again.
        """
        missing = np.full(len(wanted), -1)
        if not len(self._order):
            return missing, missing
        places = np.searchsorted(self._heads, _heads(wanted)).clip(max=len(self._order) - 1)
        rows = self._order[places]
        same = (self._ids[rows] == wanted).all(axis=1)
        return np.where(same, self._shard[rows], -1), np.where(same, self._row[rows], -1)


def _heads(ids: UInt8[np.ndarray, "n 32"]) -> Int[np.ndarray, " _"]:
    return np.ascontiguousarray(ids[:, :8]).view(np.int64).reshape(-1)


def _digests(ids: Sequence[str]) -> UInt8[np.ndarray, "n 32"]:
    joined = b"".join(hashlib.sha256(one.encode("utf-8")).digest() for one in ids)
    return np.frombuffer(joined, np.uint8).reshape(-1, 32)
