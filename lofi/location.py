"""Boxes as text and back: prompts, the fenced answer on the padded square, and their inverse.

Source: the released code of the LoFi line (arXiv 2608.00976), read through a public copy: prompt
wording, floor of 1000 x coordinate, order by x1, and the fence.
"""

import re
from dataclasses import dataclass

import numpy as np

from harness.boxes import Boxes, no_boxes
from harness.models import Status

GRID = 1000
FENCE = "```"
REPORT_PROMPT = "Describe the image."  # assumed: the original wording is unknown


def grounding_prompt(phrase: str) -> str:
    """The question for the boxes of a phrase; one trailing full stop is dropped.

    >>> grounding_prompt("Small left effusion.")
    'Detect all instances of "Small left effusion".'
    """
    return f'Detect all instances of "{phrase.strip().removesuffix(".")}".'


def description_prompt(boxes: Boxes) -> str:
    """The question for the phrase of boxes given on the padded square."""
    return f"Describe the regions: {box_list(boxes)}"


def box_list(boxes: Boxes) -> str:
    """The boxes as a nested list of whole thousandths, sorted by x1, without spaces.

    >>> box_list(np.float32([[0.5, 0.1, 0.75, 0.2], [0.25, 0, 0.5, 1]]))
    '[[250,0,500,1000],[500,100,750,200]]'
    """
    # A nudge below the grid's resolution: 0.29 in float32 is 0.28999..., and would floor to 289.
    whole = np.floor(np.asarray(boxes, np.float64) * GRID + 1e-4).astype(int)
    if len(whole):  # no box may vanish by rounding: its answer would be malformed
        whole[:, :2] = np.minimum(whole[:, :2], GRID - 1)
        whole[:, 2:] = np.maximum(whole[:, 2:], whole[:, :2] + 1)
    whole = whole[np.lexsort(whole.T[::-1])] if len(whole) else whole.reshape(0, 4)
    return "[" + ",".join("[" + ",".join(map(str, row)) + "]" for row in whole.tolist()) + "]"


def boxes_answer(boxes: Boxes) -> str:
    """The answer to a grounding question: the list in a fence; `[]` is an explicit none."""
    return f"{FENCE}\n{box_list(boxes)}\n{FENCE}"


@dataclass(frozen=True)
class ParsedBoxes:
    """What an answer said; `boxes` on the padded square, empty unless `status` is "ok"."""

    boxes: Boxes
    status: Status


_ROW = r"\[\s*\d{1,4}\s*(?:,\s*\d{1,4}\s*){3}\]"
_ANSWER = re.compile(rf"^\s*\[\s*(?:{_ROW}\s*(?:,\s*{_ROW}\s*)*)?\]\s*$")


def parse_boxes(answer: str) -> ParsedBoxes:
    r"""The boxes in an answer; one faulty box makes the whole answer malformed.

    An empty list is an explicit none ("empty"). A list that was cut off, a wrong number of
    values, a value above 1000, or a box without area is "malformed".

    >>> parse_boxes("```\n[[250,0,500,1000]]\n```").boxes.tolist()
    [[0.25, 0.0, 0.5, 1.0]]
    """
    body = answer.strip().strip("`").strip()
    if not _ANSWER.match(body):
        return ParsedBoxes(no_boxes(), "malformed")
    values = [int(number) for number in re.findall(r"\d+", body)]
    if not values:
        return ParsedBoxes(no_boxes(), "empty")
    rows = np.array(values, np.float32).reshape(-1, 4)
    sound = (rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1]) & (rows.max(1) <= GRID)
    if not sound.all():
        return ParsedBoxes(no_boxes(), "malformed")
    return ParsedBoxes(rows / np.float32(GRID), "ok")
