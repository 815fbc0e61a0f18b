"""Conversations of solved examples: which images, what they are asked, which answers are learned.

An episode is a function of (seed, step) alone. The images of a step are examples for each other,
so each is encoded once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.boxes import Boxes
from harness.made_up import draw_name
from lofi.vlm.config import Episodes
from lofi.vlm.read import Pool


@dataclass(frozen=True)
class Turn:
    """One image, what is asked, and its answer.

    `image` is a place in the pool. `learned` is False where nothing before tells what the name
    means.
    """

    image: int
    phrase: str
    boxes: Boxes
    finding: str
    learned: bool


@dataclass(frozen=True)
class Shares:
    """What part of the conversations has made-up names, and of these two findings, by now."""

    made_up: float
    mixed: float


def shares_at(episodes: Episodes, progress: float) -> Shares:
    """The curriculum: one finding per conversation at first, familiar names more often."""
    along = min(progress / episodes.curriculum, 1.0) if episodes.curriculum else 1.0
    return Shares(episodes.made_up, episodes.mixed * along)


def draw_episodes(
    pool: Pool, episodes: Episodes, shares: Shares, *, count: int, draw: np.random.Generator
) -> list[list[Turn]]:
    """So many conversations among a few images, drawn in groups that share a finding."""
    maker = _Maker(pool, episodes, draw)
    images = maker.images()
    return [maker.episode(images, shares) for _ in range(count)]


class _Maker:
    def __init__(self, pool: Pool, episodes: Episodes, draw: np.random.Generator):
        self.pool, self.episodes, self.draw = pool, episodes, draw
        self.turns = episodes.turns

    def images(self) -> dict[str, list[int]]:
        """The step's images by finding: each group's own, and what else shows the finding."""
        names = list(self.pool.by_finding)
        sizes = np.sqrt([len(self.pool.by_finding[name]) for name in names])
        size = min(self.episodes.groups, len(names))
        chosen = self.draw.choice(len(names), size=size, replace=False, p=sizes / sizes.sum())
        each = max(self.episodes.images // size, 2)
        drawn: set[int] = set()
        for index in chosen:
            drawn.update(self._some(self.pool.by_finding[names[index]], each))
        by_finding: dict[str, list[int]] = {}
        for image in sorted(drawn):
            for finding in sorted({p.finding for p in self.pool.phrases[image]}):
                by_finding.setdefault(finding, []).append(image)
        return by_finding

    def episode(self, images: dict[str, list[int]], shares: Shares) -> list[Turn]:
        if self.draw.random() >= shares.made_up:
            return self._familiar(images)
        if self.draw.random() < shares.mixed:
            return self._mixed(images)
        return self._one_name(images)

    def _familiar(self, images: dict[str, list[int]]) -> list[Turn]:
        every = sorted({image for group in images.values() for image in group})
        return [self._known(image) for image in self._some(every, self.turns)]

    def _known(self, image: int) -> Turn:
        phrases = self.pool.phrases[image]
        phrase = phrases[self.draw.integers(len(phrases))]
        return Turn(image, phrase.text, phrase.boxes, phrase.finding, True)

    def _one_name(self, images: dict[str, list[int]]) -> list[Turn]:
        finding = self._finding([name for name in images if len(images[name]) >= 2])
        name = draw_name(self.draw, held_out=False)
        shown = self._some(images[finding], self.turns)
        return [
            self._named(image, finding, name, learned=place > 0)
            for place, image in enumerate(shown)
        ]

    def _mixed(self, images: dict[str, list[int]]) -> list[Turn]:
        """Two findings in turn; the second has its familiar name half of the time."""
        enough = [name for name in images if len(images[name]) >= 2]
        if len(enough) < 2:
            return self._one_name(images)
        first = self._finding(enough)
        second = self._finding([name for name in enough if name != first])
        names = [draw_name(self.draw, held_out=False) for _ in range(2)]
        familiar = self.draw.random() < 0.5
        pattern = self.draw.integers(2, size=self.turns)
        queues = [self._some(images[one], self.turns) for one in (first, second)]
        turns, seen, used = [], set(), set()
        for which in pattern.tolist():
            fresh = [image for image in queues[which] if image not in used]
            if not fresh:
                continue
            used.add(fresh[0])
            if which and familiar:
                turns.append(self._known_as(fresh[0], second))
                continue
            finding = (first, second)[which]
            turns.append(self._named(fresh[0], finding, names[which], learned=which in seen))
            seen.add(which)
        return turns

    def _known_as(self, image: int, finding: str) -> Turn:
        phrases = [p for p in self.pool.phrases[image] if p.finding == finding]
        phrase = phrases[self.draw.integers(len(phrases))]
        return Turn(image, phrase.text, phrase.boxes, finding, True)

    def _named(self, image: int, finding: str, name: str, *, learned: bool) -> Turn:
        return Turn(image, name, self.pool.boxes_of(image, finding), finding, learned)

    def _finding(self, names: list[str]) -> str:
        return names[self.draw.integers(len(names))]

    def _some(self, images: Sequence[int] | np.ndarray, count: int) -> list[int]:
        size = min(count, len(images))
        return [int(one) for one in self.draw.choice(images, size=size, replace=False)]
