"""JSON files of a study or image, in a folder or in the zip it was published as."""

import json
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.datasets.files import read_json
from harness.errors import BenchError

_LARGEST = 50_000_000  # bytes of one study's JSON


@dataclass(frozen=True)
class JsonArchive:
    """A folder or a zip of JSON files, looked up by relative path; `place` is either."""

    place: Path

    def read(self, name: str) -> Any:
        """The content of a file, or None where it is not there.

        Raises:
            BenchError: the file is not JSON, or the zip is damaged.
        """
        if self.place.is_dir():
            path = self.place / name
            return read_json(path) if path.is_file() else None
        archive, names = _open(self.place)
        member = names.get(name)
        if member is None:
            return None
        if archive.getinfo(member).file_size > _LARGEST:
            raise BenchError(f"{self.place}: {member} is over {_LARGEST:,} bytes, so not a study.")
        try:
            return json.loads(archive.read(member))
        except (zipfile.BadZipFile, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BenchError(f"{self.place}: {member} is damaged ({error}).") from error


def open_archive(candidates: list[Path]) -> JsonArchive | None:
    """The first of the candidate folders or zips that is there."""
    return next((JsonArchive(place) for place in candidates if place.exists()), None)


@lru_cache(maxsize=2)
def _open(place: Path) -> tuple[zipfile.ZipFile, dict[str, str]]:
    try:
        archive = zipfile.ZipFile(place)
    except zipfile.BadZipFile as error:
        raise BenchError(f"{place}: truncated or damaged ({error}). Download it again.") from error
    names = archive.namelist()
    tops = {name.split("/", 1)[0] for name in names}
    # A zip may hold its own folder (`qa/p10/...`) or its content (`p10/...`).
    depth = 1 if len(tops) == 1 and next(iter(tops)) == place.stem else 0
    return archive, {name.split("/", depth)[-1]: name for name in names}
