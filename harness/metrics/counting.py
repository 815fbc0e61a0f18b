"""How many candidates score at least as high as a threshold, counted tile by tile.

A *line* is a query: an image (a column of the tile) or a text (a row). Most lines have one
threshold; the comparison then is one pass over the tile, and sums are taken eight bytes at a time.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from harness.metrics.tiles import Tile

MAX_SLOTS = 4  # thresholds per line compared one by one; more are answered by sorting the line
LANE_ROWS = 240  # rows of a mask that one byte can count


@dataclass(frozen=True)
class Thresholds:
    """The distinct thresholds of every line, sorted by (line, value)."""

    value: Float[np.ndarray, " r"]
    start: Int[np.ndarray, " lines_plus_1"]

    def counts(self, lines: slice) -> Int[np.ndarray, " lines"]:
        """Thresholds per line."""
        return np.diff(self.start[lines.start : lines.stop + 1])


def thresholds_of(line: np.ndarray, value: np.ndarray, lines: int) -> tuple[Thresholds, np.ndarray]:
    """The distinct thresholds, and where each of the given ones stands among them."""
    order = np.lexsort((value, line))
    line, value = line[order], value[order]
    new = np.ones(len(line), bool)
    new[1:] = (line[1:] != line[:-1]) | (value[1:] != value[:-1])
    place = np.empty(len(order), np.int32)
    place[order] = np.cumsum(new) - 1
    start = np.searchsorted(line[new], np.arange(lines + 1))
    return Thresholds(value[new], start), place


def count_down(mask: np.ndarray) -> Int[np.ndarray, " columns"]:
    """True values per column of a mask whose width is a multiple of 8."""
    total = np.zeros(mask.shape[1], np.int64)
    words = mask.view(np.uint64)
    for begin in range(0, len(mask), LANE_ROWS):
        total += words[begin : begin + LANE_ROWS].sum(axis=0).view(np.uint8)
    return total


def count_across(mask: np.ndarray) -> Int[np.ndarray, " rows"]:
    """True values per row of a mask of at most 2040 columns, a multiple of 8."""
    lanes = mask.view(np.uint64).sum(axis=1)
    return np.asarray(lanes.view(np.uint8).reshape(-1, 8).sum(axis=1, dtype=np.int64))


@dataclass(frozen=True)
class Counts:
    """Candidates scoring >= (`at_least`) and > (`above`) each threshold; filled tile by tile."""

    at_least: Int[np.ndarray, " r"]
    above: Int[np.ndarray, " r"]

    def sides(self) -> tuple[tuple[np.ufunc, np.ndarray], ...]:
        """Each comparison with the counts it fills."""
        return (np.greater_equal, self.at_least), (np.greater, self.above)


def no_counts(thresholds: Thresholds) -> Counts:
    """Counts of zero."""
    return Counts(*(np.zeros(len(thresholds.value), np.int32) for _ in range(2)))


def _slots(thresholds: Thresholds, lines: slice, most: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per slot: the lines (of the tile) that have a threshold there, and where it stands."""
    start, counts = thresholds.start[lines], thresholds.counts(lines)
    few = np.where(counts <= most, counts, 0)
    chosen = [np.flatnonzero(few > slot) for slot in range(int(few.max(initial=0)))]
    return [(line, start[line] + slot) for slot, line in enumerate(chosen)]


def _spread(values: np.ndarray, line: np.ndarray, size: int) -> np.ndarray:
    spread = np.full(size, np.inf, values.dtype)
    spread[line] = values
    return spread


def count_texts(
    thresholds: Thresholds,
    tile: Tile,
    copies: Int[np.ndarray, " texts"],
    into: tuple[Counts, Counts],
) -> None:
    """Add the tile's texts to the counts of its images: unique texts, and texts with their copies.

    `copies` is in falling order, so that the texts borne more than once come first.
    """
    repeated = int((copies > 1).sum())
    extra = (copies[:repeated] - 1).astype(np.float32)
    for slot, (line, at) in enumerate(_slots(thresholds, tile.images, most=len(tile.scores))):
        part, mask, place = tile.scores, tile.mask, line
        if slot:  # few images have a second threshold: only their columns
            part, mask, place = _columns(tile.scores, line)
        value = _spread(thresholds.value[at], place, part.shape[1])
        for (compare, unique), (_, pairs) in zip(into[0].sides(), into[1].sides(), strict=True):
            compare(part, value, out=mask)
            found = count_down(mask)[place]
            unique[at] += found
            pairs[at] += found
            if repeated:
                copied = np.rint(extra @ mask[:repeated].astype(np.float32))
                pairs[at] += copied[place].astype(np.int64)


def _columns(scores: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some columns, padded to a multiple of 8, room for their mask, and where they now stand."""
    part = np.full((len(scores), -(-len(line) // 8) * 8), -np.inf, scores.dtype)
    part[:, : len(line)] = scores[:, line]
    return part, np.empty(part.shape, bool), np.arange(len(line))


def count_images(thresholds: Thresholds, tile: Tile, into: Counts) -> None:
    """Add the tile's images to the counts of its texts."""
    for slot, (line, at) in enumerate(_slots(thresholds, tile.texts, MAX_SLOTS)):
        part = tile.scores[line] if slot else tile.scores
        values = thresholds.value[at]
        value = values if slot else _spread(values, line, len(part))
        for compare, counts in into.sides():
            mask = tile.mask[: len(part)]
            found = count_across(compare(part, value[:, None], out=mask))
            counts[at] += found if slot else found[line]
    many = np.flatnonzero(thresholds.counts(tile.texts) > MAX_SLOTS)
    width = tile.images.stop - tile.images.start
    for text, row in zip(many.tolist(), np.sort(tile.scores[many, :width], axis=1), strict=True):
        first = tile.texts.start + text
        here = slice(*thresholds.start[first : first + 2])
        into.at_least[here] += width - np.searchsorted(row, thresholds.value[here], side="left")
        into.above[here] += width - np.searchsorted(row, thresholds.value[here], side="right")
