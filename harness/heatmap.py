"""Patch maps of a model's frame, projected onto the film; NaN where the model did not look."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32
from scipy.ndimage import gaussian_filter

from harness.geometry import read_geometry

# The longer side of a projected map: patch grids have at most 37 cells a side, and a pointing
# game needs no more than a hundredth of the film.
MAP_SIDE = 192

Interpolation = Literal["bilinear", "nearest"]


@dataclass(frozen=True)
class PatchMap:
    """A value for each patch of a model's input, and what is needed to put it on the film.

    Args:
        grid: (rows, columns), the first row at the top of the model's input, higher is more
            relevant; stored as float16, which keeps three decimals of a cosine.
        geometry: the model's geometry as `harness.geometry.read_geometry` reads it.
        width: of the film, in pixels.
        height: of the film, in pixels.
        sigma: of the Gaussian that smooths the grid before it is projected, in patches; 0 is
            none. BioViL uses 1.5 (hi-ml `vlp/inference_engine.py`).
        interpolation: between patches. BioViL uses nearest.
    """

    grid: Float[np.ndarray, "_ _"]
    geometry: str
    width: int
    height: int
    sigma: float = 0.0
    interpolation: Interpolation = "bilinear"

    def project(self, side: int = MAP_SIDE) -> Float32[np.ndarray, "_ _"]:
        """The map on the film's grid, its longer side `side` pixels (or the film's, if smaller).

        NaN outside the field of view (crops). Between the centres of the outermost patches and
        the edge of the input the map is constant.
        """
        width, height = map_size(self.width, self.height, side)
        frame = read_geometry(self.geometry).frame(self.width, self.height)
        scale, shift = frame.affine()
        field = frame.field()
        weights = [
            _weights(_centers(count), scale[axis], shift[axis], cells, self.interpolation)
            for axis, (count, cells) in enumerate(
                zip((width, height), self.grid.shape[::-1], strict=True)
            )
        ]
        values = weights[1] @ self._smoothed() @ weights[0].T
        seen_x, seen_y = (
            (_centers(count) >= field[axis]) & (_centers(count) <= field[axis + 2])
            for axis, count in enumerate((width, height))
        )
        values[~(seen_y[:, None] & seen_x[None, :])] = np.nan
        return np.asarray(values, np.float32)

    def _smoothed(self) -> Any:
        grid = np.asarray(self.grid, np.float64)
        return gaussian_filter(grid, self.sigma) if self.sigma > 0 else grid


def map_size(width: int, height: int, side: int = MAP_SIDE) -> tuple[int, int]:
    """Width and height of a map of that film: its aspect, the longer side at most `side`.

    >>> map_size(2500, 3056)
    (157, 192)
    """
    shrink = min(1.0, side / max(width, height))
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def _centers(count: int) -> Any:
    return (np.arange(count) + 0.5) / count


def _weights(centers: Any, scale: float, shift: float, cells: int, kind: Interpolation) -> Any:
    """(pixels, cells): how much each patch along one axis counts for each pixel of the map."""
    position = np.clip((centers * scale + shift) * cells - 0.5, 0, cells - 1)
    if kind == "nearest":
        # Half-way between two patches the lower one is taken, as rounding half up would not.
        return np.eye(cells)[np.ceil(position - 0.5).astype(int)]
    below = np.minimum(position.astype(int), max(cells - 2, 0))
    share = (position - below)[:, None]
    above = np.minimum(below + 1, cells - 1)
    return np.eye(cells)[below] * (1 - share) + np.eye(cells)[above] * share
