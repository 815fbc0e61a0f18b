"""The lines that ``bench data check`` prints, and the checks all datasets share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.errors import BenchError
from harness.images import Image
from harness.samples import Dataset, ImageRef, PhraseBoxes

Level = Literal["ok", "note", "problem"]
_SAMPLED_IMAGES = 50
_NAMED = 3


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found, and what was expected if that is known."""

    level: Level
    what: str
    found: str
    expected: str = ""


def compare_counts(found: Mapping[str, int], published: Mapping[str, int]) -> list[Check]:
    """One line per count, a note where it differs from the published one."""
    checks = []
    for what, count in found.items():
        expected = published.get(what)
        level: Level = "ok" if expected in (None, count) else "note"
        checks.append(Check(level, what, f"{count:,}", "" if expected is None else f"{expected:,}"))
    return checks


def check_images(images: Sequence[ImageRef], *, thorough: bool = False) -> list[Check]:
    """Whether image files exist and can be decoded: a spread sample of 50, or all of them."""
    step = 1 if thorough else max(1, len(images) // _SAMPLED_IMAGES)
    looked_at = images[::step]
    missing = [image for image in looked_at if not image.file.is_file()]
    broken = [i for i in looked_at if i.file.is_file() and not _can_be_read(i)]
    how = "all" if thorough else f"{len(looked_at)} sampled; --all reads every one"
    return [
        _named("missing image files", missing, how),
        _named("unreadable images", broken, how),
    ]


def count_samples(dataset: Dataset) -> dict[str, float]:
    """Patients, studies, images, and phrases, boxes and boxes per boxed phrase for grounding."""
    images = [sample.image for sample in dataset.samples]
    counts: dict[str, float] = {
        "patients": len({image.patient_id for image in images}),
        "studies": len({(image.patient_id, image.study_id) for image in images}),
        "images": len({image.image_id for image in images}),
    }
    phrases = [sample for sample in dataset.samples if isinstance(sample, PhraseBoxes)]
    if phrases:
        boxes = [len(sample.boxes) for sample in phrases]
        counts["phrases"] = len(phrases)
        counts["boxes"] = sum(boxes)
        counts["boxes per boxed phrase"] = round(
            sum(boxes) / max(1, int(np.count_nonzero(boxes))), 2
        )
    return counts


def _named(what: str, images: Sequence[ImageRef], how: str) -> Check:
    if not images:
        return Check("ok", what, f"0 ({how})")
    names = ", ".join(str(image.file) for image in images[:_NAMED])
    return Check("problem", what, f"{len(images)} ({how}): {names}", "0")


def _can_be_read(image: ImageRef) -> bool:
    try:
        Image(image.image_id, image.file).read()
    except (BenchError, OSError, ValueError):
        return False
    return True
