"""Training studies of the harness's loaders as squares and texts, decoded once and kept."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from filelock import FileLock
from jaxtyping import UInt8

from harness import atomic
from harness.chunks import chunk_text
from harness.datasets.training import TrainingStudy
from harness.errors import BenchError
from harness.images import Image
from lofi.data import Studies, Study
from lofi.location import REPORT_PROMPT, boxes_answer, description_prompt, grounding_prompt
from lofi.picture import PaddedFrame, to_square
from lofi.prompt import Prompts, token_counts
from lofi.squares import SomeSquares

Say = Callable[[str], None]
Answers: TypeAlias = tuple[Prompts, Sequence[str]]  # how they are written, the losses' names
VERSION = 1  # of the squares; raise it when `to_square` changes
NOT_ABNORMAL = {"No Finding", "Normal"}
_BLOCK = 256
_NAMED = 5  # ids in a message
_ANSWERS = {"captioning": "reports", "grounding": "box lists", "dense_captioning": "phrases"}


def read_studies(
    source: Iterable[TrainingStudy],
    tokenizer: Any,
    *,
    size: int,
    limit: int,
    cache: Path,
    say: Say = print,
    answers: Answers | None = None,
) -> Studies:
    """The studies ready for batches: `limit` is the text tower's length in tokens.

    Left out, each with its name said and counted: a report without text, an image that cannot be
    decoded; a phrase without boxes is left out of its study. `answers`, the prompts and the losses
    that are trained: answers that are cut in training are counted and said.
    """
    given = list(source)
    skipped: Counter[str] = Counter()
    named = [study for study in given if _has_text(study, skipped, say)]
    squares, frames, unreadable = squares_of(named, size=size, cache=cache)
    items, rows, boxless = [], [], []
    for row, study in enumerate(named):
        name = study.image.image_id
        if name in unreadable:
            skipped["image unreadable"] += 1
            say(f"left out: image {name}: {unreadable[name]}")
            continue
        rows.append(row)
        items.append(_study(study, frames[row], tokenizer, limit=limit))
        boxless += [name] * (len(study.regions) - len(items[-1].regions))
    if boxless:
        skipped["phrase without boxes"] = len(boxless)
        say(f"left out: {len(boxless)} phrases without boxes, of images {_some(boxless)}")
    kept = squares if len(rows) == len(named) else SomeSquares(squares, np.array(rows, np.int64))
    cut = cut_answers(items, answers, say) if answers else {}
    return Studies(kept, tuple(items), dict(skipped), cut)


def _has_text(study: TrainingStudy, skipped: Counter[str], say: Say) -> bool:
    if study.text.strip():
        return True
    skipped["report without text"] += 1
    say(f"left out: image {study.image.image_id}: its report has no text")
    return False


def _some(names: Sequence[str]) -> str:
    """The first few, each once."""
    distinct = list(dict.fromkeys(names))
    more = len(distinct) - _NAMED
    return ", ".join(distinct[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _study(study: TrainingStudy, size: Sequence[int], tokenizer: Any, *, limit: int) -> Study:
    frame = PaddedFrame(size[0], size[1], size[2])
    regions = [
        (phrase, frame.to_square(boxes))
        for phrase, boxes in study.regions
        if len(boxes) and phrase.strip()
    ]
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
    return tuple(chunk_text(text, limit, partial(token_counts, tokenizer)))


def cut_answers(items: Sequence[Study], answers: Answers, say: Say) -> dict[str, int]:
    """How many answers end before their end in training, by kind; said once, if there are any."""
    prompts, losses = answers
    cut: Counter[str] = Counter()
    every: Counter[str] = Counter()
    longest = 0
    for start in range(0, len(items), _BLOCK):
        for loss in losses:
            pairs = [pair for item in items[start : start + _BLOCK] for pair in _pairs(item, loss)]
            lengths = prompts.lengths(pairs)
            every[loss] += len(lengths)
            cut[loss] += sum(length > prompts.max_tokens for length in lengths)
            longest = max(longest, *lengths, 0)
    found = {_ANSWERS[loss]: number for loss, number in cut.items() if number}
    if found:
        shown = ", ".join(f"{n} of {every[loss]} {_ANSWERS[loss]}" for loss, n in cut.items() if n)
        say(
            f"cut in training: {shown}. Expected at most {prompts.max_tokens} tokens with their "
            f"prompt, the longest has {longest}. Raise decoder.max_tokens to teach them whole."
        )
    return found


def _pairs(item: Study, loss: str) -> list[tuple[str, str]]:
    """All prompts and answers of a study that a loss can draw, nothing moved."""
    if loss == "captioning":
        return [(REPORT_PROMPT, item.text)]
    if loss == "grounding":
        return [(grounding_prompt(phrase), boxes_answer(boxes)) for phrase, boxes in item.regions]
    if loss == "dense_captioning":
        return [(description_prompt(boxes), phrase) for phrase, boxes in item.regions]
    return []


def squares_of(
    studies: Sequence[TrainingStudy], *, size: int, cache: Path
) -> tuple[UInt8[np.ndarray, "n s s"], list[list[int]], dict[str, str]]:
    """The memory-mapped squares, (width, height, size) of each picture, and the unreadable ones.

    Decoded on the first call, by threads (decoding releases the interpreter), and found again by
    a key over ids, files, their sizes and times. An account cut short is as none: all is redone.
    """
    folder = cache / "squares" / _key(studies, size)
    file, account = folder / "squares.npy", folder / "account.json"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        stored = _account(account)
        if stored is None or not file.is_file():
            file.unlink(missing_ok=True)  # never cut short under a training that has it mapped
            stored = _decode(studies, size, file)
            atomic.write_text(account, json.dumps(stored))
    return np.load(file, mmap_mode="r"), stored["frames"], stored["unreadable"]


def _account(file: Path) -> dict[str, Any] | None:
    """What is known of decoded pictures; None if there is nothing, or not the whole of it."""
    try:
        stored = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    whole = isinstance(stored, dict) and {"frames", "unreadable"} <= set(stored)
    return stored if whole else None


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
