"""Films to the tensors a model sees: grey bytes in its frame, normalized on the device.

What is prepared ahead stays 8-bit and single-channel: a twelfth of the memory of the tensor, and
the same for all models that share a geometry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from baselines.shared_films import SharedFilms
from harness.geometry import Geometry
from harness.images import Image, Picture

_SHARED = SharedFilms()


@dataclass(frozen=True)
class PixelRules:
    """From a film to a normalized tensor.

    Args:
        geometry: to the model's frame.
        mean: per channel, of values that were multiplied by `scale`.
        std: per channel.
        scale: 1/255 for models that see 0-1, 1 for models that see 0-255 (CheXzero).
        stretch: spread each film's own range over 0-255 first (BioViL, MAIRA-2).
    """

    geometry: Geometry
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1 / 255
    stretch: bool = False

    def prepare(self, image: Image) -> UInt8[np.ndarray, "_ _"]:
        """The film in the model's frame, 8-bit grey; pure, fit for threads."""
        key = (image.file, str(self.geometry), self.stretch)
        found = _SHARED.get(key)
        if found is None:
            found = self.picture(image.picture(None if self.stretch else self.geometry.target))
            _SHARED.keep(key, found)
        return found

    def picture(self, picture: Picture) -> UInt8[np.ndarray, "_ _"]:
        """As `prepare`, of a film already decoded."""
        if self.stretch:
            picture = Picture(_stretched(picture.pixels), picture.width, picture.height)
        return self.geometry.frame(picture.width, picture.height).pixels(picture)

    def tensor(self, prepared: Sequence[Any], device: str) -> Float[torch.Tensor, "n c h w"]:
        """The batch as the model sees it, float32; grey is repeated over the channels."""
        grey = torch.from_numpy(np.stack(prepared)).to(device).unsqueeze(1).float()
        # Division, not multiplication by 1 / 255: that is what ToTensor does, to the last bit.
        values = grey.div(255) if self.scale == 1 / 255 else grey.mul(self.scale)
        mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (self.mean, self.std))
        return values.expand(-1, len(self.mean), -1, -1).sub(mean).div(std)


def _stretched(pixels: Any) -> Any:
    """The darkest value at 0 and the brightest at 255, floored; a constant film becomes black.

    Source: hi-ml `image/data/io.py: remap_to_uint8`, which divides by zero on a constant film.
    """
    values = pixels.astype(np.float64) - pixels.min()
    return (values / (values.max() or 1.0) * 255).astype(np.uint8)
