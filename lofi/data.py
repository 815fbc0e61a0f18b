"""Training batches: studies rendered once to squares, drawn as a function of (seed, step) alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from harness.boxes import Boxes, no_boxes
from harness.errors import BenchError
from harness.text import normalize, sentences
from lofi.config import LofiConfig
from lofi.location import REPORT_PROMPT, boxes_answer, description_prompt, grounding_prompt
from lofi.picture import shift, shift_boxes, to_input
from lofi.prompt import Prompts, Sequences, token_ids
from lofi.squares import SomeSquares


@dataclass(frozen=True)
class Study:
    """One training image with its texts; `regions` are phrases with boxes on the padded square."""

    study_id: str
    patient_id: str
    text: str
    chunks: tuple[str, ...]
    regions: tuple[tuple[str, Boxes], ...] = ()
    frame: tuple[int, int] = (1, 1)  # width and height of the original picture
    normal: bool = False


@dataclass(frozen=True)
class Studies:
    """All studies of a split and their squares.

    `skipped` counts what was left out, by reason; `cut` the answers too long for the decoder.
    """

    squares: UInt8[np.ndarray, "n s s"] | SomeSquares = field(repr=False)
    items: tuple[Study, ...] = field(repr=False)
    skipped: Mapping[str, int] = field(default_factory=dict)
    cut: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.items)

    @cached_property
    def keys(self) -> dict[str, int]:
        """A number for each normalized text of the split, the same in every process."""
        known: dict[str, int] = {}
        for item in self.items:
            for text in _texts(item):
                known.setdefault(normalize(text), len(known))
        return known

    @cached_property
    def text_keys(self) -> Int[np.ndarray, "n t"]:
        """The keys of all texts of each study, padded with -1."""
        rows = [sorted({self.keys[normalize(t)] for t in _texts(item)}) for item in self.items]
        out = np.full((len(rows), max(map(len, rows), default=1)), -1)
        for row, keys in enumerate(rows):
            out[row, : len(keys)] = keys
        return out

    @cached_property
    def study_numbers(self) -> Int[np.ndarray, " n"]:
        """A number for each study id."""
        names: dict[str, int] = {}
        return np.array([names.setdefault(item.study_id, len(names)) for item in self.items])


def _texts(item: Study) -> tuple[str, ...]:
    return (*item.chunks, *sentences(item.text))


def order(seed: int, step: int, *, size: int, total: int) -> Int[np.ndarray, " size"]:
    """The images of a step: consecutive places in an endless run of shuffled epochs."""
    places = np.arange(step * size, (step + 1) * size)
    out = np.empty(size, np.int64)
    for epoch in np.unique(places // total):
        inside = places // total == epoch
        shuffled = np.random.default_rng([seed, 1, int(epoch)]).permutation(total)
        out[inside] = shuffled[places[inside] % total]
    return out


@dataclass(frozen=True)
class Rows:
    """Sequences of one decoder task and the image of each, as a place in the batch."""

    image: Int[Tensor, " r"]
    sequences: Sequences

    def part(self, start: int, stop: int) -> "Rows":
        """The rows of the images in a range, counted from its start."""
        kept = (self.image >= start) & (self.image < stop)
        return Rows(self.image[kept] - start, self.sequences.rows(kept))

    def to(self, device: Any) -> "Rows":
        """The same on a device."""
        return Rows(self.image.to(device), self.sequences.to(device))


@dataclass(frozen=True)
class Batch:
    """All a step needs; `rows` by loss name holds only the tasks whose loss is computed."""

    pixels: Float[Tensor, "n c s s"]
    texts: Int[Tensor, "n length"] | None
    row: Int[Tensor, " n"]
    study: Int[Tensor, " n"]
    key: Int[Tensor, " n"]
    known: Int[Tensor, "n t"]
    rows: Mapping[str, Rows]

    def part(self, start: int, stop: int) -> "Batch":
        """The images in a range with all that belongs to them."""
        cut = slice(start, stop)
        rows = {name: rows.part(start, stop) for name, rows in self.rows.items()}
        texts = None if self.texts is None else self.texts[cut]
        ids = (self.row[cut], self.study[cut], self.key[cut], self.known[cut])
        return Batch(self.pixels[cut], texts, *ids, rows)

    def to(self, device: Any) -> "Batch":
        """The same on a device."""
        texts = None if self.texts is None else self.texts.to(device)
        ids = (one.to(device) for one in (self.row, self.study, self.key, self.known))
        rows = {name: rows.to(device) for name, rows in self.rows.items()}
        return Batch(self.pixels.to(device), texts, *ids, rows)


class Batches:
    """Batches of a split; the one of a step depends on (seed, step) alone.

    `share` = (index, count) takes this process's part of each batch, so that several processes see
    together what one would see. `tokenizers`: the prompts and the text tower's tokenizer.
    """

    def __init__(
        self,
        studies: Studies,
        config: LofiConfig,
        *,
        tokenizers: tuple[Prompts, Any],
        share: tuple[int, int] = (0, 1),
    ):
        if not len(studies):
            raise ValueError("no study to train on")
        if config.training.batch_size % share[1]:
            raise BenchError(
                f"training.batch_size {config.training.batch_size} for {share[1]} processes. "
                "Expected a multiple of their number. Change one of the two."
            )
        self.studies, self.config = studies, config
        (self.prompts, self.text_tokenizer), self.share = tokenizers, share
        self.other_phrases = tuple(
            sorted({phrase for item in studies.items for phrase, _ in item.regions})
        )

    def __call__(self, step: int) -> Batch:
        """The batch of a step, or this process's share of it."""
        training = self.config.training
        index, count = self.share
        every = order(training.seed, step, size=training.batch_size, total=len(self.studies))
        size = training.batch_size // count
        places = np.arange(index * size, (index + 1) * size)
        draws = [np.random.default_rng([training.seed, 2, step, int(place)]) for place in places]
        drawn = zip(every[places], draws, strict=True)
        images = np.array([self._redrawn(int(image), draw) for image, draw in drawn])
        return self._collate(images, places, draws)

    def _redrawn(self, image: int, draw: np.random.Generator) -> int:
        """The image, or for a normal study now and then any other (the released reader's rule)."""
        chance = self.config.data.replace_normals
        if chance and self.studies.items[image].normal and draw.random() < chance:
            return int(draw.integers(len(self.studies)))
        return image

    def _collate(
        self, images: np.ndarray, places: np.ndarray, draws: Sequence[np.random.Generator]
    ) -> Batch:
        moves = [self._move(draw) for draw in draws]
        size = self.studies.squares.shape[-1]
        items = [
            _moved(self.studies.items[image], right / size, down / size)
            for image, (right, down) in zip(images, moves, strict=True)
        ]
        chosen = [
            item.chunks[draw.integers(len(item.chunks))]
            for item, draw in zip(items, draws, strict=True)
        ]
        keys = [self.studies.keys[normalize(text)] for text in chosen]
        active = self.config.losses.active()
        return Batch(
            pixels=self._pixels(images, moves, draws),
            texts=self._text_ids(chosen) if "sigmoid" in active else None,
            row=torch.from_numpy(places),
            study=torch.from_numpy(self.studies.study_numbers[images]),
            key=torch.tensor(keys),
            known=torch.from_numpy(self.studies.text_keys[images]),
            rows=self._rows(items, draws, active),
        )

    def _text_ids(self, texts: Sequence[str]) -> Tensor:
        return token_ids(self.text_tokenizer, texts, self.config.towers.max_tokens)

    def _move(self, draw: np.random.Generator) -> tuple[int, int]:
        """Whole pixels to the right and down; (0, 0) without translation."""
        most = int(self.config.data.shift * self.studies.squares.shape[-1])
        if not most:
            return 0, 0
        right, down = draw.integers(-most, most + 1, size=2)
        return int(right), int(down)

    def _pixels(
        self,
        images: np.ndarray,
        moves: Sequence[tuple[int, int]],
        draws: Sequence[np.random.Generator],
    ) -> Tensor:
        moved = zip(images, moves, strict=True)
        squares = [shift(self.studies.squares[image], *move) for image, move in moved]
        pixels = to_input(np.stack(squares))
        jitter = self.config.data.brightness
        if jitter:
            gain = np.array([draw.uniform(1 - jitter, 1 + jitter) for draw in draws])
            offset = np.array([draw.uniform(-jitter, jitter) for draw in draws])
            pixels = pixels * gain[:, None, None] + offset[:, None, None]
        whole = torch.from_numpy(pixels.astype(np.float32))[:, None]
        return whole.expand(-1, self.config.towers.channels, -1, -1).contiguous()

    def _rows(
        self, items: Sequence[Study], draws: Sequence[np.random.Generator], active: Sequence[str]
    ) -> dict[str, Rows]:
        pairs: dict[str, list[tuple[int, str, str]]] = {
            name: [] for name in active if name != "sigmoid"
        }
        for place, (item, draw) in enumerate(zip(items, draws, strict=True)):
            if "captioning" in pairs:
                pairs["captioning"].append((place, REPORT_PROMPT, item.text))
            for name, prompt, answer in self._location_pairs(item, draw):
                if name in pairs:
                    pairs[name].append((place, prompt, answer))
        return {
            name: Rows(
                torch.tensor([place for place, _, _ in rows], dtype=torch.long),
                self.prompts.training([(prompt, answer) for _, prompt, answer in rows]),
            )
            for name, rows in pairs.items()
        }

    def _location_pairs(self, item: Study, draw: np.random.Generator) -> list[tuple[str, str, str]]:
        if not item.regions:
            return []
        size = min(self.config.data.phrases_per_image, len(item.regions))
        out = []
        for region in draw.permutation(len(item.regions))[:size]:
            phrase, boxes = item.regions[region]
            asked = ("grounding", *self._question(item, phrase, boxes, draw=draw))
            described = ("dense_captioning", description_prompt(boxes), phrase)
            both = (asked, described)
            sample = self.config.location_mode == "sample"
            out += [both[draw.integers(2)]] if sample else both
        return out

    def _question(
        self, item: Study, phrase: str, boxes: Boxes, *, draw: np.random.Generator
    ) -> tuple[str, str]:
        """A phrase and its boxes, or now and then a phrase of another study and none."""
        if draw.random() < self.config.data.negatives:
            known = {normalize(text) for text, _ in item.regions}
            for place in draw.integers(len(self.other_phrases), size=8):
                if normalize(self.other_phrases[place]) not in known:
                    return grounding_prompt(self.other_phrases[place]), boxes_answer(no_boxes())
        return grounding_prompt(phrase), boxes_answer(boxes)


def _moved(item: Study, right: float, down: float) -> Study:
    """The study with its boxes where the translated picture has them."""
    if not (right or down):
        return item
    moved = ((phrase, shift_boxes(boxes, right, down)) for phrase, boxes in item.regions)
    return replace(item, regions=tuple(one for one in moved if len(one[1])))


def split_account(studies: Studies) -> dict[str, int]:
    """How many images, studies, patients and phrases there are; what was skipped, what is cut."""
    account = Counter({f"skipped: {why}": n for why, n in studies.skipped.items()})
    account.update({f"cut: {what}": n for what, n in studies.cut.items()})
    account["images"] = len(studies)
    account["studies"] = len({item.study_id for item in studies.items})
    account["patients"] = len({item.patient_id for item in studies.items})
    account["phrases"] = sum(len(item.regions) for item in studies.items)
    return dict(account)
