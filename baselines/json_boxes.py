"""Boxes in JSON, fenced or in running text: the answers of Gemma, Qwen and most chat models."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from baselines.answers import LANGUAGE, Row, Unreadable

KEYS = ("bbox_2d", "box_2d", "bbox", "box", "boxes", "coordinates", "bounding_box")

_FENCE = "```"
# What may stand between two documents of one answer; with a word more, the first is a decoy.
_BETWEEN = re.compile(r"[\s,;]*(?:and\b[\s,;]*)?", re.IGNORECASE)


def read_json_boxes(text: str) -> list[Row]:
    """The rows of four numbers in the last JSON of an answer; [] for an explicit none.

    A document is a row, a list of rows, an object with one of `KEYS`, or a list of such objects;
    an empty list, `null` or a key that holds one of these is a "none". Documents with nothing
    between them but white space, commas, semicolons or "and" are one answer; one that repeats an
    earlier one says nothing new.

    Raises:
        Unreadable: no document, one that is cut off, or a box that is not four numbers.
    """
    return list(_rows(_fenced(text) if _FENCE in text else _last_documents(text)))


def _last_documents(text: str) -> Any:
    groups: list[dict[str, Any]] = []
    end = 0
    for start, after, document in _decoded(text):
        if not (groups and _BETWEEN.fullmatch(text, end, start)):
            groups.append({})
        groups[-1][text[start:after]] = document
        end = after
    if groups:
        return _joined(groups[-1])
    if text.strip().lower() in ("null", "none"):
        return None
    raise Unreadable("no JSON with boxes")


def _decoded(text: str) -> Iterator[tuple[int, int, Any]]:
    """Where each document in running text begins and ends, and the document."""
    decoder = json.JSONDecoder()
    position = 0
    while (start := _next_opening(text, position)) >= 0:
        try:
            document, position = decoder.raw_decode(text, start)
        except RecursionError as error:
            raise Unreadable("JSON nested too deep") from error
        except ValueError as error:
            if _cut_off(error, text):
                raise Unreadable("the JSON is cut off") from error
            position = start + 1
            continue
        if _is_document(document):
            yield start, position, document


def _joined(documents: Mapping[str, Any]) -> Any:
    """The documents of one answer, by how they are written, as one."""
    if len(documents) == 1:
        return next(iter(documents.values()))
    return [[] if document is None else document for document in documents.values()]


def _fenced(text: str) -> Any:
    """What the last code fence holds, with those before it that nothing but a separator parts."""
    parts = text.split(_FENCE)
    if len(parts) % 2 == 0:
        raise Unreadable("a code fence is never closed")
    bodies, between = parts[1::2], parts[2:-1:2]
    first = len(bodies) - 1
    while first and _BETWEEN.fullmatch(between[first - 1]):
        first -= 1
    return _joined({body.strip(): _body(body) for body in bodies[first:]})


def _body(body: str) -> Any:
    """What one fence holds: a document, or several with nothing but separators between them."""
    text = LANGUAGE.sub("", body.strip()).strip()
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError) as error:
        found = list(_decoded(text))
        ends = [0, *(after for _, after, _ in found)]
        starts = [*(start for start, _, _ in found), len(text)]
        parted = zip(ends, starts, strict=True)
        if not found or not all(_BETWEEN.fullmatch(text, *place) for place in parted):
            raise Unreadable("what the code fence holds is no JSON") from error
        return _joined({text[start:after]: document for start, after, document in found})


def _next_opening(text: str, position: int) -> int:
    places = [text.find(mark, position) for mark in "[{"]
    return min((place for place in places if place >= 0), default=-1)


def _cut_off(error: ValueError, text: str) -> bool:
    """Whether decoding failed because the text ended."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")


def _is_document(value: Any) -> bool:
    """Whether a JSON value in running text speaks of boxes, and not e.g. "[see above]" or "[3]"."""
    if isinstance(value, dict):
        return any(key in value for key in KEYS)
    if not isinstance(value, list):
        return False
    return not value or all(isinstance(item, dict | list) for item in value) or _is_row(value)


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rows(value: Any) -> Iterator[Row]:
    """The rows in a document, in order; nothing for an explicit none."""
    if value is None or value == []:
        return
    if isinstance(value, dict):
        key = next((key for key in KEYS if key in value), None)
        if key is None:
            raise Unreadable(f"a JSON object without any of {', '.join(KEYS)}")
        yield from _rows(value[key])
    elif _is_row(value):
        try:
            yield [float(number) for number in value]
        except OverflowError as error:
            raise Unreadable("a coordinate is not a finite number") from error
    elif isinstance(value, list) and all(isinstance(item, dict | list) for item in value):
        for item in value:
            yield from _rows(item)
    else:
        raise Unreadable("a box that is not four numbers")
