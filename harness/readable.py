"""Images that cannot be read leave the pool before any model runs, and are counted."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from harness.atomic import write_text
from harness.cache_root import cache_root
from harness.errors import BenchError
from harness.file_hash import file_sha256s
from harness.images import Image
from harness.samples import Dataset, ImageRef

Progress = Callable[[int, int], None]


def keep_readable(dataset: Dataset, progress: Progress | None = None) -> Dataset:
    """The dataset without samples whose image does not decode, counted under ``excluded``.

    Every image is decoded once; the verdict is remembered in the cache by the files' sizes and
    times, so a later run only asks the file system.
    """
    images = {sample.image.image_id: sample.image for sample in dataset.samples}
    verdicts = _verdicts(list(images.values()), progress)
    if not verdicts:
        return dataset
    kept = tuple(s for s in dataset.samples if s.image.image_id not in verdicts)
    lost = Counter(
        verdicts[s.image.image_id] for s in dataset.samples if s.image.image_id in verdicts
    )
    excluded = dict(Counter(dataset.excluded) + lost)
    return replace(dataset, samples=kept, excluded=excluded)


def content_of(dataset: Dataset) -> str:
    """SHA-256 of the images' bytes by id, and of groups and second readers; no path is in it.

    The fingerprint says what is asked; a film that was exchanged, or a sex that was corrected,
    leaves it as it is and still makes other numbers.
    """
    images = {sample.image.image_id: sample.image for sample in dataset.samples}
    hashes = file_sha256s([image.file for image in images.values()])
    digest = hashlib.sha256()
    for (name, image), file in zip(images.items(), hashes, strict=True):
        digest.update(json.dumps([name, file, image.sex, image.age]).encode())
    for sample in dataset.samples:
        reader = getattr(sample, "second_reader", None)
        groups = sorted(getattr(sample, "groups", {}).items())
        boxes = None if reader is None else reader.tolist()
        compares = getattr(sample, "comparison", False)
        digest.update(json.dumps([sample.sample_id, groups, compares, boxes]).encode())
    return digest.hexdigest()


def _verdicts(images: list[ImageRef], progress: Progress | None) -> dict[str, str]:
    """Image id to why it cannot be read; readable images are absent."""
    memo = cache_root() / "readable" / f"{_stamp(images)}.json"
    if memo.is_file():
        try:
            return dict(json.loads(memo.read_text(encoding="utf-8")))
        except ValueError:
            pass  # a damaged memo is made again
    verdicts: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for done, (image, reason) in enumerate(
            zip(images, pool.map(_why_unreadable, images), strict=True)
        ):
            if reason:
                verdicts[image.image_id] = reason
            if progress:
                progress(done + 1, len(images))
    write_text(memo, json.dumps(verdicts))
    return verdicts


def _why_unreadable(image: ImageRef) -> str:
    try:
        Image(image.image_id, image.file).read()
    except BenchError as error:
        return f"image unreadable: {_kind(error, image.file)}"
    return ""


def _kind(error: BenchError, file: Path) -> str:
    # A count is kept per reason, so the reason must not name the file.
    if not file.is_file():
        return "missing"
    if file.stat().st_size == 0:
        return "empty file"
    reason = str(getattr(error, "reason", "") or "does not decode")
    return re.sub(r" \(\w+: .*\)$", "", reason)  # what the decoder said of this one file


def _stamp(images: Iterable[ImageRef]) -> str:
    digest = hashlib.sha256()
    for image in images:
        try:
            stat = image.file.stat()
            size, time = stat.st_size, stat.st_mtime_ns
        except OSError:
            size, time = -1, -1
        digest.update(f"{image.image_id}|{image.file}|{size}|{time}\n".encode())
    return digest.hexdigest()[:32]
