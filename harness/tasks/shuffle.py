"""Another patient's image of the same view: the control that takes the picture away."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from harness.models import NotScorable
from harness.samples import ImageRef


def other_images(images: Sequence[ImageRef], seed: int) -> list[ImageRef]:
    """For each image one of a different patient, of the same view where there is one.

    The choice depends on the seed and on which images there are, not on their order, so it stays
    the same when a run is resumed.

    Raises:
        NotScorable: all images are of one patient.
    """
    unique = {image.image_id: image for image in images}
    every = [unique[name] for name in sorted(unique)]
    by_view: defaultdict[str, list[ImageRef]] = defaultdict(list)
    for image in every:
        by_view[image.view].append(image)
    # A film is asked about once per phrase and swapped once.
    others = {
        name: _other(image, by_view[image.view], every, seed) for name, image in unique.items()
    }
    return [others[image.image_id] for image in images]


def _other(
    image: ImageRef, same_view: list[ImageRef], every: list[ImageRef], seed: int
) -> ImageRef:
    """One of the first pool that has another patient; pools are sorted by image id."""
    for pool in (same_view, every):
        strangers = [other for other in pool if other.patient_id != image.patient_id]
        if strangers:
            return strangers[_draw(image.image_id, seed, len(strangers))]
    raise NotScorable("all images are of one patient, so there is no other patient's image")


def _draw(image_id: str, seed: int, n: int) -> int:
    digest = hashlib.sha256(f"{seed}|{image_id}".encode()).digest()
    return int(np.frombuffer(digest[:8], "<u8")[0] % np.uint64(n))
