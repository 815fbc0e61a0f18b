"""Boxes in JSON, fenced or in running text: the answers of Gemma, Qwen and most chat models."""

import json
from collections.abc import Iterator
from typing import Any

from baselines.answers import Row, Unreadable

KEYS = ("bbox_2d", "box_2d", "bbox", "box", "boxes", "coordinates", "bounding_box")

_FENCE = "```"


def read_json_boxes(text: str) -> list[Row]:
    """The rows of four numbers in the last JSON document of an answer; [] for an explicit none.

    A document is a row, a list of rows, an object with one of `KEYS`, or a list of such objects;
    an empty list, `null` or a key that holds one of these is a "none".

    Raises:
        Unreadable: no document, one that is cut off, or a box that is not four numbers.
    """
    return list(_rows(_last_document(text)))


def _last_document(text: str) -> Any:
    if _FENCE in text:
        return _fenced(text)
    decoder = json.JSONDecoder()
    found: list[Any] = []
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
            found.append(document)
    if found:
        return found[-1]
    if text.strip().lower() in ("null", "none"):
        return None
    raise Unreadable("no JSON with boxes")


def _fenced(text: str) -> Any:
    parts = text.split(_FENCE)
    if len(parts) % 2 == 0:
        raise Unreadable("a code fence is never closed")
    body = parts[-2].strip().removeprefix("json").strip()
    try:
        return json.loads(body or "null")
    except (ValueError, RecursionError) as error:
        raise Unreadable("what the code fence holds is no JSON") from error


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
