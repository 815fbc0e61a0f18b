"""Outcome tables as Parquet files that carry their own checksum and say whose they are.

A file is called `<kind>-<label>-<sha16>.parquet`: the first 16 hex digits of its SHA-256 stand in
its name, so one rename publishes content and checksum together, and no two writers can collide.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness import atomic
from harness.boxes import Boxes
from harness.quarantine import CorruptFile

_DIGEST = re.compile(r"-([0-9a-f]{16})\.parquet$")
_LARGE = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
_MARK = b"bench"  # the schema metadata field: {"cell", "kind", "keys"}


def write_shard(
    folder: Path, kind: str, label: str, *, table: pa.Table, cell: str, keys: Sequence[str]
) -> tuple[str, str]:
    """The name and SHA-256 of the file just written into `folder`."""
    mark = json.dumps({"cell": cell, "kind": kind, "keys": list(keys)})
    sink = pa.BufferOutputStream()
    table = table.replace_schema_metadata({_MARK: mark.encode()})
    # Dictionaries and statistics took two thirds of the time and made small shards larger.
    pq.write_table(table, sink, compression="zstd", use_dictionary=False, write_statistics=False)
    data = memoryview(sink.getvalue())
    digest = hashlib.sha256(data).hexdigest()
    name = f"{kind}-{label}-{digest[:16]}.parquet"
    atomic.write_bytes(folder / name, data)
    return name, digest


@dataclass
class Shards:
    """What was read: tables in file order, their key columns, and damaged files with a reason."""

    tables: list[pa.Table] = field(default_factory=list)
    keys: set[tuple[str, ...]] = field(default_factory=set)
    damaged: dict[Path, str] = field(default_factory=dict)

    def merged(self) -> tuple[pa.Table | None, tuple[str, ...]]:
        """All rows once, sorted by key, and the key columns; None and () without a table.

        Raises:
            ValueError: the shards were written with different key columns, or types that clash.
        """
        if not self.tables:
            return None, ()
        if len(self.keys) > 1:
            raise ValueError(f"outcomes with different key columns: {sorted(self.keys)}")
        keys = next(iter(self.keys))
        return merge(self.tables, keys), keys


def read_shards(paths: Sequence[Path], cell: str, *, keys_only: bool = False) -> Shards:
    """The verified tables in `paths`; a file that has gone since it was listed is no error."""
    shards = Shards()
    for path in paths:
        try:
            table, keys = read_shard(path, cell, keys_only=keys_only)
        except FileNotFoundError:
            continue
        except CorruptFile as error:
            shards.damaged[path] = str(error)
            continue
        shards.tables.append(table)
        shards.keys.add(keys)
    return shards


def read_shard(
    path: Path, cell: str, *, keys_only: bool = False
) -> tuple[pa.Table, tuple[str, ...]]:
    """The verified table in `path` (or only its key columns), and the names of the key columns.

    Raises:
        CorruptFile: truncated, overwritten, of another cell or kind, or unreadable.
        FileNotFoundError: there is no such file.
    """
    data = _verified(path)
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        mark = json.loads((file.schema_arrow.metadata or {})[_MARK])
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise CorruptFile(f"is not an outcome table ({error})") from error
    if mark["cell"] != cell or not path.name.startswith(f"{mark['kind']}-"):
        raise CorruptFile(f"holds {mark['kind']} outcomes of cell {mark['cell'][:12]}")
    table = file.read(columns=mark["keys"] if keys_only else None)
    return table.replace_schema_metadata(None), tuple(mark["keys"])


def to_table(frame: pd.DataFrame, keys: Sequence[str]) -> pa.Table:
    """`frame` as an Arrow table: float32 lists and float64 numbers keep every bit.

    Raises:
        ValueError: a key column is missing, not text (ids like 007 would lose their zeros) or
            empty somewhere; a row occurs twice; a cell holds what Parquet cannot.
    """
    for key in keys:
        if key not in frame.columns:
            raise ValueError(f"outcomes need the key column {key!r}; found {list(frame.columns)}")
        wrong = [value for value in frame[key].tolist() if not isinstance(value, str)]
        if wrong:
            raise ValueError(f"key column {key!r} must hold text, found {wrong[0]!r}")
    doubled = frame.duplicated(list(keys))
    if doubled.any():
        raise ValueError(f"outcome twice in one batch: {frame.loc[doubled, list(keys)].iloc[0]}")
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except pa.ArrowException as error:
        raise ValueError(f"outcomes cannot be stored: {error}. Flatten arrays first.") from error
    return _plain(table)


def merge(tables: Sequence[pa.Table], keys: Sequence[str]) -> pa.Table:
    """All rows once, sorted by `keys`; of rows with equal keys the first in table order stays.

    The result does not depend on how rows were spread over tables, so a sum over it is the same to
    the bit whatever the number of processes.
    """
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(f"outcomes of one kind with clashing types: {error}") from error
    order = pc.sort_indices(table, [(key, "ascending") for key in keys])  # stable
    table = table.take(order)
    repeated = np.ones(len(table), bool)
    for key in keys:
        column = table.column(key).combine_chunks()
        same = pc.equal(column.slice(1), column.slice(0, max(len(column) - 1, 0)))
        repeated[1:] &= same.to_numpy(zero_copy_only=False)
    repeated[:1] = False
    return table.filter(pa.array(~repeated)) if repeated.any() else table


def pack_boxes(boxes: Boxes | None) -> np.ndarray | None:
    """Boxes as one flat float32 row x1, y1, x2, y2, x1, ... for a list column; None stays None."""
    return None if boxes is None else np.ascontiguousarray(boxes, np.float32).reshape(-1)


def unpack_boxes(flat: np.ndarray | None) -> Boxes | None:
    """The inverse of `pack_boxes`, (n, 4) float32, to the bit."""
    return None if flat is None else np.asarray(flat, np.float32).reshape(-1, 4)


def pack_heatmap(heatmap: np.ndarray | None, name: str = "heatmap") -> dict[str, Any]:
    """The columns `name`, `name`_h, `name`_w: float16 bytes in row order, NaN kept, and the shape.

    Raises:
        ValueError: not two-dimensional, or a value leaves the range of float16.

    >>> pack_heatmap(np.float32([[0.5, np.nan]]))["heatmap"].hex()
    '0038007e'
    """
    if heatmap is None:
        return {name: None, f"{name}_h": 0, f"{name}_w": 0}
    values = np.asarray(heatmap)
    if values.ndim != 2:
        raise ValueError(f"{name}: expected (h, w), got shape {values.shape}")
    if (np.abs(values[~np.isnan(values)]) > 65504).any():
        raise ValueError(f"{name}: a value is infinite or beyond float16 (65504)")
    height, width = values.shape
    return {
        name: values.astype("<f2").tobytes(),
        f"{name}_h": height,
        f"{name}_w": width,
    }


def unpack_heatmap(row: Any, name: str = "heatmap") -> np.ndarray | None:
    """The float32 map (h, w) that `pack_heatmap` stored in `row`, or None."""
    data = row[name]
    if not isinstance(data, bytes):
        return None
    shape = int(row[f"{name}_h"]), int(row[f"{name}_w"])
    return np.frombuffer(data, "<f2").reshape(shape).astype(np.float32)


def _verified(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CorruptFile(f"unreadable: {error.strerror}") from error
    digest = _DIGEST.search(path.name)
    if digest is None or hashlib.sha256(data).hexdigest()[:16] != digest[1]:
        raise CorruptFile(f"its {len(data):,} bytes do not have the checksum in its name")
    return data


def _plain(table: pa.Table) -> pa.Table:
    for index, column in enumerate(table.schema):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        # 64-bit offsets: the heat maps of a whole run may pass 2 GB when shards are merged.
        kind = _LARGE.get(kind, kind)
        if kind != column.type:
            table = table.set_column(index, column.name, table.column(index).cast(kind))
    return table
