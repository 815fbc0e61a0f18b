"""Models that fail on some films, for processes that share a cell."""

from collections.abc import Sequence

import numpy as np
from suite_models import Pixels

from harness.images import Image


class Choosy(Pixels):
    """Fails while it prepares the films of one name, and while it looks at those of another."""

    def __init__(self, unprepared: str, unseen: str):
        super().__init__(f"choosy-{unprepared}-{unseen}")
        self.unprepared = unprepared
        self.unseen = unseen

    def prepare_image(self, image: Image) -> np.ndarray:
        """As `Pixels`, with a last number that says whether it may be looked at."""
        if self.unprepared in image.image_id:
            raise RuntimeError("what is this?")
        return np.append(super().prepare_image(image), self.unseen in image.image_id)

    def embed_images(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """As `Pixels`, unless one of them may not be looked at."""
        rows = np.stack(prepared)
        if rows[:, -1].any():
            raise RuntimeError("what is that?")
        return super().embed_images(list(rows[:, :-1]))


def load(device: str, *, unprepared: str, unseen: str) -> Choosy:
    """That model; "" is in every name."""
    del device
    return Choosy(unprepared, unseen)
