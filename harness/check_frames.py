"""Is what the model sees where its declared frame says, and do boxes come back from its answers?"""

from typing import Any

import numpy as np

from harness.boxes import Boxes
from harness.promise import Broken, NotAsked, Subject

PIXELS = 0.5  # how far a centre may be off, in pixels of the input or the frame if that is coarser
BACK = 0.04  # of the film: a cell of Kosmos-2 is 0.03, a hundredth of CheXagent 0.01


def look_at_marks(subject: Subject) -> str:
    """Whether a bright rectangle of the film lies in the input where its box is mapped to.

    Raises:
        Broken: it lies elsewhere.
        NotAsked: the adapter has no `sees`.
    """
    if not hasattr(subject.model, "sees"):
        raise NotAsked("no hook sees(image) -> (pixels, frame)")
    worst = 0.0
    for mark in subject.marked:
        pixels, frame = subject.model.sees(mark.image)
        found, size = _center(np.asarray(pixels, np.float64)), np.array(frame.size)
        box = frame.to_model(mark.boxes)[0]
        wanted = (box[:2] + box[2:]) / 2
        coarser = np.minimum(np.shape(pixels)[::-1], size)
        off = float((np.abs(found - wanted) * coarser).max())
        if off > PIXELS:
            raise Broken(
                f"a mark at {(wanted * size).round(1).tolist()} of the input is seen at "
                f"{(found * size).round(1).tolist()}",
                _frame_hint(found, mark.boxes, wanted),
            )
        worst = max(worst, off)
    return f"within {worst:.2f} pixels"


def look_at_pixel_grid(subject: Subject) -> str:
    """Whether a model that answers in pixels counts those of its declared frame.

    Raises:
        Broken: its input has another size.
        NotAsked: the adapter does not say, or its answers are not in pixels.
    """
    if not (hasattr(subject.model, "counts_in") and hasattr(subject.model, "sees")):
        raise NotAsked("no hook counts_in(image) -> (width, height)")
    for mark in subject.marked:
        counted = subject.model.counts_in(mark.image)
        if counted is None:
            raise NotAsked("its answers are not in pixels")
        _, frame = subject.model.sees(mark.image)
        if tuple(counted) != frame.size:
            raise Broken(
                f"the input has {counted[0]} x {counted[1]} pixels, the declared frame "
                f"{frame.size[0]} x {frame.size[1]}",
                "wrong frame: the limits of pixels on the card are not those of the processor",
            )
    return f"{counted[0]} x {counted[1]}"


def _center(pixels: Any) -> Any:
    """The centre of brightness, x and y in fractions."""
    pixels = pixels - pixels.min()
    height, width = pixels.shape
    y, x = np.mgrid[:height, :width] + 0.5
    moments = np.array([(pixels * x).sum() / width, (pixels * y).sum() / height])
    return moments / max(pixels.sum(), 1e-9)


def _frame_hint(found: Any, boxes: Boxes, wanted: Any) -> str:
    center = (boxes[0, :2] + boxes[0, 2:]) / 2
    if np.abs(found - wanted[::-1]).max() < 0.03:
        return "rows and columns are exchanged: arrays are (height, width), sizes (width, height)"
    if np.abs(found - center).max() < 0.03:
        return "wrong frame: the input is squashed, the declared geometry crops or pads"
    return "wrong frame: the declared geometry is not what is done to the pixels"


def look_at_round_trip(subject: Subject) -> str:
    """Whether boxes written as the model's answer and read back are where they were.

    Raises:
        Broken: they are elsewhere; the hint names the likely confusion.
        NotAsked: the adapter has no `round_trip`.
    """
    if not hasattr(subject.model, "round_trip"):
        raise NotAsked("no hook round_trip(image, boxes) -> boxes")
    worst = 0.0
    for mark in subject.marked:
        back = np.asarray(subject.model.round_trip(mark.image, mark.boxes), np.float64)
        if back.shape != mark.boxes.shape:
            raise Broken(
                f"{len(mark.boxes)} box written, {len(back)} read", "codec and prompt differ"
            )
        off = float(np.abs(back - mark.boxes).max())
        if off > BACK:
            written, read = mark.boxes[0].round(3).tolist(), back[0].round(3).tolist()
            raise Broken(f"{written} was written, {read} read", _box_hint(back[0], mark.boxes[0]))
        worst = max(worst, off)
    return f"within {worst:.3f} of the film"


def _box_hint(read: Any, written: Any) -> str:
    x1, y1, x2, y2 = (float(value) for value in written)
    confusions = {
        "transposed boxes: one side puts y first": (y1, x1, y2, x2),
        "one side writes width and height instead of a second corner": (x1, y1, x2 - x1, y2 - y1),
        "mirrored: left and right are exchanged": (1 - x2, y1, 1 - x1, y2),
        "upside down: y is counted from below": (x1, 1 - y2, x2, 1 - y1),
    }
    for hint, confused in confusions.items():
        if np.abs(read - np.array(confused)).max() < BACK:
            return hint
    return "wrong frame: fractions of the model's input were taken for fractions of the film"
