"""What a model's answer says, before and after its box codec: the final part, "none", boxes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.boxes import Boxes, no_boxes
from harness.geometry import Frame
from harness.models import Status

Row = Sequence[float | int]  # x1, y1, x2, y2 in fractions of the frame the model speaks of

# No answer to "where is it?" is this long: such text is a model that repeats itself.
LONGEST = 50_000


class Unreadable(Exception):
    """An answer that cannot be read as boxes or as a "none"; the message says why."""


@dataclass(frozen=True)
class Parsed:
    """What was read; `boxes` on the film.

    A row outside the film by any amount is clipped to it and counted in `clipped`; one without
    area on the film (inverted, degenerate, wholly outside) is left out and counted in `dropped`.
    An answer of which no box remains is "malformed", never "empty".
    """

    status: Status
    boxes: Boxes = field(default_factory=no_boxes)
    clipped: int = 0
    dropped: int = 0
    reason: str = ""


# Thinking comes first and ends with the closing mark; a template may have swallowed the opening
# one. MedGemma 1.5: <unused94>thought ... <unused95>; Qwen, DeepSeek style: <think> ... </think>.
_TRACES = (
    ("<unused94>", "<unused95>"),
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
)
_FINAL = re.compile(r"final answer\s*:", re.IGNORECASE)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.IGNORECASE | re.DOTALL)
_END_MARKS = re.compile(
    r"<end_of_turn>|<\|im_end\|>|<\|endoftext\|>|<eos>|</s>|<s>|<bos>|<pad>|<\|eot_id\|>"
)

LANGUAGE = re.compile(r"\Ajson[lc5]?\b", re.IGNORECASE)  # of a code fence

# What is denied, without a turn to something affirmed: "no edema, but an effusion is seen".
_TURN = r"\b(?:but|however|although|though|yet|except|while|whereas)\b"
_THING = rf"(?:(?!{_TURN})[^.,;:\n\[\](){{}}<>]){{1,200}}?"
_ABSENT = r"(?:detected|found|seen|visible|present)"
_NONE = re.compile(
    rf"""(?: \[\s*\] | \{{\s*\}} | null | none | n/?a | nothing
        | no\ (?:bounding\ )?box(?:es)?
        | no\ {_THING}\ (?:(?:is|are|was|were)\ )?{_ABSENT}
        | there\ (?:is|are)\ no\ {_THING}
        | {_THING}\ (?:is|are|was|were)\ not\ {_ABSENT}
        ) [\s.!]*""",
    re.IGNORECASE | re.VERBOSE,
)


def final_answer(text: str) -> str:
    r"""The part of an answer that counts: after thinking, inside `<answer>` or `\boxed{}`.

    Coordinates in a thinking trace are decoys.

    >>> final_answer("<think>maybe [1, 2, 3, 4]</think> [5, 6, 7, 8]<|im_end|>")
    '[5, 6, 7, 8]'

    Raises:
        Unreadable: the answer ends inside its thinking, or is too long to be one.
    """
    if len(text) > LONGEST:
        raise Unreadable(f"{len(text):,} characters")
    for opening, closing in _TRACES:
        _, closed, rest = text.rpartition(closing)
        text = rest if closed else text
        if opening in text:
            raise Unreadable("the answer ends inside its thinking")
    text = _END_MARKS.sub("", text)
    answers = _ANSWER.findall(text)
    if answers:
        text = answers[-1]
    text = _FINAL.split(text)[-1]
    return _unboxed(text).strip()


def _unboxed(text: str) -> str:
    r"""The content of the last `\boxed{...}` with balanced braces, or the text itself."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return text
    start += len("\\boxed{")
    depth = 1
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if not depth:
            return text[start:index]
    raise Unreadable("\\boxed{ is never closed")


def says_none(text: str) -> bool:
    """Whether the whole answer is an explicit "none".

    >>> says_none("No pleural effusion detected."), says_none("I cannot help with that.")
    (True, False)
    """
    body = LANGUAGE.sub("", text.strip().strip("`")).strip()
    return _NONE.fullmatch(body) is not None


def on_film(rows: Sequence[Row] | np.ndarray, frame: Frame) -> Parsed:
    """The rows of the model's frame as boxes of the film, clipped, those without area left out.

    Raises:
        Unreadable: there are rows, but none has area on the film, or a value is not finite.
    """
    raw = np.asarray(rows, np.float64).reshape(-1, 4)
    if not np.isfinite(raw).all():
        raise Unreadable("a coordinate is not a finite number")
    values = frame.to_film(raw)
    clipped = np.clip(values, 0.0, 1.0).astype(np.float32)
    kept = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    if len(raw) and not kept.any():
        raise Unreadable(f"none of {len(raw)} boxes has area on the film")
    moved = (np.abs(clipped - values) > 1e-6).any(axis=1) & kept
    return Parsed("ok", clipped[kept], clipped=int(moved.sum()), dropped=int((~kept).sum()))
