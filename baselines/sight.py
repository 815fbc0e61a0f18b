"""What a library's processor really gives a model, as a grey picture, for `bench check`."""

from typing import Any

import numpy as np
from jaxtyping import Float


def brightness(inputs: Any, black: Any) -> Float[np.ndarray, "h w"] | None:
    """How much brighter than a black film of its size a film is, at each pixel of the input.

    Mean, std and the fill of padding fall out of the difference; what is left is where the
    processor put the film. None if it makes no single picture (tiles, patches in a row).

    Args:
        inputs: the processor's answer to the film.
        black: its answer to a black film of the same size.
    """
    film, none = (one["pixel_values"].float().numpy() for one in (inputs, black))
    if film.ndim != 4 or len(film) != 1:
        return None
    return np.asarray((film - none)[0].mean(axis=0))


def pixel_grid(inputs: Any, processor: Any) -> tuple[int, int] | None:
    """Width and height in pixels of the picture that the model sees; None if it is not one."""
    if "image_grid_thw" in inputs:
        _, rows, columns = inputs["image_grid_thw"][0].tolist()
        patch = int(processor.image_processor.patch_size)
        return columns * patch, rows * patch
    values = inputs["pixel_values"]
    if values.ndim != 4 or len(values) != 1:
        return None
    return int(values.shape[-1]), int(values.shape[-2])
