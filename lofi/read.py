"""Training studies of the harness's loaders as squares and texts, decoded once and kept."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import UInt8

from harness.chunks import chunk_text
from harness.datasets.training import TrainingStudy
from harness.errors import BenchError
from harness.images import Image
from lofi.data import Studies, Study
from lofi.picture import PaddedFrame, to_square

Say = Callable[[str], None]
VERSION = 1  # of the squares; raise it when `to_square` changes
NOT_ABNORMAL = {"No Finding", "Normal"}
_BLOCK = 256


def read_studies(
    source: Iterable[TrainingStudy],
    tokenizer: Any,
    *,
    size: int,
    limit: int,
    cache: Path,
    say: Say = print,
) -> Studies:
    """The studies ready for batches: `limit` is the text tower's length in tokens.

    Left out, each with its name said and counted: a report without text, an image that cannot be
    decoded; a phrase without boxes is left out of its study.
    """
    given = list(source)
    skipped: Counter[str] = Counter()
    named = [study for study in given if _has_text(study, skipped, say)]
    squares, frames, unreadable = squares_of(named, size=size, cache=cache)
    items, rows = [], []
    for row, study in enumerate(named):
        if study.image.image_id in unreadable:
            skipped["image unreadable"] += 1
            say(f"left out: image {study.image.image_id}: {unreadable[study.image.image_id]}")
            continue
        rows.append(row)
        items.append(_study(study, frames[row], tokenizer, limit=limit, skipped=skipped))
    kept = squares if len(rows) == len(named) else squares[rows]
    return Studies(kept, tuple(items), dict(skipped))


def _has_text(study: TrainingStudy, skipped: Counter[str], say: Say) -> bool:
    if study.text.strip():
        return True
    skipped["report without text"] += 1
    say(f"left out: image {study.image.image_id}: its report has no text")
    return False


def _study(
    study: TrainingStudy,
    size: Sequence[int],
    tokenizer: Any,
    *,
    limit: int,
    skipped: Counter[str],
) -> Study:
    frame = PaddedFrame(size[0], size[1], size[2])
    regions = []
    for phrase, boxes in study.regions:
        if not len(boxes) or not phrase.strip():
            skipped["phrase without boxes"] += 1
            continue
        regions.append((phrase, frame.to_square(boxes)))
    return Study(
        study_id=study.image.study_id,
        patient_id=study.image.patient_id,
        text=study.text,
        chunks=chunks(study.text, tokenizer, limit),
        regions=tuple(regions),
        frame=(size[0], size[1]),
        normal=not set(study.labels) - NOT_ABNORMAL,
    )


def chunks(text: str, tokenizer: Any, limit: int) -> tuple[str, ...]:
    """The text in pieces of whole sentences that the text tower reads uncut."""

    def count(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    return tuple(chunk_text(text, limit, count))


def squares_of(
    studies: Sequence[TrainingStudy], *, size: int, cache: Path
) -> tuple[UInt8[np.ndarray, "n s s"], list[list[int]], dict[str, str]]:
    """The memory-mapped squares, (width, height, size) of each picture, and the unreadable ones.

    Decoded on the first call, by threads (decoding releases the interpreter), and found again by
    a key over ids, files, their sizes and times.
    """
    folder = cache / "squares" / _key(studies, size)
    file, account = folder / "squares.npy", folder / "account.json"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if not account.is_file():
            stored = _decode(studies, size, file)
            account.write_text(json.dumps(stored))
    stored = json.loads(account.read_text())
    return np.load(file, mmap_mode="r"), stored["frames"], stored["unreadable"]


def _decode(studies: Sequence[TrainingStudy], size: int, file: Path) -> dict[str, Any]:
    shape = (len(studies), size, size)
    out = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    frames: list[list[int]] = []
    unreadable: dict[str, str] = {}
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(studies), _BLOCK):
            part = studies[start : start + _BLOCK]
            for row, (study, found) in enumerate(
                zip(part, pool.map(lambda one: _square(one, size), part), strict=True)
            ):
                if isinstance(found, str):
                    unreadable[study.image.image_id] = found
                    frames.append([1, 1, size])
                    continue
                out[start + row] = found[0]
                frames.append([*found[1], size])
    out.flush()
    return {"frames": frames, "unreadable": unreadable}


def _square(study: TrainingStudy, size: int) -> tuple[np.ndarray, tuple[int, int]] | str:
    try:
        picture = Image(study.image.image_id, study.image.file).picture(size)
    except BenchError as error:
        return str(error)
    return to_square(picture.pixels, size), (picture.width, picture.height)


def _key(studies: Sequence[TrainingStudy], size: int) -> str:
    digest = hashlib.sha256(f"{VERSION} {size}".encode())
    for study in studies:
        digest.update(f"{study.image.image_id} {_stamp(study.image.file)}\n".encode())
    return digest.hexdigest()[:20]


def _stamp(file: Path) -> str:
    try:
        status = file.stat()
    except OSError:
        return "missing"
    return f"{file} {status.st_size} {status.st_mtime_ns}"
