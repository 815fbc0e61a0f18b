"""Pictures with two findings, and the small settings of a multi-image model for the tests."""

import numpy as np
import torch

from lofi.vlm.config import Tower, VlmConfig
from lofi.vlm.read import Phrase, Pool
from lofi.vlm.tower import MapHead

FINDINGS = ("block", "bars")
SIZE = 64
TOWER = Tower(side=SIZE, widths=(32, 32), layers=(1, 1), heads=(2, 2), cells=4, steps=3)


def pool_of(count: int = 24, seed: int = 0) -> Pool:
    """Pictures with a bright block, with dark bars, or both; each is one finding."""
    draw = np.random.default_rng(seed)
    squares, phrases = [], []
    for number in range(count):
        square = draw.integers(80, 120, (SIZE, SIZE)).astype(np.uint8)
        said = []
        for which, finding in enumerate(FINDINGS):
            if number % 3 in (which, 2):
                x, y = which * 32 + int(draw.integers(0, 16)), int(draw.integers(0, 48))
                square[y : y + 16, x : x + 16] = 255
                if which:
                    square[y : y + 16 : 4, x : x + 16] = 0
                box = np.float32([[x, y, x + 16, y + 16]]) / SIZE
                said.append(Phrase(f"There are {finding}.", finding, box))
        squares.append(square)
        phrases.append(tuple(said))
    patients = tuple(f"p{number}" for number in range(count))
    return Pool(np.stack(squares), np.arange(count), tuple(phrases), patients)


def config_of(**changes) -> VlmConfig:
    """Small settings that train in a second."""
    values = {
        "extra_layers": 1,
        "episodes": {"turns": 3, "images": 12, "groups": 2},
        "hints": {"example_layer": 1, "question_layer": 2, "where_layer": 2},
        "tower": TOWER.model_dump(),
        "training": {
            "steps": 4,
            "batch_size": 4,
            "warmup": 1,
            "validate_every": 100,
            "checkpoint_minutes": 100.0,
        },
    }
    return VlmConfig.model_validate({**values, **changes})


def maps_of() -> MapHead:
    """What reads maps of 4 x 4 cells from the tokens of `TOWER`."""
    torch.manual_seed(0)
    return MapHead(32, len(FINDINGS), tokens=4, cells=4)
