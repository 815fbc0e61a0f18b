"""Files whose bytes depend on their content only, put in place in one step."""

import csv
import gzip
import io
import json
import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

JPEG_QUALITY = 95
# A JPEG is filled up to a multiple of so many bytes a pixel, so that its size tells nothing of what
# is in it (protocol.md §8.7): films compress to 0.3 to 0.5 and so all end up alike.
BYTES_PER_PIXEL = 0.66
_MARKER = 4  # bytes of a segment's marker and length


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces the file by the data; a reader sees the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_bytes(data)
    scratch.replace(path)


def write_text(path: Path, text: str) -> None:
    """Replaces the file by the text in UTF-8, line ends as given."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """Replaces the file by the value as JSON, keys in the order given."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV with Unix line ends; None becomes an empty cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Replaces the file by a CSV, compressed without a time stamp if its name ends in .gz."""
    data = csv_text(header, rows).encode()
    write_bytes(path, gzip.compress(data, 6, mtime=0) if path.suffix == ".gz" else data)


def jpeg_bytes(pixels: np.ndarray) -> bytes:
    """An 8-bit grey JPEG, quality 95, filled up with a comment (see `BYTES_PER_PIXEL`)."""
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, "JPEG", quality=JPEG_QUALITY)
    data = stream.getvalue()
    step = int(pixels.size * BYTES_PER_PIXEL)
    missing = -len(data) % step
    missing += step if 0 < missing < _MARKER else 0
    return data[:2] + comments(missing) + data[2:]


def comments(length: int) -> bytes:
    """JPEG comment segments that take exactly so many bytes (none, or at least a marker's four)."""
    found = b""
    while length >= _MARKER:
        take = min(length, 0xFFFF + 2)
        # What is left must be nothing or hold a marker and its length.
        take -= _MARKER if 0 < length - take < _MARKER else 0
        found += struct.pack(">BBH", 0xFF, 0xFE, take - 2) + bytes(take - _MARKER)
        length -= take
    return found


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16_bytes(pixels: np.ndarray) -> bytes:
    """A 16-bit grey PNG, stored and not compressed: all of one size, and quick to write."""
    height, width = pixels.shape
    rows = np.zeros((height, 1 + 2 * width), np.uint8)
    rows[:, 1:] = pixels.astype(">u2").view(np.uint8)
    head = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")
    )
