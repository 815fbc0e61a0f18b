"""Films that one model prepared, kept for the next with the same geometry: decoded once per run.

They lie in a file without a name in the cache folder: it is gone when the process ends, whatever
ends it, and the system keeps in memory as much of it as it has to spare.
"""

import os
import shutil
import tempfile
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8

from harness.cache_root import cache_root

# Two cohorts of 4,500 films in every geometry of the shipped cards are 7 GB, the 1,000 films that
# are grounded 8 GB as they are. The first that fit are kept and none is thrown out: all models go
# through the films in the same order.
MOST_BYTES = 16 << 30
DISK_SHARE = 4  # never more than this part of what is free

Film: TypeAlias = UInt8[np.ndarray, "_ _"]
Key: TypeAlias = tuple[Path, str, bool]  # the file, the geometry, whether values were stretched
_Place: TypeAlias = tuple[int, tuple[int, ...]]


class SharedFilms:
    """A bounded store of prepared films, safe for threads; where no file can be, it keeps none."""

    def __init__(self) -> None:
        self._places: dict[Any, _Place] = {}
        self._lock = threading.Lock()
        self._file = -1  # a descriptor
        self._end = 0
        self._limit = 0

    def get(self, key: Key) -> Film | None:
        """The film, None if it was not kept or its source has changed since."""
        place = self._places.get(_stamped(key))
        if place is None:
            return None
        offset, shape = place
        size = int(np.prod(shape))
        with suppress(OSError):
            data = os.pread(self._file, size, offset)
            if len(data) == size:
                return np.frombuffer(bytearray(data), np.uint8).reshape(shape)
        return None

    def keep(self, key: Key, film: Film) -> None:
        """Keep the film if there is room."""
        with self._lock:
            offset, end = self._end, self._end + film.nbytes
            if end > self._room():
                return
            self._end = end
        try:
            whole = os.pwrite(self._file, np.ascontiguousarray(film), offset)
        except OSError:
            self._limit = 0  # the disk is full: no more are kept
            return
        if whole == film.nbytes:
            self._places[_stamped(key)] = (offset, film.shape)

    def _room(self) -> int:
        if self._file < 0 and MOST_BYTES:
            with suppress(OSError):
                self._file = _nameless(cache_root())
                self._limit = shutil.disk_usage(cache_root()).free // DISK_SHARE
                weakref.finalize(self, os.close, self._file)
        return min(MOST_BYTES, self._limit)


def _nameless(folder: Path) -> int:
    """The descriptor of a new file in that folder, which has lost its name already."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder)
    os.unlink(name)
    return descriptor


def _stamped(key: Key) -> Any:
    """The key with the file's size and time, so that a changed file is read again."""
    try:
        stat = key[0].stat()
    except OSError:
        return (*key, None)
    return (*key, stat.st_size, stat.st_mtime_ns)
