"""One cell on disk: outcomes appended while they are computed, and a record that closes it.

`record.json` is written last; `outcomes/` beside it holds the tables. Whatever ends a process, what
was appended is found again, and what is damaged is set aside, never read.
"""

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import atomic
from harness.errors import BenchError
from harness.lock import RunLock
from harness.quarantine import quarantine
from harness.record import RunRecord
from harness.record_file import read_record, record_text

if TYPE_CHECKING:  # pandas takes a second to import, which a finished suite need not pay
    import pandas
    import pyarrow

    _Merged = tuple[pyarrow.Table | None, tuple[str, ...]]

LOG = logging.getLogger(__name__)

# What need not be asked again while the key is the same; failures and skips are tried again.
FINAL = {"ok", "not_scored", "not_taught"}

_NAME = re.compile(r"^(?P<kind>[a-z0-9_]+)-[^/]+\.parquet$")


class Cell:
    """One model on one evaluation; several processes may append at the same time.

    An intact final record hides whatever lies beside it until `restart` or `append` is called on
    this object: an unfinished second attempt never stands before a finished one.
    """

    def __init__(self, folder: Path, key: str):
        self.folder = folder
        self.key = key
        self._outcomes = folder / "outcomes"
        self._process = re.sub(r"[^A-Za-z0-9]", "_", os.environ.get("RANK", "0"))
        self._attempt = False
        self._shards: dict[str, int] = {}
        # The last table of each kind and the files it came from, so that closing reads them once.
        self._read: dict[str, tuple[tuple[str, ...], _Merged]] = {}

    def record(self) -> RunRecord | None:
        """The record, final or not; None if there is none or it was damaged (then set aside)."""
        return read_record(self.folder / "record.json", self.key)

    def finished(self) -> bool:
        """Whether nothing need be computed: a final status and all outcome files intact."""
        return self._sealed() is not None

    def lock(self, *, wait: bool = False) -> RunLock:
        """The lock of this cell, for runs whose cells are spread over jobs."""
        return RunLock(self.folder / ".lock", wait=wait)

    def restart(self) -> None:
        """Forget the outcomes of unfinished attempts and compute anew; a finished one stays.

        What the next `write_record` writes takes its place at once and as a whole.
        """
        sealed = self._sealed() or {}
        for path in self._files():
            if path.name not in sealed:
                path.unlink(missing_ok=True)
        self._attempt = True

    def append(
        self, kind: str, frame: "pandas.DataFrame", keys: Sequence[str] = ("sample_id",)
    ) -> None:
        """Store rows of outcomes; when this returns they survive anything but the disk.

        Args:
            kind: lower-case name of the table, e.g. `retrieval`.
            frame: one row per combination of `keys`; ragged values as one-dimensional lists.
            keys: text columns that tell rows apart, the same in every call for a kind.

        Raises:
            ValueError: see `outcomes_store.to_table`; or the kind is not a lower-case name.
            BenchError: the folder is full or cannot be written to.
        """
        from harness import outcomes_store

        if not re.fullmatch(r"[a-z0-9_]+", kind):
            raise ValueError(f"kind {kind!r} must be lower-case letters, digits and _")
        self._attempt = True
        if not len(frame):
            return
        table = outcomes_store.to_table(frame, keys)
        outcomes_store.write_shard(
            self._outcomes, kind, self._label(kind), table=table, cell=self.key, keys=keys
        )

    def read(self, kind: str) -> "pandas.DataFrame":
        """All outcomes of a kind, each once, sorted by key; an empty frame if there are none.

        Where two shards hold the same key, the first by file name counts. Damaged shards are set
        aside with a warning and their rows are missing.

        Raises:
            BenchError: an outcome file of a *finished* cell is damaged.
        """
        import pandas

        table, _ = self._merged(kind)
        return pandas.DataFrame() if table is None else table.to_pandas()

    def done_ids(self, kind: str) -> set[Any]:
        """What need not be computed again: sample ids, or tuples if there are more key columns."""
        table, keys = self._merged(kind, keys_only=True)
        if table is None:
            return set()
        columns = [table.column(key).to_pylist() for key in keys]
        return set(columns[0]) if len(columns) == 1 else set(zip(*columns, strict=True))

    def kinds(self) -> list[str]:
        """The kinds of outcome that `read` would find."""
        paths, _ = self._current()
        return sorted({_kind(path) for path in paths})

    def write_record(self, record: RunRecord) -> RunRecord:
        """Close the cell; the record as written, with the hashes of its outcome files.

        For status "ok" each kind is first merged into one file. Call it from one process, after all
        others have appended. A failure beside a finished cell goes to `attempts/` instead.

        Raises:
            ValueError: the record is of another key.
            BenchError: the folder is full or cannot be written to, or a shard was damaged since
                it was read.
        """
        if record.key != self.key:
            raise ValueError(f"record of key {record.key[:12]} in the cell of {self.key[:12]}")
        if record.status not in FINAL and self.finished():
            text = record_text(record)
            name = hashlib.sha256(text.encode()).hexdigest()[:16]
            atomic.write_text(self.folder / "attempts" / f"{name}.json", text)
            return record
        files = self._consolidate() if record.status == "ok" else {}
        record = record.model_copy(update={"outcomes": files})
        atomic.write_text(self.folder / "record.json", record_text(record))
        self._attempt = False
        self._read.clear()
        if record.status in FINAL:
            self._sweep(files)
        return record

    def _files(self) -> list[Path]:
        return sorted(path for path in self._outcomes.glob("*.parquet") if _NAME.match(path.name))

    def _sealed(self) -> dict[str, str] | None:
        """The outcome files of an intact final record and their hashes; None without one."""
        record = self.record()
        if record is None or record.status not in FINAL:
            return None
        for name, digest in record.outcomes.items():
            path = self._outcomes / Path(name).name
            try:
                found = hashlib.sha256(path.read_bytes()).hexdigest()
            except FileNotFoundError:
                LOG.warning("%s: is missing. Its outcomes are computed again.", path)
                return None
            except OSError as error:
                found = f"unreadable, {error.strerror}"
            if found != digest:
                quarantine(path, self.folder, f"has hash {found[:12]}, expected {digest[:12]}")
                return None
        return record.outcomes

    def _current(self) -> tuple[list[Path], bool]:
        """The files that hold the outcomes, and whether they belong to a finished cell."""
        sealed = self._sealed()
        if sealed is not None and not self._attempt:
            return [self._outcomes / Path(name).name for name in sorted(sealed)], True
        return [path for path in self._files() if path.name not in (sealed or {})], False

    def _merged(self, kind: str, *, keys_only: bool = False, closing: bool = False) -> "_Merged":
        from harness import outcomes_store

        paths, finished = self._current()
        paths = [path for path in paths if _kind(path) == kind]
        names = tuple(path.name for path in paths)
        kept = self._read.get(kind)
        if not keys_only and kept is not None and kept[0] == names:
            return kept[1]
        found = outcomes_store.read_shards(paths, self.key, keys_only=keys_only)
        for path, reason in found.damaged.items():
            quarantine(path, self.folder, reason)
        if found.damaged and (finished or closing):
            raise BenchError(
                f"{self.folder}: {kind} outcomes were damaged on disk and have been set aside. "
                "They must be whole here. Run the same command again: they are computed anew."
            )
        merged = found.merged()
        if not keys_only and not found.damaged:
            self._read[kind] = (names, merged)
        return merged

    def _consolidate(self) -> dict[str, str]:
        from harness import outcomes_store

        sealed = self._sealed() or {}
        paths, finished = self._current()
        if finished:
            return sealed
        files = {}
        for kind in sorted({_kind(path) for path in paths}):
            table, keys = self._merged(kind, closing=True)
            name, digest = outcomes_store.write_shard(
                self._outcomes, kind, "all", table=table, cell=self.key, keys=keys
            )
            files[name] = digest
        return files

    def _label(self, kind: str) -> str:
        if kind not in self._shards:
            mine = f"{kind}-{self._process}-"
            self._shards[kind] = sum(path.name.startswith(mine) for path in self._files())
        self._shards[kind] += 1
        return f"{self._process}-{self._shards[kind]:06d}"

    def _sweep(self, keep: dict[str, str]) -> None:
        # Shards that are merged now, and temporary files of killed writers.
        for path in self._outcomes.glob("*"):
            if path.name not in keep:
                with suppress(OSError):  # it costs space and is never read
                    path.unlink()


def _kind(path: Path) -> str:
    match = _NAME.match(path.name)
    return match["kind"] if match else ""
