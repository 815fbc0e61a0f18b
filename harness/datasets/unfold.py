"""Tables out of the archives they are published in; what unfolds without end is refused."""

import gzip
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from harness.errors import BenchError

RATIO = 100  # the tables of the datasets here unfold to 3 to 20 times their size
SMALL = 50_000_000  # bytes that any table may have


@contextmanager
def unfolded(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file that may be a .gz, or a .zip of one file.

    Raises:
        BenchError: while it is read, if more comes out than a table would hold.
    """
    most = max(SMALL, RATIO * path.stat().st_size)
    if path.suffix == ".gz":
        with gzip.open(path) as plain:
            yield io.BufferedReader(_Capped(plain, most, path), 1 << 20)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise BenchError(f"{path}: holds {len(names)} files. Expected one table.")
            with archive.open(names[0]) as plain:
                yield io.BufferedReader(_Capped(plain, most, path), 1 << 20)
    else:
        with path.open("rb") as plain:
            yield plain


class _Capped(io.RawIOBase):
    """A stream that ends in an error where a table would have ended long before."""

    def __init__(self, plain: Any, most: int, path: Path):
        self.plain = plain
        self.left = most
        self.path = path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.plain.read(len(buffer))
        self.left -= len(data)
        if self.left < 0:
            raise BenchError(
                f"{self.path}: unfolds to more than {RATIO} times its size, so it is no table. "
                "Download it again and compare its SHA256 with the publisher's."
            )
        buffer[: len(data)] = data
        return len(data)
