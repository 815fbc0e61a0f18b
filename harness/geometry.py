"""The model's frame: how a film becomes the model's input, and the way back for boxes and maps.

A geometry is a list of steps, written in cards as text: ``longest 512, pad 512``. For a film of
known size each step is one of two operations, a resize or a window (a crop or a pad), so the
whole is one scale and one shift per axis, and its inverse is exact. Coordinates are continuous:
pixel i covers [i, i+1), as Pillow and torchvision resize.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
from jaxtyping import Float, UInt8

from harness.area import resize_by_area
from harness.boxes import Boxes
from harness.images import Picture
from harness.steps import (
    Longest,
    Resize,
    Shortest,
    Squash,
    Step,
    Window,
    read_step,
    write_step,
)

_RESAMPLING = {
    "nearest": PIL.Image.Resampling.NEAREST,
    "box": PIL.Image.Resampling.BOX,
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC,
    "lanczos": PIL.Image.Resampling.LANCZOS,
}

Affine: TypeAlias = tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]


@dataclass(frozen=True)
class Frame:
    """The geometry of one film: `width` x `height` pixels go through `operations`."""

    width: int
    height: int
    operations: tuple[Resize | Window, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the model's input in pixels."""
        if not self.operations:
            return self.width, self.height
        return self.operations[-1].width, self.operations[-1].height

    def to_model(self, boxes: Any) -> Float[np.ndarray, "_ 4"]:
        """Fractions of the film to fractions of the model's input; may leave [0, 1] at a crop."""
        scale, shift = self.affine()
        rows = np.asarray(boxes, np.float64).reshape(-1, 2, 2)
        return (rows * scale + shift).reshape(-1, 4)

    def to_film(self, boxes: Any) -> Float[np.ndarray, "_ 4"]:
        """Fractions of the model's input to fractions of the film: the inverse of `to_model`.

        A box that a model draws in the padding leaves [0, 1] here.
        """
        scale, shift = self.affine()
        rows = np.asarray(boxes, np.float64).reshape(-1, 2, 2)
        return ((rows - shift) / scale).reshape(-1, 4)

    def field(self) -> Float[np.ndarray, " 4"]:
        """The part of the film the model sees, x1, y1, x2, y2 in fractions of the film."""
        seen = np.array([[0.0, 0.0], [self.width, self.height]])
        for operation in self.operations:
            seen = np.clip(operation.move(seen), 0.0, (operation.width, operation.height))
        return np.asarray(np.clip(self.to_film(seen / self.size)[0], 0.0, 1.0))

    def lost_fraction(self, boxes: Boxes) -> Float[np.ndarray, " _"]:
        """For each box of the film, the share of its area that the model does not see."""
        rows = np.asarray(boxes, np.float64).reshape(-1, 4)
        field = self.field()
        low, high = np.maximum(rows[:, :2], field[:2]), np.minimum(rows[:, 2:], field[2:])
        seen = np.clip(high - low, 0.0, None).prod(axis=1)
        return np.asarray(1.0 - seen / (rows[:, 2:] - rows[:, :2]).prod(axis=1))

    def pixels(self, picture: Picture) -> UInt8[np.ndarray, "_ _"]:
        """The model's input, before normalization, of a film decoded whole or reduced.

        Raises:
            ValueError: the picture is of another film, or reduced although the first step needs
                every pixel (`Geometry.target` says how far it may be reduced).
        """
        if (picture.width, picture.height) != (self.width, self.height):
            raise ValueError(
                f"a frame of {self.width} x {self.height} got a picture of "
                f"{picture.width} x {picture.height}"
            )
        if picture.reduced > 1 and not isinstance((*self.operations, None)[0], Resize):
            raise ValueError(f"this geometry takes no picture reduced {picture.reduced} times")
        extent = (self.width / picture.reduced, self.height / picture.reduced)
        pixels = picture.pixels
        for operation in self.operations:
            pixels = _apply(operation, pixels, extent)
            extent = (float(operation.width), float(operation.height))
        return np.ascontiguousarray(pixels)

    def affine(self) -> Affine:
        """Scale and shift, (x, y) each, from fractions of the film to fractions of the input."""
        corners = np.array([[0.0, 0.0], [self.width, self.height]])
        moved = reduce(lambda points, op: op.move(points), self.operations, corners) / self.size
        return moved[1] - moved[0], moved[0]


@dataclass(frozen=True)
class Geometry:
    """How any film becomes a model's input; without steps, as it is."""

    steps: tuple[Step, ...] = ()

    def frame(self, width: int, height: int) -> Frame:
        """The frame of a film of that size.

        Raises:
            ValueError: a padding is smaller than what it should hold.
        """
        operations: list[Resize | Window] = []
        size = (width, height)
        for step in self.steps:
            operations.append(step.resolve(*size))
            size = (operations[-1].width, operations[-1].height)
        return Frame(width, height, tuple(operations))

    @property
    def target(self) -> int | None:
        """The side to which a decoder may reduce a film; None if every pixel is needed."""
        first = self.steps[0] if self.steps else None
        if isinstance(first, Squash):
            return max(first.width, first.height)
        return first.side if isinstance(first, Shortest | Longest) else None

    def __str__(self) -> str:
        return ", ".join(write_step(step) for step in self.steps)


def read_geometry(text: str) -> Geometry:
    """The geometry that `text` describes: steps in order, separated by commas; "" is native.

    Steps: ``squash 224``, ``squash 896x448``, ``shortest 224``, ``shortest 800 max 1333``,
    ``longest 512``, ``multiples 28 min 3136 max 1003520``, ``crop 224``, ``crop square``,
    ``pad 512``, ``pad square``. Sizes are width x height. Resizes take ``nearest | box | area |
    bilinear | bicubic | lanczos`` (default bicubic; ``area`` is OpenCV's), `longest` also ``floor``
    (default: to the nearest), `crop` also ``floor`` (default: half to even), `pad` also ``corner``
    (default: centered) and ``fill 255``.

    >>> read_geometry("longest 512, pad 512").frame(1024, 768).field().tolist()
    [0.0, 0.0, 1.0, 1.0]
    >>> read_geometry("shortest 224, crop 224").frame(1000, 2000).field().tolist()
    [0.0, 0.25, 1.0, 0.75]

    Raises:
        BenchError: an unknown step or option.
    """
    parts = [part.strip() for part in text.split(",")]
    return Geometry(tuple(read_step(part) for part in parts if part))


def _apply(operation: Resize | Window, pixels: Any, extent: Sequence[float]) -> Any:
    if isinstance(operation, Window):
        return _window(operation, pixels)
    if operation.resample == "area":
        return resize_by_area(pixels, (operation.width, operation.height), extent)
    # `extent` excludes the part-filled last column and row of a reduced JPEG: taking them for
    # whole ones would shift the far edge by up to one reduced pixel.
    return np.asarray(
        PIL.Image.fromarray(pixels).resize(
            (operation.width, operation.height),
            _RESAMPLING[operation.resample],
            box=(0.0, 0.0, extent[0], extent[1]),
        )
    )


def _window(window: Window, pixels: Any) -> Any:
    canvas = np.full((window.height, window.width), window.fill, np.uint8)
    height, width = pixels.shape
    top, left = max(window.top, 0), max(window.left, 0)
    bottom, right = min(window.top + window.height, height), min(window.left + window.width, width)
    canvas[
        top - window.top : bottom - window.top,
        left - window.left : right - window.left,
    ] = pixels[top:bottom, left:right]
    return canvas
