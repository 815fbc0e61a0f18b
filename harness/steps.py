"""The steps of a geometry: each says, for a picture of a given size, what is done to it.

The rounding is part of what was published: a model that floors where another rounds sees a film
one pixel larger, and its boxes are off by as much.
"""

import math
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np

from harness.errors import BenchError, unknown

RESAMPLINGS = ("nearest", "box", "area", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Resize:
    """The whole picture becomes `width` x `height`, from `before` (width, height)."""

    width: int
    height: int
    resample: str
    before: tuple[int, int]

    def move(self, points: Any) -> Any:
        """Points (n, 2) in pixels before to pixels after."""
        return points * (np.array([self.width, self.height]) / np.array(self.before))


@dataclass(frozen=True)
class Window:
    """The picture seen through `width` x `height` at (`left`, `top`); outside it, `fill`."""

    left: int
    top: int
    width: int
    height: int
    fill: int = 0

    def move(self, points: Any) -> Any:
        """Points (n, 2) in pixels before to pixels after."""
        return points - np.array([self.left, self.top])


@dataclass(frozen=True)
class Squash:
    """To exactly this size, whatever the aspect (SigLIP, Gemma 3, Florence-2)."""

    width: int
    height: int
    resample: str = "bicubic"

    def resolve(self, width: int, height: int) -> Resize:
        """The resize for a picture of that size."""
        return Resize(self.width, self.height, self.resample, (width, height))


@dataclass(frozen=True)
class Shortest:
    """The shorter side becomes `side`, the longer is floored and at most `most`.

    Source: torchvision `Resize(int)`; with `most`, the DETR rule of transformers
    (`image_transforms.get_size_with_aspect_ratio`).
    """

    side: int
    most: int | None = None
    resample: str = "bicubic"

    def resolve(self, width: int, height: int) -> Resize:
        """The resize for a picture of that size."""
        short, long = sorted((width, height))
        exact: float = self.side
        if self.most is not None and long / short * self.side > self.most:
            exact = self.most * float(short) / float(long)
        new_short, new_long = round(exact), int(exact * long / short)
        if short == new_short:
            new_long = long
        size = (new_short, new_long) if width <= height else (new_long, new_short)
        return Resize(*size, self.resample, (width, height))


@dataclass(frozen=True)
class Longest:
    """The longer side becomes `side`, the shorter is rounded (or floored) to whole pixels."""

    side: int
    floor: bool = False
    resample: str = "bicubic"

    def resolve(self, width: int, height: int) -> Resize:
        """The resize for a picture of that size."""
        ratio = self.side / max(width, height)
        whole = math.floor if self.floor else round
        size = (max(1, whole(width * ratio)), max(1, whole(height * ratio)))
        return Resize(*size, self.resample, (width, height))


@dataclass(frozen=True)
class Multiples:
    """Near its own size, both sides multiples of `factor`, the area within [least, most].

    Source: transformers `models/qwen2_vl/image_processing_qwen2_vl.py: smart_resize`.
    """

    factor: int
    least: int
    most: int
    resample: str = "bicubic"

    def resolve(self, width: int, height: int) -> Resize:
        """The resize for a picture of that size."""
        across, down = (round(side / self.factor) * self.factor for side in (width, height))
        if across * down > self.most:
            shrink = math.sqrt(height * width / self.most)
            across, down = (
                max(self.factor, math.floor(side / shrink / self.factor) * self.factor)
                for side in (width, height)
            )
        elif across * down < self.least:
            grow = math.sqrt(self.least / (height * width))
            across, down = (
                math.ceil(side * grow / self.factor) * self.factor for side in (width, height)
            )
        return Resize(across, down, self.resample, (width, height))


@dataclass(frozen=True)
class Crop:
    """The centre; black where the picture is smaller. Size 0 means the shorter side, square.

    Offsets are rounded half to even (torchvision `CenterCrop`) or floored (transformers).
    """

    width: int = 0
    height: int = 0
    floor: bool = False

    def resolve(self, width: int, height: int) -> Window:
        """The window on a picture of that size."""
        side = min(width, height)
        across, down = self.width or side, self.height or side
        return Window(self._offset(width, across), self._offset(height, down), across, down)

    def _offset(self, have: int, want: int) -> int:
        if want > have:
            return -((want - have) // 2)
        return (have - want) // 2 if self.floor else round((have - want) / 2)


@dataclass(frozen=True)
class Pad:
    """Put on a canvas, centered or in the top left corner; size 0 means the longer side, square."""

    width: int = 0
    height: int = 0
    corner: bool = False
    fill: int = 0

    def resolve(self, width: int, height: int) -> Window:
        """The window on a picture of that size.

        Raises:
            ValueError: the canvas is smaller than the picture.
        """
        side = max(width, height)
        across, down = self.width or side, self.height or side
        if across < width or down < height:
            raise ValueError(f"padding to {across} x {down} cannot hold {width} x {height}")
        left, top = (0, 0) if self.corner else (-((across - width) // 2), -((down - height) // 2))
        return Window(left, top, across, down, self.fill)


Step: TypeAlias = Squash | Shortest | Longest | Multiples | Crop | Pad

_STEPS: dict[str, type[Any]] = {
    "squash": Squash,
    "shortest": Shortest,
    "longest": Longest,
    "multiples": Multiples,
    "crop": Crop,
    "pad": Pad,
}
_FLAGS = ("floor", "corner")
_NUMBERS = {"max": "most", "min": "least", "fill": "fill"}


def read_step(text: str) -> Step:
    """The step that `text` describes; the grammar is `harness.geometry.read_geometry`'s.

    Raises:
        BenchError: an unknown word, or a number that is missing or not positive.
    """
    name, *words = text.split()
    if name not in _STEPS:
        raise unknown("geometry step", name, _STEPS)
    try:
        step: Step = _STEPS[name](**_arguments(name, words))
    except (TypeError, ValueError, IndexError) as error:
        raise BenchError(
            f"geometry step {text!r}: not understood. Expected a size and then options, e.g. "
            "'squash 224', 'crop 224 floor', 'multiples 28 min 3136 max 1003520'."
        ) from error
    return step


def _arguments(name: str, words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if words[:1] != ["square"] or name not in ("crop", "pad"):
        found |= _size(name, words[0])
    rest = iter(words[1:])
    for word in rest:
        if word in RESAMPLINGS:
            found["resample"] = word
        elif word in _FLAGS:
            found[word] = True
        elif word in _NUMBERS:
            found[_NUMBERS[word]] = int(next(rest, "missing"))
        else:
            raise ValueError(word)
    return found


def _size(name: str, word: str) -> dict[str, int]:
    across, _, down = word.partition("x")
    numbers = [int(across), int(down or across)]
    if min(numbers) < 1:
        raise ValueError(word)
    names = [f.name for f in fields(_STEPS[name])]
    if "height" in names:
        return {"width": numbers[0], "height": numbers[1]}
    if down:
        raise ValueError(word)
    return {names[0]: numbers[0]}


def write_step(step: Step) -> str:
    """The text from which `read_step` makes this step; defaults are left out.

    >>> write_step(Crop(224, 224, floor=True))
    'crop 224 floor'
    """
    name = next(name for name, kind in _STEPS.items() if isinstance(step, kind))
    values = {field.name: getattr(step, field.name) for field in fields(step)}
    defaults = {field.name: field.default for field in fields(step)}
    words = [name, _written_size(values)]
    for key, value in values.items():
        if key in ("width", "height", "side", "factor") or value == defaults[key]:
            continue
        number = {field: word for word, field in _NUMBERS.items()}.get(key)
        words.append(f"{number} {value}" if number else (key if value is True else str(value)))
    return " ".join(words)


def _written_size(values: dict[str, Any]) -> str:
    if "width" not in values:
        return str(values.get("side", values.get("factor")))
    if not values["width"]:
        return "square"
    square = values["width"] == values["height"]
    return str(values["width"]) if square else f"{values['width']}x{values['height']}"
