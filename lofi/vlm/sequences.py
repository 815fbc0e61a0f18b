"""Conversations as token ids, as the chat template writes them, and what of them is learned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from harness.boxes import Boxes
from lofi.location import boxes_answer
from lofi.losses import IGNORED
from lofi.prompt import END, HEAD, MIDDLE
from lofi.vlm.build import BEGIN_IMAGE, BLANK, END_IMAGE, SOFT
from lofi.vlm.episodes import Turn

PROMPT = 'Detect all instances of "{phrase}".'


@dataclass(frozen=True)
class Conversations:
    """Padded ids, what each position should predict, which images stand where, and the hints.

    `images`: places in the pool in reading order, all conversations after each other. Hints are
    (row, position, finding): `examples` where boxes end, `questions` where an answer begins, and
    `wanted` the boxes of each of these answers.
    """

    ids: Int[Tensor, "n length"]
    labels: Int[Tensor, "n length"]
    images: tuple[int, ...]
    examples: tuple[tuple[int, int, str], ...]
    questions: tuple[tuple[int, int, str], ...]
    wanted: tuple[Boxes, ...]

    def to(self, device: Any) -> "Conversations":
        """The same on a device."""
        return replace(self, ids=self.ids.to(device), labels=self.labels.to(device))


class Writer:
    """Turns as token ids by the tokenizer of a processor."""

    def __init__(self, processor: Any):
        self.tokenizer = processor.tokenizer
        soft = SOFT * processor.image_seq_length
        self.opening = self._ids(f"{HEAD}{BLANK}{BEGIN_IMAGE}{soft}{END_IMAGE}{BLANK}")
        self.start, self.pad = self.tokenizer.bos_token_id, self.tokenizer.pad_token_id
        self.soft = self.tokenizer.convert_tokens_to_ids(SOFT)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def question(self, phrase: str) -> list[int]:
        """The ids of one image and what is asked of it, up to where the answer begins."""
        return self.opening + self._ids("\n" + PROMPT.format(phrase=phrase) + MIDDLE)

    def answer(self, turn: Turn) -> list[int]:
        """The ids of the answer and its end."""
        return self._ids(boxes_answer(turn.boxes) + END)

    def training(self, episodes: Sequence[Sequence[Turn]]) -> Conversations:
        """Whole conversations, padded on the right."""
        rows, examples, questions, wanted = [], [], [], []
        for row, turns in enumerate(episodes):
            ids, labels = [self.start], [IGNORED]
            for turn in turns:
                asked, answer = self.question(turn.phrase), self.answer(turn)
                ids += asked + answer
                # The last token of a question predicts the first of the answer, and so on.
                told = answer if turn.learned else [IGNORED] * len(answer)
                labels += [IGNORED] * (len(asked) - 1) + told + [IGNORED]
                if turn.learned:
                    questions.append((row, len(ids) - len(answer) - 1, turn.finding))
                    wanted.append(turn.boxes)
                examples.append((row, len(ids) - 1, turn.finding))
            rows.append((ids, labels))
        width = max(len(ids) for ids, _ in rows)
        ids = torch.tensor([one + [self.pad] * (width - len(one)) for one, _ in rows])
        labels = torch.tensor([one + [IGNORED] * (width - len(one)) for _, one in rows])
        images = tuple(turn.image for turns in episodes for turn in turns)
        hints = (tuple(examples), tuple(questions), tuple(wanted))
        return Conversations(ids, labels, images, *hints)

    def asking(self, episodes: Sequence[Sequence[Turn]]) -> tuple[Tensor, Tensor]:
        """Conversations up to the last question, padded on the left, and their mask."""
        rows = []
        for turns in episodes:
            ids = [self.start]
            for turn in turns[:-1]:
                ids += self.question(turn.phrase) + self.answer(turn)
            rows.append(ids + self.question(turns[-1].phrase))
        width = max(map(len, rows))
        ids = torch.tensor([[self.pad] * (width - len(one)) + one for one in rows])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in rows])
        return ids, mask
