"""Promises of models that locate phrases."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from harness.boxes import no_boxes
from harness.check_films import PHRASES
from harness.check_frames import look_at_marks, look_at_pixel_grid, look_at_round_trip
from harness.images import Image
from harness.models import Demonstration, Grounding, InContextGrounder, Query
from harness.promise import Broken, NotAsked, Promise, Subject, largest_difference

CLOSE = 1e-4  # boxes and heat maps, across batches


def _queries(subject: Subject) -> list[Query]:
    pairs = list(product(subject.films, PHRASES))[:: len(PHRASES) - 1]
    return [Query(film, phrase) for film, phrase in pairs]


def _answers(subject: Subject) -> Sequence[Grounding]:
    queries = _queries(subject)
    answers: Sequence[Grounding] = subject.model.ground(queries)
    if len(answers) != len(queries):
        raise Broken(f"{len(answers)} answers to {len(queries)} queries", "one each, in order")
    return answers


def _complete(subject: Subject) -> str:
    counts = {"ok": 0, "empty": 0, "malformed": 0}
    for answer in _answers(subject):
        if answer.status not in counts:
            raise Broken(f"status {answer.status!r}", f"one of {', '.join(counts)}")
        counts[answer.status] += 1
        shown = len(answer.boxes) or answer.heatmap is not None
        if (answer.status == "ok") != bool(shown):
            raise Broken(
                f"status {answer.status!r} with {len(answer.boxes)} boxes",
                "ok has boxes or a heat map, empty and malformed have neither; no box is only "
                "'empty' if the model said so",
            )
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def _boxes(subject: Subject) -> None:
    for answer in _answers(subject):
        boxes = np.asarray(answer.boxes)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise Broken(f"boxes of shape {boxes.shape}", "(n, 4), n may be 0")
        if not np.isfinite(boxes).all():
            raise Broken("a box is not finite", "float16 overflow?")
        if len(boxes) and (boxes.min() < 0 or boxes.max() > 1):
            hint = "pixels? divide by the film's width and height" if boxes.max() > 2 else "clip"
            raise Broken(f"a box leaves the film: {boxes[0].tolist()}", hint)
        if (boxes[:, 2:] <= boxes[:, :2]).any():
            raise Broken("a box has no area", "width and height instead of a second corner?")
        if answer.scores is not None and len(answer.scores) != len(boxes):
            raise Broken(f"{len(answer.scores)} scores for {len(boxes)} boxes", "one each")


def _maps(subject: Subject) -> str:
    found = zip(_queries(subject), _answers(subject), strict=True)
    shown = [(query.image, a.heatmap) for query, a in found if a.heatmap is not None]
    if not shown:
        raise NotAsked("no heat map")
    for image, heatmap in shown:
        _one_map(image, heatmap)
    return f"{shown[0][1].shape[1]} x {shown[0][1].shape[0]}"


def _one_map(image: Image, heatmap: Any) -> None:
    width, height = image.size()
    rows, columns = heatmap.shape
    # Half a pixel of either side is all that rounding can do.
    if abs(rows * width - columns * height) > max(width, height):
        hint = "in the model's frame: project it to the film (harness.heatmap.PatchMap)"
        if abs(columns * width - rows * height) <= max(width, height):
            hint = "transposed: heat maps are (height, width)"
        raise Broken(f"a map of {columns} x {rows} for a film of {width} x {height}", hint)
    if np.isinf(heatmap).any() or np.isnan(heatmap).all():
        raise Broken("a map is infinite, or NaN everywhere", "NaN only where nothing was seen")
    seen = heatmap[~np.isnan(heatmap)]
    if seen.max() - seen.min() < 1e-7:
        hint = "pooled instead of patch features: every patch has the same similarity"
        raise Broken("a map has one value everywhere", hint)


def _same(answers: Sequence[Grounding], others: Sequence[Grounding]) -> None:
    for one, other in zip(answers, others, strict=True):
        if one.status != other.status or one.raw != other.raw:
            raise Broken(f"{one.status} {one.raw[:40]!r}, then {other.status} {other.raw[:40]!r}")
        if largest_difference(one.boxes, other.boxes) > CLOSE:
            raise Broken(f"boxes {one.boxes[:1].tolist()}, then {other.boxes[:1].tolist()}")
        if (one.heatmap is None) != (other.heatmap is None):
            raise Broken("a heat map once, then none")
        if one.heatmap is not None and largest_difference(one.heatmap, other.heatmap) > CLOSE:
            raise Broken("two different heat maps")


def _twice(subject: Subject) -> None:
    try:
        _same(_answers(subject), _answers(subject))
    except Broken as broken:
        raise Broken(str(broken), "decode greedily (do_sample=False), model.eval()") from None


def _batches(subject: Subject) -> None:
    queries = _queries(subject)
    alone = [subject.model.ground([query])[0] for query in queries]
    try:
        _same(alone, _answers(subject))
    except Broken as broken:
        hint = "pad on the left for generation, with an attention mask"
        raise Broken(f"alone and together: {broken}", hint) from None


def _order(subject: Subject) -> None:
    turned = subject.model.ground(_queries(subject)[::-1])[::-1]
    try:
        _same(turned, _answers(subject))
    except Broken as broken:
        raise Broken(f"in another order: {broken}", "answers must be in order") from None


def _examples(subject: Subject) -> str:
    model = subject.model
    if not isinstance(model, InContextGrounder):
        raise NotAsked("takes no examples: no ground_with")
    shown = [
        Demonstration(mark.image, "bright rectangle", mark.boxes) for mark in subject.marked
    ] + [Demonstration(subject.films[1], "nothing", no_boxes())]
    answer = model.ground_with([Query(subject.films[0], PHRASES[0])], [shown])[0]
    wanted = tuple(one.image.image_id for one in shown)
    if tuple(answer.demonstrations) != wanted:
        raise Broken(f"names {answer.demonstrations} as its examples", f"expected {wanted}")
    return f"{len(shown)} examples"


GROUNDING = [
    Promise("answers", _complete),
    Promise("boxes", _boxes),
    Promise("heat maps", _maps),
    Promise("same answer twice, locating", _twice),
    Promise("same in any batch, locating", _batches),
    Promise("same in any order, locating", _order),
    Promise("boxes survive writing and reading", look_at_round_trip),
    Promise("pixels in the declared frame", look_at_marks),
    Promise("answers in pixels of the declared frame", look_at_pixel_grid),
    Promise("examples", _examples),
]
