"""How each model writes boxes, and how its answers are read back: one `Codec` per notation.

`parse` and `encode` translate between an answer and boxes on the film, through the frame the
model speaks of (its card's `coordinates`). Both are pure functions of their arguments: an answer
that cannot be read is "malformed", and no earlier answer can stand in for it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from baselines.answers import Parsed, Row, Unreadable, final_answer, on_film, says_none
from baselines.json_boxes import read_json_boxes
from baselines.tag_boxes import (
    read_bracketed,
    read_cells,
    read_chexagent,
    read_internvl,
    read_maira,
    read_pairs,
    read_tokens,
    write_cells,
)
from harness.boxes import Boxes
from harness.errors import unknown
from harness.geometry import Frame

VERSION = 2  # raised when answers are read otherwise than before: stored results are made anew

Size = tuple[int, int]  # width, height in pixels of the frame that coordinates speak of
Fractions = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Codec:
    """One notation.

    Args:
        read: the final part of an answer and the frame's size to rows in fractions of the frame;
            [] only for an explicit none. Raises `Unreadable`.
        write: rows in fractions of the frame, the phrase and the frame's size to an answer; None
            where that is not known, so that the model cannot be shown examples.
        none: what the model is taught to answer where there is nothing, with {phrase}.
    """

    read: Callable[[str, Size], Sequence[Row]]
    write: Callable[[Fractions, str, Size], str] | None
    none: str = "[]"


def parse(
    codec: str, text: str, frame: Frame, *, phrase: str = "", complete: bool = True
) -> Parsed:
    """What an answer says, on the film.

    Args:
        codec: a name that `find_codec` knows.
        text: the whole generated answer, special tokens kept.
        frame: the frame that the answer's coordinates speak of.
        phrase: what was asked; some models answer "nothing there" by repeating it.
        complete: False if generation was cut at its limit; such an answer is malformed.
    """
    found = find_codec(codec)
    try:
        if not complete:
            raise Unreadable("the answer was cut at the limit of tokens")
        body = final_answer(text)
        if says_none(body) or _same(body, found.none.format(phrase=phrase)):
            return Parsed("empty")
        rows = found.read(body, frame.size)
        return on_film(rows, frame) if len(rows) else Parsed("empty")
    except Unreadable as why:
        return Parsed("malformed", reason=str(why))


def _same(left: str, right: str) -> bool:
    words = ("".join(text.lower().split()).rstrip(".") for text in (left, right))
    return next(words) == next(words)


def encode(codec: str, boxes: Boxes, phrase: str, frame: Frame) -> str:
    """The answer that says these boxes of the film, as the model would write it.

    Boxes are sorted by x1 and cut to what the frame sees; without any box left, the model's none.
    """
    found = find_codec(codec)
    rows = np.clip(frame.to_model(boxes), 0.0, 1.0)
    rows = rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])]
    if not len(rows):
        return found.none.format(phrase=phrase)
    if found.write is None:
        raise ValueError(f"boxes cannot be written as {codec}")
    return found.write(rows[np.lexsort(rows.T[::-1])].tolist(), phrase, frame.size)


def find_codec(name: str) -> Codec:
    """The codec of that name, or of a declared JSON: ``json yxyx 100``, scale `px` for pixels.

    Raises:
        BenchError: unknown name.
    """
    if name in CODECS:
        return CODECS[name]
    match name.split():
        case ["json", ("xyxy" | "yxyx") as order, ("1" | "100" | "1000" | "px") as scale]:
            return _json(order, scale, "box")
    raise unknown("box codec", name, [*CODECS, "json xyxy 1000"])


def in_pixels(name: str) -> bool:
    """Whether a notation counts pixels of the frame, so that the frame's size must be the input's.

    >>> in_pixels("qwen_px"), in_pixels("qwen_1000"), in_pixels("json yxyx px")
    (True, False, True)
    """
    read = find_codec(name).read
    return isinstance(getattr(read, "__self__", None), _Json) and not read.__self__.scale


# --- JSON


@dataclass(frozen=True)
class _Json:
    """JSON boxes in one scale (0: pixels of the frame) and order."""

    y_first: bool
    scale: float
    key: str

    def units(self, size: Size) -> Sequence[float]:
        """By what x1, y1, x2, y2 are divided."""
        return (self.scale,) * 4 if self.scale else tuple(map(float, (*size, *size)))

    def turned(self, row: Row) -> Row:
        """From x first to the order of the notation, or back: the same exchange."""
        return (row[1], row[0], row[3], row[2]) if self.y_first else row

    def read(self, text: str, size: Size) -> list[Row]:
        units = self.units(size)
        rows = [self.turned(row) for row in read_json_boxes(text)]
        return [[value / unit for value, unit in zip(row, units, strict=True)] for row in rows]

    def write(self, rows: Fractions, phrase: str, size: Size) -> str:
        units, digits = self.units(size), 3 if self.scale == 1 else None
        items = []
        for row in rows:
            scaled = [round(value * unit, digits) for value, unit in zip(row, units, strict=True)]
            items.append(json.dumps({self.key: list(self.turned(scaled)), "label": phrase}))
        return "```json\n[" + ", ".join(items) + "]\n```"


def _json(order: str, scale: str, key: str) -> Codec:
    notation = _Json(order == "yxyx", 0.0 if scale == "px" else float(scale), key)
    return Codec(notation.read, notation.write, "```json\n[]\n```")


def _read_gemma(text: str, size: Size) -> list[Row]:
    """Y first, 0-1000; MedGemma's technical report also shows 0-1, told by the largest value."""
    rows = _Json(True, 1000.0, "box_2d").read(text, size)
    values = [abs(value) for row in rows for value in row]
    if values and max(values) <= 1 / 1000:
        return [[value * 1000 for value in row] for row in rows]
    return rows


# --- tags and tokens


def _wrapped(pieces: Sequence[str], form: str, phrase: str, *, between: str = "") -> str:
    return form.format(phrase=phrase, boxes=between.join(pieces))


def _bins(row: Sequence[float], count: int, *, floor: bool) -> list[int]:
    """Bin numbers; with `floor` a bin is read back at its middle, else at its number."""
    numbers = [int(v * count) if floor else round(v * count) for v in row]
    return [min(max(n, 0), count - 1 if floor else count) for n in numbers]


def _write_lists(rows: Fractions, _: str, __: Size) -> str:
    """As LoFi writes them: floors, no spaces, no box without area."""
    pieces = []
    for row in rows:
        x1, y1, x2, y2 = (int(value * 1000 + 1e-4) for value in row)
        x1, y1 = min(x1, 999), min(y1, 999)
        pieces.append(f"[{x1},{y1},{max(x2, x1 + 1)},{max(y2, y1 + 1)}]")
    return "```\n[" + ",".join(pieces) + "]\n```"


def _write_maira(rows: Fractions, phrase: str, _: Size) -> str:
    form = "<box><x{}><y{}><x{}><y{}></box>"
    pieces = [form.format(*_bins(row, 100, floor=True)) for row in rows]
    return _wrapped(pieces, "<obj> {phrase} {boxes}</obj>", phrase)


def _write_chexagent(rows: Fractions, phrase: str, _: Size) -> str:
    form = "<|box|>({},{}),({},{})<|/box|>"
    pieces = [form.format(*_bins(row, 100, floor=False)) for row in rows]
    return _wrapped(pieces, "<|ref|>{phrase}<|/ref|>{boxes}", phrase)


def _write_radvlm(rows: Fractions, phrase: str, _: Size) -> str:
    pieces = ["[" + ", ".join(f"{value:.2f}" for value in row) + "]" for row in rows]
    form = "{phrase} is located at {boxes}."
    return _wrapped(pieces, form, phrase.rstrip("."), between=" and ")


def _write_internvl(rows: Fractions, phrase: str, _: Size) -> str:
    pieces = [str(_bins(row, 1000, floor=False)) for row in rows]
    return _wrapped(pieces, "<ref>{phrase}</ref><box>[{boxes}]</box>", phrase, between=", ")


def _write_pairs(rows: Fractions, phrase: str, _: Size) -> str:
    form = "<box>({},{}),({},{})</box>"
    pieces = [form.format(*_bins(row, 1000, floor=False)) for row in rows]
    return _wrapped(pieces, "<ref>{phrase}</ref>{boxes}", phrase)


def _write_florence(rows: Fractions, phrase: str, _: Size) -> str:
    form = "<loc_{}><loc_{}><loc_{}><loc_{}>"
    return phrase + "".join(form.format(*_bins(row, 1000, floor=True)) for row in rows)


def _write_paligemma(rows: Fractions, phrase: str, _: Size) -> str:
    pieces = []
    for row in rows:
        x1, y1, x2, y2 = _bins(row, 1024, floor=False)
        locations = (min(value, 1023) for value in (y1, x1, y2, x2))
        pieces.append("".join(f"<loc{value:04d}>" for value in locations) + f" {phrase}")
    return " ; ".join(pieces)


def _write_radgrounder(rows: Fractions, phrase: str, _: Size) -> str:
    pieces = []
    for row in rows:
        values = (min(value, 511) for value in _bins(row, 512, floor=False))
        tokens = "".join(f"<loc{value:04d}>" for value in values)
        pieces.append(f"<p bbox={tokens} id=<seg000>>{phrase}</p>")
    return " ".join(pieces)


CODECS: Mapping[str, Codec] = {
    "maira": Codec(read_maira, _write_maira, "<obj> {phrase}</obj>"),
    "chexagent": Codec(read_chexagent, _write_chexagent, "No {phrase} detected."),
    "radvlm": Codec(read_bracketed, _write_radvlm, "No {phrase} detected."),
    "gemma_json": replace(_json("yxyx", "1000", "box_2d"), read=_read_gemma),
    "qwen_px": _json("xyxy", "px", "bbox_2d"),
    "qwen_1000": _json("xyxy", "1000", "bbox_2d"),
    "lists_1000": Codec(_Json(False, 1000.0, "box").read, _write_lists, "```\n[]\n```"),
    "internvl": Codec(read_internvl, _write_internvl, "<ref>{phrase}</ref><box>[]</box>"),
    "qwen_vl_v1": Codec(read_pairs, _write_pairs),
    "florence": Codec(partial(read_tokens, form="florence"), _write_florence, "{phrase}"),
    "paligemma": Codec(partial(read_tokens, form="paligemma"), _write_paligemma, ""),
    "radgrounder": Codec(partial(read_tokens, form="radgrounder"), _write_radgrounder, ""),
    "kosmos": Codec(read_cells, write_cells, "<phrase> {phrase}</phrase>"),
}
