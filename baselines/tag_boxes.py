"""Boxes in tags, brackets and location tokens: what reads them.

Each reader takes the final part of an answer and gives rows x1, y1, x2, y2 in fractions of the
frame; [] is an explicit none; `Unreadable` anything else. A tag that is opened must hold a box.
"""

import math
import re
from collections.abc import Sequence

from baselines.answers import Row, Unreadable

Size = tuple[int, int]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_FOUR = rf"\[\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\]"
_POINTS = rf"\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)\s*,?\s*\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)"

_BRACKETS = re.compile(_FOUR)
_NUMERIC_BRACKET = re.compile(rf"\[[\s,]*{_NUMBER}[^\]\[]*\]?")
_MAIRA = re.compile(r"<x(\d+)>\s*<y(\d+)>\s*<x(\d+)>\s*<y(\d+)>")
_TWO_POINTS = re.compile(_POINTS)
_KOSMOS = re.compile(r"<patch_index_(\d{1,4})>")
_KOSMOS_OBJECT = re.compile(r"<object>(.*?)</object>", re.DOTALL)

CELLS = 32  # Kosmos-2 divides the image into 32 x 32 cells


def read_maira(text: str, _: Size) -> list[Row]:
    """``<obj> phrase <box><x10><y62><x36><y88></box></obj>``: bins of 100, read at their middle."""
    if "<obj>" not in text or "</obj>" not in text:
        raise Unreadable("no <obj> ... </obj>")
    boxes = [found.groups() for found in _each(text, "<box>", "</box>", _MAIRA)]
    return [[(float(value) + 0.5) / 100 for value in row] for row in boxes]


def read_chexagent(text: str, _: Size) -> list[Row]:
    """``<|ref|>effusion<|/ref|><|box|>(10,62),(36,88)<|/box|>``: hundredths, spaces allowed."""
    return _points(text, ("<|box|>", "<|/box|>"), 100.0)


def read_pairs(text: str, _: Size) -> list[Row]:
    """``<ref>effusion</ref><box>(100,620),(360,880)</box>``: thousandths (the first Qwen-VL)."""
    return _points(text, ("<box>", "</box>"), 1000.0)


def _points(text: str, tags: tuple[str, str], scale: float) -> list[Row]:
    boxes = [found.groups() for found in _each(text, *tags, _TWO_POINTS)]
    if not boxes:
        raise Unreadable(f"no {tags[0]}")
    return [[float(value) / scale for value in row] for row in boxes]


def _each(text: str, opening: str, closing: str, form: re.Pattern[str]) -> list[re.Match[str]]:
    """The match of `form` inside each pair of tags, all of which must hold exactly that."""
    bodies = [part.partition(closing) for part in text.split(opening)[1:]]
    found = []
    for body, closed, _ in bodies:
        match = form.fullmatch(body.strip())
        if not closed or match is None:
            raise Unreadable(f"{opening} without a box and {closing}")
        found.append(match)
    return found


def read_internvl(text: str, _: Size) -> list[Row]:
    """``<ref>effusion</ref><box>[[100, 620, 360, 880]]</box>``: thousandths."""
    bodies = [part.partition("</box>") for part in text.split("<box>")[1:]]
    if not bodies or not all(closed for _, closed, _ in bodies):
        raise Unreadable("no <box> ... </box>")
    rows: list[Row] = []
    for body, _, _ in bodies:
        if re.fullmatch(r"\s*(?:\[\s*)*(?:\]\s*)*", body):
            continue  # <box>[]</box>: nothing there
        rows += [[value / 1000 for value in row] for row in read_bracketed(body, (1, 1))]
    return rows


def read_bracketed(text: str, _: Size) -> list[Row]:
    """``located at [0.10, 0.62, 0.36, 0.88] and [0.5, ...]``: numbers as they stand."""
    rows = [[float(value) for value in found.groups()] for found in _BRACKETS.finditer(text)]
    numeric = _NUMERIC_BRACKET.findall(text)
    if not rows or len(numeric) != len(rows):
        raise Unreadable("no [x1, y1, x2, y2], or a bracket that is not four numbers")
    return rows


# Location tokens: the token's form, bins, whether a bin is read at its middle, the order.
_TOKENS = {
    "florence": (re.compile(r"<loc_(\d{1,4})>"), 1000, 0.5, (0, 1, 2, 3)),
    "paligemma": (re.compile(r"<loc(\d{4})>"), 1024, 0.0, (1, 0, 3, 2)),
    "radgrounder": (re.compile(r"<loc(\d{4})>"), 512, 0.0, (0, 1, 2, 3)),
}


def read_tokens(text: str, _: Size, *, form: str) -> list[Row]:
    """Runs of location tokens, four to a box: Florence-2, PaliGemma (y first), RadGrounder."""
    pattern, bins, middle, order = _TOKENS[form]
    rows: list[Row] = []
    for run in re.findall(rf"(?:{pattern.pattern.replace('(', '(?:')}\s*)+", text):
        values = [(int(value) + middle) / bins for value in pattern.findall(run)]
        if len(values) % 4:
            raise Unreadable(f"{len(values)} location tokens in a row, not four to a box")
        rows += [[values[n + i] for i in order] for n in range(0, len(values), 4)]
    if not rows:
        raise Unreadable("no location token")
    return rows


def read_cells(text: str, _: Size) -> list[Row]:
    """``<object><patch_index_0611><patch_index_0907></object>``: cells of a 32 x 32 grid.

    From the middle of the first cell to the middle of the last; if they share a row or a column,
    from edge to edge. Source: transformers `kosmos2/processing_kosmos2.py`.
    """
    objects = _KOSMOS_OBJECT.findall(text)
    if not objects or text.count("<object>") != len(objects):
        raise Unreadable("no <object> ... </object>")
    rows: list[Row] = []
    for body in objects:
        for part in body.split("</delimiter_of_multi_objects/>"):
            cells = [int(index) for index in _KOSMOS.findall(part)]
            if len(cells) != 2 or max(cells) >= CELLS**2:
                raise Unreadable("an object that is not two cells of the grid")
            rows.append(_cell_box(*cells))
    return rows


def _cell_box(first: int, last: int) -> Row:
    (y1, x1), (y2, x2) = divmod(first, CELLS), divmod(last, CELLS)
    inset = 0.0 if x1 == x2 or y1 == y2 else 0.5
    corners = (x1 + inset, y1 + inset, x2 + 1 - inset, y2 + 1 - inset)
    return [value / CELLS for value in corners]


def write_cells(rows: Sequence[Sequence[float]], phrase: str, _: Size) -> str:
    """The boxes as Kosmos-2 writes them: the cells in which their corners lie."""
    delimiter = "</delimiter_of_multi_objects/>"
    objects = delimiter.join("".join(map(_cell_token, _corner_cells(row))) for row in rows)
    return f"<phrase> {phrase}</phrase><object>{objects}</object>"


def _corner_cells(row: Sequence[float]) -> tuple[int, int]:
    last = CELLS - 1
    x1, y1 = (min(int(value * CELLS), last) for value in row[:2])
    x2, y2 = (min(max(math.ceil(value * CELLS) - 1, 0), last) for value in row[2:])
    return y1 * CELLS + x1, max(y2, y1) * CELLS + max(x2, x1)


def _cell_token(index: int) -> str:
    return f"<patch_index_{index:04d}>"
