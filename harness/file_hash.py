"""Content hashes of files, remembered so that weights and images are hashed once."""

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from harness.cache_root import cache_root
from harness.quarantine import quarantine

T = TypeVar("T")
LOG = logging.getLogger(__name__)

# A file younger than this may change again without its time stamp moving (kernel ticks, FAT: 2 s).
SETTLED = 2.0

_TABLE = (
    "CREATE TABLE IF NOT EXISTS hashes "
    "(path TEXT PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL)"
)


def file_sha256(path: Path | str) -> str:
    """The SHA-256 of a file, remembered in the cache folder by path, size and times.

    Raises:
        OSError: the file cannot be read, or changed while it was.
    """
    return file_sha256s([path])[0]


def file_sha256s(paths: Sequence[Path | str]) -> list[str]:
    """The SHA-256 of each file, in order; one transaction for all, so fit for many images.

    Raises:
        OSError: as `file_sha256`.
    """
    files = [os.path.realpath(path) for path in paths]
    stamps = [_stamp(file) for file in files]
    known = _recall(files)
    fresh: dict[str, tuple[str, str]] = {}
    found = []
    for file, stamp in zip(files, stamps, strict=True):
        before = known.get(file) or fresh.get(file)
        if before is None or before[0] != stamp:
            before = (stamp, _hash(file, stamp))
            fresh[file] = before
        found.append(before[1])
    _remember({file: pair for file, pair in fresh.items() if _settled(file)})
    return found


def _stamp(file: str) -> str:
    # The change time and inode notice a swap that kept size and modification time.
    stat = os.stat(file)
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _settled(file: str) -> bool:
    stat = os.stat(file)
    return max(stat.st_mtime, stat.st_ctime) < time.time() - SETTLED


def _hash(file: str, stamp: str) -> str:
    digest = hashlib.sha256()
    with open(file, "rb", buffering=0) as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    if _stamp(file) != stamp:
        raise OSError(f"{file}: changed while it was read")
    return digest.hexdigest()


def _recall(files: Sequence[str]) -> dict[str, tuple[str, str]]:
    def select(memory: sqlite3.Connection) -> dict[str, tuple[str, str]]:
        found = {}
        for start in range(0, len(files), 500):
            part = files[start : start + 500]
            marks = ",".join("?" * len(part))
            for path, stamp, digest in memory.execute(
                f"SELECT path, stamp, sha256 FROM hashes WHERE path IN ({marks})", part
            ):
                found[path] = (stamp, digest)
        return found

    return _with_memory(select) or {}


def _remember(fresh: dict[str, tuple[str, str]]) -> None:
    rows = [(path, *pair) for path, pair in fresh.items()]

    def insert(memory: sqlite3.Connection) -> None:
        memory.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", rows)
        memory.commit()

    if rows:
        _with_memory(insert)


def _with_memory(act: Callable[[sqlite3.Connection], T]) -> T | None:
    """What `act` gives, or None where there is no memory: it saves time and decides nothing."""
    file = cache_root() / "hashes.sqlite"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file, timeout=30)) as memory:
            memory.execute(_TABLE)
            return act(memory)
    except sqlite3.OperationalError as error:
        LOG.info("%s: not used (%s)", file, error)
    except sqlite3.DatabaseError as error:
        quarantine(file, file.parent, f"is damaged ({error})")
    except OSError as error:
        LOG.info("%s: not used (%s)", file, error)
    return None
