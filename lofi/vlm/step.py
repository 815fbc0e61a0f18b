"""The loss of one step: the answers, and the hints: what an example shows, where an answer lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutputWithPooling

from lofi.losses import IGNORED
from lofi.picture import shift_boxes
from lofi.vlm.config import Hints, VlmConfig
from lofi.vlm.episodes import Turn, draw_episodes, shares_at
from lofi.vlm.pictures import box_map, changed_pixels, draw_moves, finding_maps
from lofi.vlm.read import Pool
from lofi.vlm.sequences import Conversations, Writer
from lofi.vlm.tower import MapHead

Place: TypeAlias = tuple[int, int, str]  # row, position, finding
FEW = -3.0  # the log odds that a cell starts with: an answer covers few


class HintHeads(nn.Module):
    """Linear maps from inner states and the tower's tokens to findings and cells, for training."""

    def __init__(self, width: int, findings: Sequence[str], maps: MapHead):
        super().__init__()
        self.maps = maps
        self.numbers = {name: number for number, name in enumerate(findings)}
        self.example = nn.Linear(width, len(findings))
        self.question = nn.Linear(width, len(findings))
        self.where = nn.Linear(width, maps.cells**2)
        nn.init.constant_(self.where.bias, FEW)

    def loss(self, head: nn.Linear, states: Tensor, places: Sequence[Place]) -> Tensor:
        """Cross-entropy of the findings at these places."""
        wanted = torch.tensor([self.numbers[name] for _, _, name in places], device=states.device)
        return F.cross_entropy(head(_at(states, places)), wanted)

    def where_loss(
        self, states: Tensor, places: Sequence[Place], wanted: Float[Tensor, "n cells cells"]
    ) -> Tensor:
        """Cross-entropy of every cell of the answers that begin after these places."""
        found = self.where(_at(states, places))
        return F.binary_cross_entropy_with_logits(found, wanted.flatten(1))


def _at(states: Tensor, places: Sequence[Place]) -> Float[Tensor, "n d"]:
    rows = torch.tensor([row for row, _, _ in places])
    columns = torch.tensor([column for _, column, _ in places])
    found = states[rows, columns].float()
    return F.rms_norm(found, found.shape[-1:])


@dataclass(frozen=True)
class Step:
    """All a step needs: distinct images, what lies where, conversations, which image is where."""

    pixels: Float[Tensor, "d 3 s s"]
    maps: Float[Tensor, "d findings cells cells"]
    wanted: Float[Tensor, "n cells cells"]
    conversations: Conversations
    order: Tensor

    def to(self, device: Any) -> "Step":
        """The same on a device."""
        written = self.conversations.to(device)
        tensors = (self.pixels.to(device), self.maps.to(device), self.wanted.to(device))
        return Step(*tensors, written, self.order.to(device))


class Steps:
    """The batches of a training; the one of a step depends on (seed, step) alone."""

    def __init__(self, pool: Pool, config: VlmConfig, writer: Writer):
        self.pool, self.config, self.writer = pool, config, writer
        self.numbers = {name: number for number, name in enumerate(pool.by_finding)}

    def __call__(self, step: int) -> Step:
        """Conversations and images of a step."""
        training = self.config.training
        draw = np.random.default_rng([training.seed, 5, step])
        shares = shares_at(self.config.episodes, step / training.steps)
        episodes = draw_episodes(
            self.pool, self.config.episodes, shares, count=training.batch_size, draw=draw
        )
        distinct = sorted({turn.image for turns in episodes for turn in turns})
        size = self.pool.squares.shape[-1]
        moves = draw_moves(distinct, self.config.changes, size, draw)
        moved = [
            [turn for turn in (_moved(one, moves[one.image], size) for one in turns) if turn]
            for turns in episodes
        ]
        written = self.writer.training([turns for turns in moved if turns])
        places = {image: place for place, image in enumerate(distinct)}
        order = torch.tensor([places[image] for image in written.images])
        pixels = changed_pixels(self.pool, moves, self.config.changes, draw)
        cells = self.config.tower.cells
        maps = finding_maps(self.pool, moves, self.numbers, cells)
        wanted = torch.from_numpy(np.stack([box_map(boxes, cells) for boxes in written.wanted]))
        return Step(pixels, maps, wanted, written, order)


def _moved(turn: Turn, move: tuple[int, int], size: int) -> Turn | None:
    """The turn on its translated image; None if nothing of its boxes is left."""
    boxes = shift_boxes(turn.boxes, move[0] / size, move[1] / size)
    if not len(boxes):
        return None
    return Turn(turn.image, turn.phrase, boxes, turn.finding, turn.learned)


def losses(
    model: Any, heads: HintHeads, step: Step, *, hints: Hints, soft: int
) -> dict[str, Tensor]:
    """The answers' loss and the hints; each image is encoded once for all conversations."""
    seen = model.model.get_image_features(step.pixels)
    features = seen.pooler_output[step.order]
    written = step.conversations
    out = model.model(
        input_ids=written.ids,
        token_type_ids=(written.ids == soft).long(),
        mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=features)},
        use_cache=False,
        output_hidden_states=True,
    )
    kept = written.labels != IGNORED
    logits = model.lm_head(out.last_hidden_state[kept])
    found = {"answers": F.cross_entropy(logits.float(), written.labels[kept])}
    inner, asked = out.hidden_states, written.questions
    found["maps"] = heads.maps.loss(seen.last_hidden_state, step.maps)
    found["examples"] = heads.loss(heads.example, inner[hints.example_layer], written.examples)
    found["questions"] = heads.loss(heads.question, inner[hints.question_layer], asked)
    found["where"] = heads.where_loss(inner[hints.where_layer], asked, step.wanted)
    return found


def total(found: dict[str, Tensor], hints: Hints) -> Tensor:
    """The answers' loss plus the weighted hints."""
    weights = {"answers": 1.0, "maps": hints.maps, "where": hints.where}
    return sum(weights.get(name, hints.weight) * value for name, value in found.items())
