"""A picture on its padded square at the model's size, and back: what the towers are shown."""

from dataclasses import dataclass

import numpy as np
import PIL.Image
from jaxtyping import Float32, UInt8

from harness.boxes import Boxes


@dataclass(frozen=True)
class PaddedFrame:
    """Where a picture of `width` x `height` pixels stands in a square of `size` pixels.

    The longer side is scaled to `size`, the shorter to whole pixels; black padding is centered,
    the odd pixel below and on the right.

    Source: letter-box of the released LoFi preprocessing (int(round()), floor of half the rest).
    """

    width: int
    height: int
    size: int

    @property
    def scaled(self) -> tuple[int, int]:
        """Width and height of the picture inside the square, in pixels."""
        longest = max(self.width, self.height)
        return (
            max(1, round(self.width * self.size / longest)),
            max(1, round(self.height * self.size / longest)),
        )

    @property
    def offset(self) -> tuple[int, int]:
        """Left and top padding in pixels."""
        width, height = self.scaled
        return (self.size - width) // 2, (self.size - height) // 2

    def to_square(self, boxes: Boxes) -> Boxes:
        """Boxes of the picture as fractions of the square."""
        scale, shift = np.array(self.scaled * 2), np.array(self.offset * 2)
        return ((np.asarray(boxes) * scale + shift) / self.size).astype(np.float32).reshape(-1, 4)

    def to_picture(self, boxes: Boxes) -> Boxes:
        """Boxes of the square as fractions of the picture; what lies on the padding is cut off."""
        scale, shift = np.array(self.scaled * 2), np.array(self.offset * 2)
        inside = np.clip((np.asarray(boxes) * self.size - shift) / scale, 0, 1).reshape(-1, 4)
        keep = (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])
        return inside[keep].astype(np.float32)


def to_square(pixels: UInt8[np.ndarray, "h w"], size: int) -> UInt8[np.ndarray, "size size"]:
    """The grey picture on its black square, bicubic with anti-aliasing; never cropped or flipped.

    Twice the size or more is first averaged over whole blocks, which is as sharp and much faster.
    """
    frame = PaddedFrame(pixels.shape[1], pixels.shape[0], size)
    picture = PIL.Image.fromarray(pixels).resize(
        frame.scaled, PIL.Image.Resampling.BICUBIC, reducing_gap=3.0
    )
    square = np.zeros((size, size), np.uint8)
    left, top = frame.offset
    square[top : top + picture.height, left : left + picture.width] = np.asarray(picture)
    return square


def to_input(squares: UInt8[np.ndarray, "n s s"]) -> Float32[np.ndarray, "n s s"]:
    """Grey values in [-1, 1], as SigLIP's processor has them."""
    return squares.astype(np.float32) / np.float32(127.5) - np.float32(1)


def shift(square: UInt8[np.ndarray, "s s"], right: int, down: int) -> UInt8[np.ndarray, "s s"]:
    """The square moved by whole pixels; what comes in at the edges is black."""
    size = len(square)
    out = np.zeros_like(square)
    rows, columns = _overlap(down, size), _overlap(right, size)
    out[rows[1], columns[1]] = square[rows[0], columns[0]]
    return out


def _overlap(by: int, size: int) -> tuple[slice, slice]:
    """From where and to where, along one axis."""
    return slice(max(-by, 0), size - max(by, 0)), slice(max(by, 0), size - max(-by, 0))


def shift_boxes(boxes: Boxes, right: float, down: float) -> Boxes:
    """Boxes moved by fractions of the square and cut at its edges; those that left are dropped."""
    moved = np.clip(np.asarray(boxes) + np.float32([right, down, right, down]), 0, 1)
    keep = (moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])
    return moved[keep].astype(np.float32)
