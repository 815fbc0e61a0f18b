"""Reading the files of a data tree: tables, JSON and paths, with errors that name file and row."""

import csv
import gzip
import json
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.datasets.unfold import unfolded
from harness.errors import BenchError
from harness.roots import how_to_get

if TYPE_CHECKING:  # pandas takes a second to import, which small files need not pay
    import pandas as pd

_NOT_READ = (RecursionError, ValueError)  # nested without end, a number of thousands of digits

_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)


@dataclass
class Tally:
    """Counts of what was left out, by reason, in the order the reasons first came up."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, n: int = 1) -> None:
        """Count `n` more items left out for this reason; nothing is written for 0."""
        if n:
            self.counts[reason] = self.counts.get(reason, 0) + n


@dataclass(frozen=True)
class Row:
    """One row of a small CSV file with the line it ends on."""

    file: Path
    line: int
    cells: Mapping[str, str]

    def get(self, column: str) -> str:
        """The stripped cell, '' where the column is absent."""
        return self.cells.get(column, "").strip()

    def error(self, problem: str) -> BenchError:
        """A `BenchError` that names this file and line."""
        return BenchError(f"{self.file} line {self.line}: {problem}")


def find_file(top: Path, *patterns: str) -> Path | None:
    """The first file that matches a pattern, patterns in order of preference, else None."""
    for pattern in patterns:
        matches = sorted(path for path in top.glob(pattern) if path.is_file())
        if matches:
            return matches[-1]
    return None


def require_file(tree: str, top: Path, *patterns: str) -> Path:
    """As `find_file`, but a missing file is the user's to mend.

    Raises:
        BenchError: no file matches.
    """
    found = find_file(top, *patterns)
    if found is None:
        raise BenchError(
            f"{tree}: {top} has no {' or '.join(patterns)}. Is the download complete? "
            f"{how_to_get(tree)}"
        )
    return found


def inside(top: Path, relative: str, where: str) -> Path:
    """The path of a file named relative to its data root.

    A symbolic link below the root is followed: the user put it there. A name that climbs out of
    the root, or is absolute, is refused.

    Raises:
        BenchError: the name leaves the root.
    """
    name = relative.replace("\\", "/")
    flat = posixpath.normpath(name)
    if not name or flat.startswith(("../", "/")) or flat == ".." or re.match(r"[A-Za-z]:", flat):
        raise BenchError(
            f"{where}: the path {relative!r} leaves the data root {top}. "
            "Give a path relative to the root, below it."
        )
    return top / flat


def read_table(
    path: Path, columns: Sequence[str] = (), optional: Sequence[str] = ()
) -> "pd.DataFrame":
    """A large CSV file (plain, .gz or .zip) as text cells, '' where a cell is empty.

    Ids stay text, so 39 digits survive. A byte order mark and Windows line ends are accepted.

    Args:
        path: the file.
        columns: those that must be there; only these and `optional` are kept. Empty keeps all.
        optional: kept when present.

    Raises:
        BenchError: absent, truncated, not UTF-8, ragged, or a column is missing.
    """
    import pandas as pd

    frame = _read_csv(path)
    if not isinstance(frame.index, pd.RangeIndex):
        raise BenchError(f"{path}: not a readable CSV table: rows have more cells than the header.")
    frame = frame.rename(columns=str.strip)
    _require_columns(path, frame.columns, columns)
    # Not by `usecols`: pandas then cuts rows that have too many cells without a word.
    wanted = {*columns, *optional} if columns else set(frame.columns)
    return frame[[name for name in frame.columns if name in wanted]].fillna("")


def _read_csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        with unfolded(path) as file:
            return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise BenchError(f"{path}: no such file.") from error
    except _DAMAGED as error:
        raise BenchError(
            f"{path}: truncated or damaged archive ({error}). Download it again and compare its "
            "SHA256 with the publisher's."
        ) from error
    except UnicodeDecodeError as error:
        raise BenchError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}).") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise BenchError(f"{path}: not a readable CSV table: {str(error).strip()}.") from error


def read_rows(path: Path, columns: Sequence[str]) -> list[Row]:
    """The rows of a small CSV file, each with its line number for error messages.

    Raises:
        BenchError: absent, not UTF-8, no header, a column missing or named twice, a row with more
            cells than the header, or a quote that never closes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise BenchError(f"{path}: no such file.") from error
    except UnicodeDecodeError as error:
        raise BenchError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8."
        ) from error
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _require_columns(path, header, columns)
        return [_row(path, reader.line_num, header, cells) for cells in reader if any(cells)]
    except csv.Error as error:
        raise BenchError(f"{path} line {reader.line_num}: {error}. Check the quotes.") from error


def _row(path: Path, line: int, header: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) > len(header):
        raise BenchError(
            f"{path} line {line}: {len(cells)} cells, but the header has {len(header)}. "
            "Quote cells that contain commas."
        )
    return Row(path, line, dict(zip(header, cells, strict=False)))


def _require_columns(path: Path, found: Iterable[str], columns: Sequence[str]) -> None:
    names = list(found)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BenchError(f"{path}: the header names {', '.join(twice)} twice.")
    missing = [name for name in columns if name not in names]
    if missing:
        raise BenchError(
            f"{path}: no column {', '.join(missing)}. Found: {', '.join(names) or 'an empty file'}."
        )


def read_json(path: Path) -> Any:
    """The content of a JSON file; NaN is accepted, as pandas writes it.

    Raises:
        BenchError: absent, not UTF-8, or not JSON (truncated?).
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise BenchError(f"{path}: no such file.") from error
    except UnicodeDecodeError as error:
        raise BenchError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}).") from error
    except json.JSONDecodeError as error:
        raise BenchError(
            f"{path} line {error.lineno}: not JSON ({error.msg}). Truncated? Download it again."
        ) from error
    except _NOT_READ as error:
        raise BenchError(f"{path}: not JSON of this dataset ({error}).") from error


def read_json_lines(
    path: Path, problems: list[str] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file with their line numbers; blank lines are passed over.

    What is wrong with a line is added to `problems` if that is given, and reading goes on.

    Raises:
        BenchError: the file is not UTF-8; without `problems`, also the first line that is not a
            JSON object.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise BenchError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}).") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, _json_object(line)
        except ValueError as error:
            if problems is None:
                raise BenchError(f"{path} line {number}: {error}.") from error
            problems.append(f"line {number}: {error}")


def _json_object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg})") from error
    except _NOT_READ as error:
        raise ValueError(f"not JSON of a phrase ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"expected an object {{...}}, got {line[:40]!r}")
    return value
