"""The loss of one step: the answers, and the hints that teach what an example shows."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutputWithPooling

from lofi.losses import IGNORED
from lofi.picture import shift, shift_boxes, to_input
from lofi.vlm.config import Hints, VlmConfig
from lofi.vlm.episodes import Turn, draw_episodes, shares_at
from lofi.vlm.read import Pool
from lofi.vlm.sequences import Conversations, Writer

Autocast = Callable[[], AbstractContextManager[None]]


class HintHeads(nn.Module):
    """Two linear maps from inner states to findings, used in training only."""

    def __init__(self, width: int, findings: Sequence[str]):
        super().__init__()
        self.numbers = {name: number for number, name in enumerate(findings)}
        self.example = nn.Linear(width, len(findings))
        self.question = nn.Linear(width, len(findings))

    def loss(
        self, head: nn.Linear, states: Tensor, places: Sequence[tuple[int, int, str]]
    ) -> Tensor:
        """Cross-entropy of the findings at these places."""
        rows = torch.tensor([row for row, _, _ in places])
        columns = torch.tensor([column for _, column, _ in places])
        wanted = torch.tensor([self.numbers[name] for _, _, name in places], device=states.device)
        found = states[rows, columns].float()
        found = F.rms_norm(found, found.shape[-1:])
        return F.cross_entropy(head(found), wanted)


@dataclass(frozen=True)
class Step:
    """All a step needs: distinct images, conversations, and which image stands where."""

    pixels: Float[Tensor, "d 3 s s"]
    conversations: Conversations
    order: Tensor

    def to(self, device: Any) -> "Step":
        """The same on a device."""
        written = self.conversations.to(device)
        return Step(self.pixels.to(device), written, self.order.to(device))


class Steps:
    """The batches of a training; the one of a step depends on (seed, step) alone."""

    def __init__(self, pool: Pool, config: VlmConfig, writer: Writer):
        self.pool, self.config, self.writer = pool, config, writer

    def __call__(self, step: int) -> Step:
        """Conversations and images of a step."""
        training = self.config.training
        draw = np.random.default_rng([training.seed, 5, step])
        shares = shares_at(self.config.episodes, step / training.steps)
        episodes = draw_episodes(
            self.pool, self.config.episodes, shares, count=training.batch_size, draw=draw
        )
        distinct = sorted({turn.image for turns in episodes for turn in turns})
        moves = {image: self._move(draw) for image in distinct}
        size = self.pool.squares.shape[-1]
        moved = [
            [turn for turn in (_moved(one, moves[one.image], size) for one in turns) if turn]
            for turns in episodes
        ]
        written = self.writer.training([turns for turns in moved if turns])
        places = {image: place for place, image in enumerate(distinct)}
        order = torch.tensor([places[image] for image in written.images])
        return Step(self._pixels(distinct, moves, draw), written, order)

    def _move(self, draw: np.random.Generator) -> tuple[int, int]:
        most = int(self.config.data.shift * self.pool.squares.shape[-1])
        right, down = draw.integers(-most, most + 1, size=2)
        return int(right), int(down)

    def _pixels(
        self,
        images: Sequence[int],
        moves: dict[int, tuple[int, int]],
        draw: np.random.Generator,
    ) -> Tensor:
        squares = [shift(self.pool.squares[self.pool.rows[one]], *moves[one]) for one in images]
        values = to_input(np.stack(squares))
        jitter = self.config.data.brightness
        gain = draw.uniform(1 - jitter, 1 + jitter, len(images))
        offset = draw.uniform(-jitter, jitter, len(images))
        values = values * gain[:, None, None] + offset[:, None, None]
        return rgb(values)


def _moved(turn: Turn, move: tuple[int, int], size: int) -> Turn | None:
    """The turn on its translated image; None if nothing of its boxes is left."""
    boxes = shift_boxes(turn.boxes, move[0] / size, move[1] / size)
    if not len(boxes):
        return None
    return Turn(turn.image, turn.phrase, boxes, turn.finding, turn.learned)


def rgb(values: np.ndarray) -> Float[Tensor, "n 3 s s"]:
    """Grey values in [-1, 1] as three equal channels."""
    whole = torch.from_numpy(np.asarray(values, np.float32))[:, None]
    return whole.expand(-1, 3, -1, -1).contiguous()


def losses(
    model: Any, heads: HintHeads, step: Step, *, hints: Hints, soft: int
) -> dict[str, Tensor]:
    """The answers' loss and the two hints; each image is encoded once for all conversations."""
    features = model.model.get_image_features(step.pixels).pooler_output[step.order]
    written = step.conversations
    out = model.model(
        input_ids=written.ids,
        token_type_ids=(written.ids == soft).long(),
        mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=features)},
        use_cache=False,
        output_hidden_states=bool(hints.weight),
    )
    kept = written.labels != IGNORED
    logits = model.lm_head(out.last_hidden_state[kept])
    found = {"answers": F.cross_entropy(logits.float(), written.labels[kept])}
    if hints.weight:
        inner = out.hidden_states
        found["examples"] = heads.loss(heads.example, inner[hints.example_layer], written.examples)
        found["questions"] = heads.loss(
            heads.question, inner[hints.question_layer], written.questions
        )
    return found


def total(found: dict[str, Tensor], hints: Hints) -> Tensor:
    """The answers' loss plus the weighted hints."""
    extra = [value for name, value in found.items() if name != "answers"]
    return found["answers"] + hints.weight * sum(extra)
