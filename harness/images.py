"""PNG, JPEG or DICOM to an 8-bit grey picture in the original frame, MONOCHROME1 inverted."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True)
class Image:
    """One image as a model meets it: an id and a file, read when asked."""

    image_id: str
    file: Path

    def read(self, target: int | None = None) -> UInt8[np.ndarray, "_ _"]:
        """Grey pixels of the original frame; with `target`, possibly decoded smaller."""
        raise NotImplementedError
