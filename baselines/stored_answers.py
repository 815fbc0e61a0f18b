"""Answers that a model gave before, read from its folder; the files are named in `external`.

Files are read once, and again when they change.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from harness.errors import BenchError

Answer: TypeAlias = Mapping[str, Any]

PREDICTIONS, MAPS = "predictions.jsonl", "maps.npz"
EMBEDDINGS, SCORES = "embeddings.npz", "scores.npz"
ANSWER_FILES = (PREDICTIONS, EMBEDDINGS, SCORES)

LARGEST_MAP = 4096  # rows or columns: more is a picture and no map of patches


def predictions(folder: Path) -> Mapping[tuple[str, str], Answer]:
    """The stored answers by image id and phrase.

    Raises:
        BenchError: a line is no answer, or answers a query a second time and differently.
    """
    file = folder / PREDICTIONS
    return _predictions(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _predictions(file: Path, _stamp: int) -> Mapping[tuple[str, str], Answer]:
    found: dict[tuple[str, str], Answer] = {}
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                answer = json.loads(line)
                key = (answer["image_id"], answer["phrase"])
            except (ValueError, KeyError, TypeError) as error:
                raise BenchError(
                    f"{file.name} line {number}: not an answer: expected a JSON object with "
                    f"image_id, phrase and boxes, map or text ({type(error).__name__}: {error})"
                ) from error
            if key in found and found[key] != answer:
                raise BenchError(f"{file.name} line {number}: a second, different answer to {key}")
            found[key] = answer
    return found


def vectors(folder: Path, column: str) -> Mapping[str, np.ndarray]:
    """The stored embeddings by image id (`image_ids`) or hash of the text (`text_sha256`).

    Raises:
        BenchError: the file is not readable, or does not fit together.
    """
    names = {"image_ids": "image_vectors", "text_sha256": "text_vectors"}
    keys, rows = read_arrays(folder / EMBEDDINGS, column, names[column])
    if rows.ndim != 2 or len(rows) != len(keys):
        raise BenchError(f"{EMBEDDINGS}: {names[column]} {rows.shape} for {len(keys)} {column}")
    return dict(zip(keys.tolist(), rows, strict=True))


def scores(folder: Path) -> tuple[dict[str, int], dict[str, int], Float[np.ndarray, "n m"]]:
    """The row of each image id, the column of each text's hash, and the stored scores.

    Raises:
        BenchError: the file is not readable, or does not fit together.
    """
    images, texts, table = read_arrays(folder / SCORES, "image_ids", "text_sha256", "scores")
    if table.shape != (len(images), len(texts)):
        raise BenchError(
            f"{SCORES}: scores {table.shape} for {len(images)} image_ids and "
            f"{len(texts)} text_sha256"
        )
    rows, columns = (
        {key: place for place, key in enumerate(keys.tolist())} for keys in (images, texts)
    )
    return rows, columns, table


def read_map(file: Path, key: Any) -> Float[np.ndarray, "_ _"]:
    """The map of that name in an npz file: NaN where the model did not look.

    Raises:
        BenchError: no such file or map, or no map: not two-dimensional, infinite, all NaN.
    """
    [grid] = read_arrays(file, str(key))
    where = f"{file.name}: map {key!r}"
    if grid.ndim != 2 or not grid.size or max(grid.shape) > LARGEST_MAP or grid.dtype.kind != "f":
        raise BenchError(
            f"{where} is {grid.dtype} {grid.shape}. Expected rows and columns of floats, at most "
            f"{LARGEST_MAP} a side."
        )
    if np.isinf(grid).any() or np.isnan(grid).all():
        raise BenchError(f"{where} has an infinity, or nothing but NaN.")
    return np.asarray(grid, np.float64)


def read_arrays(file: Path, *names: str) -> list[np.ndarray]:
    """Arrays of an npz file, which can hold no pickle.

    Raises:
        BenchError: the file or an array cannot be read.
    """
    try:
        stored = _opened(file, file.stat().st_mtime_ns)
        return [stored[name] for name in names]
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(
            f"{file.name}: not readable: {error}. Expected arrays {' and '.join(names)}."
        ) from error


@lru_cache(maxsize=4)
def _opened(file: Path, _stamp: int) -> Mapping[str, np.ndarray]:
    # Its entries are read when they are asked for, not all at once.
    stored: Mapping[str, np.ndarray] = np.load(file, allow_pickle=False)
    return stored
