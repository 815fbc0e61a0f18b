"""Is a runs folder what was written? Every record and outcome file against its checksum."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from harness.record import RunRecord
from harness.record_file import record_intact

_NAMED = re.compile(r"-([0-9a-f]{16})\.parquet$")


@dataclass(frozen=True)
class Damage:
    """One file that is not what was written, and how that is known."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Health:
    """What was looked at and what was found; `aside` are files quarantined earlier."""

    records: tuple[RunRecord, ...]
    files: int
    damages: tuple[Damage, ...]
    aside: tuple[Path, ...]


def check_folder(folder: Path) -> Health:
    """The health of all cells below a runs folder; nothing is moved or changed."""
    records: list[RunRecord] = []
    damages: list[Damage] = []
    files = 0
    for cell in sorted(path for path in (folder / "cells").glob("*") if path.is_dir()):
        record, problem = _record(cell / "record.json")
        files += (cell / "record.json").is_file()
        damages += [problem] if problem else []
        if record is not None:
            records.append(record)
        listed = dict(record.outcomes) if record is not None else {}
        files += len(listed)
        damages += _outcomes(cell / "outcomes", listed)
    aside = tuple(sorted(p for p in (folder / "cells").glob("*/quarantine/*") if p.is_file()))
    return Health(tuple(records), files, tuple(damages), aside)


def _record(path: Path) -> tuple[RunRecord | None, Damage | None]:
    if not path.is_file():
        return None, None
    try:
        data = path.read_bytes()
        record = RunRecord.model_validate_json(data)
    except OSError as error:
        return None, Damage(path, f"cannot be read ({error.strerror})")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "JSON"
        return None, Damage(path, f"is not a record ({place}: {first['msg']})")
    whole = record_intact(data)
    if whole is False or (whole is None and record.checksum):
        return record, Damage(path, "does not have the checksum it carries")
    return record, None


def _outcomes(folder: Path, listed: dict[str, str]) -> Iterator[Damage]:
    for name, digest in listed.items():
        path = folder / Path(name).name
        found = _sha256(path)
        if found != digest:
            told = "is missing" if found is None else f"has hash {found[:12]}, not {digest[:12]}"
            yield Damage(path, told)
    for path in sorted(folder.glob("*.parquet")):
        named = _NAMED.search(path.name)
        if path.name in listed or named is None:
            continue
        if (_sha256(path) or "")[:16] != named[1]:
            yield Damage(path, "does not have the checksum in its name")


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
