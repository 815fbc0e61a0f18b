"""Files that are either the old one or the new one, whole, whatever happens while they are written.

Order: an exclusive temporary file beside the target, write, fsync, rename, fsync of the folder.
"""

import errno
import json
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import BenchError

TEMPORARY = ".tmp"  # suffix of what a killed writer may leave behind; names begin with a dot

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def write_bytes(path: Path | str, data: bytes | bytearray | memoryview) -> None:
    """Put `data` at `path`; a symbolic link is written through, missing folders are made.

    A new file gets the permissions that the umask leaves, an existing one keeps its own.

    Raises:
        BenchError: the folder is full, read-only or failing; nothing has changed at `path`.
    """
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".{target.name[:100]}.{secrets.token_hex(6)}{TEMPORARY}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_beside(temporary, target, memoryview(data).cast("B"))
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise write_error(target, error) from error
        raise


def write_text(path: Path | str, text: str) -> None:
    """Put `text` at `path` as UTF-8 with the line ends it has; otherwise as `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, data: Any) -> None:
    """Put `data` at `path` as indented JSON; floats keep every digit; otherwise as `write_bytes`.

    Raises:
        ValueError: `data` holds NaN or infinity, which JSON has no word for.
    """
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_error(path: Path, error: OSError) -> BenchError:
    """What a user is told when `path` could not be written: the folder, the cause, the way out."""
    folder = path.parent
    if error.errno in _FULL:
        cause = "the disk or quota is full"
        advice = "Free some space there, or name another folder (--out; BENCH_CACHE for caches)"
    elif error.errno in _CLOSED:
        cause = "the folder cannot be written to"
        advice = "Change its permissions, or name another folder (--out; BENCH_CACHE for caches)"
    else:
        cause = f"writing failed: {os.strerror(error.errno) if error.errno else error}"
        advice = "Check the disk, or name another folder (--out; BENCH_CACHE for caches)"
    return BenchError(
        f"{folder}: {cause} ({path.name} was not written, what is finished is safe). {advice}, "
        "then run the same command again."
    )


def _write_beside(temporary: Path, target: Path, data: memoryview) -> None:
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        while len(data):
            data = data[os.write(descriptor, data) :]
        with suppress(FileNotFoundError):
            os.fchmod(descriptor, stat.S_IMODE(os.stat(target).st_mode))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems refuse fsync of a folder; there the rename is all there is.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS}:
            raise
    finally:
        os.close(descriptor)
