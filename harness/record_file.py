"""Records as JSON files: validated on the way in, set aside when damaged."""

import hashlib
import json
import re
from pathlib import Path

from pydantic import ValidationError

from harness.errors import BenchError
from harness.quarantine import quarantine
from harness.record import SCHEMA_VERSION, RunRecord

_EMPTY = '"checksum": ""'
_CHECKSUM = re.compile(rb'"checksum": "([0-9a-f]{64})"')


def record_text(record: RunRecord) -> str:
    """The JSON of a record with its checksum; every float keeps all its digits."""
    text = record.model_copy(update={"checksum": ""}).model_dump_json(indent=2) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    # The field stands before any text of a user, so the first place is the right one.
    return text.replace(_EMPTY, f'"checksum": "{digest}"', 1)


def record_intact(data: bytes) -> bool | None:
    """Whether the bytes of a record file are those that were written; None without a checksum.

    >>> record_intact(b"{}") is None
    True
    """
    found = _CHECKSUM.search(data)
    if found is None:
        return None
    rest = data[: found.start()] + _EMPTY.encode() + data[found.end() :]
    return hashlib.sha256(rest).hexdigest().encode() == found.group(1)


def read_record(path: Path, key: str | None = None) -> RunRecord | None:
    """The record at `path`; None if there is none, or it is damaged or of another key (set aside).

    Raises:
        BenchError: a newer version wrote it, or it may not be read.
    """
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise BenchError(f"{path}: may not be read. Give yourself read permission.") from error
    except OSError as error:
        quarantine(path, path.parent, f"cannot be read ({error.strerror})")
        return None
    try:
        record = RunRecord.model_validate_json(text)
    except ValidationError as error:
        _refuse_newer(path, text)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "JSON"
        quarantine(path, path.parent, f"is not a record ({place}: {first['msg']})")
        return None
    if key is not None and record.key != key:
        quarantine(path, path.parent, f"is the record of another cell, {record.key[:12]}")
        return None
    if record.schema_version > SCHEMA_VERSION:
        raise _newer(path, record.schema_version)
    return record.model_copy(update={"checksum": ""})


def _refuse_newer(path: Path, text: bytes) -> None:
    # A record of a later version may have fields that this one calls damage.
    try:
        version = json.loads(text)["schema_version"]
    except (ValueError, TypeError, KeyError):
        return
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise _newer(path, version)


def _newer(path: Path, version: int) -> BenchError:
    return BenchError(
        f"{path}: written with record schema {version}, this version reads up to {SCHEMA_VERSION}. "
        "Update the package, or name another folder with --out."
    )
