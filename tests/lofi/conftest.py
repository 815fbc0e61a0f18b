"""Small worlds for LoFi's tests: one bright square per picture, said and boxed."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import SiglipConfig, SiglipModel

from harness.datasets.training import TrainingSet, TrainingStudy
from harness.samples import ImageRef
from harness.text import sentences
from lofi.build import build
from lofi.config import LofiConfig, parse
from lofi.data import Studies, Study
from lofi.model import LofiModel
from lofi.read import chunks
from tests.lofi.vlm_world import pool_of

SIZE = 32
TINY = {
    "name": "test",
    "towers": {
        "image_size": SIZE,
        "patch_size": 4,
        "channels": 1,
        "hidden_size": 32,
        "layers": 2,
        "heads": 2,
        "text_layers": 1,
        "max_tokens": 16,
    },
    "tokens": {"count": 4, "pool": 2, "kind": "probes"},
    "decoder": {
        "hidden_size": 32,
        "layers": 2,
        "heads": 2,
        "head_dim": 16,
        "mlp_size": 64,
        "max_tokens": 64,
    },
    "data": {"vocabulary": 400},
    "training": {
        "steps": 8,
        "batch_size": 4,
        "warmup": 2,
        "validate_every": 100,
        "checkpoint_minutes": 100.0,
    },
}
WORDS = ("left", "right")


def world(count: int = 12, seed: int = 0) -> list[tuple[np.ndarray, str, list]]:
    """Pictures with a bright square on the patient's left or right, or none."""
    draw = np.random.default_rng(seed)
    out = []
    for number in range(count):
        square = draw.integers(0, 60, (SIZE, SIZE)).astype(np.uint8)
        if number % 3 == 2:
            out.append((square, "The lungs are clear.", []))
            continue
        side = number % 2
        x, y = (20 if side == 0 else 4), int(draw.integers(4, 20))
        square[y : y + 8, x : x + 8] = 255
        box = np.float32([[x, y, x + 8, y + 8]]) / SIZE
        phrase = f"There is a {WORDS[side]} nodule."
        out.append((square, f"{phrase} No effusion.", [(phrase, box)]))
    return out


def settings(**changes) -> LofiConfig:
    """The test settings with whole sections or single keys replaced."""
    values = {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
    for name, value in changes.items():
        if isinstance(value, dict):
            values[name] = {**values.get(name, {}), **value}
        else:
            values[name] = value
    return parse(values, "test")


def studies_for(model: LofiModel, count: int = 12, seed: int = 0) -> Studies:
    """The small world as training studies."""
    made = world(count, seed)
    items = tuple(
        Study(
            f"s{n}",
            f"p{n}",
            text,
            chunks(text, model.text_tokenizer, model.config.towers.max_tokens),
            tuple(regions),
            (SIZE, SIZE),
        )
        for n, (_, text, regions) in enumerate(made)
    )
    return Studies(np.stack([square for square, _, _ in made]), items)


def training_set(folder: Path, split: str, count: int) -> TrainingSet:
    """The small world as files of a training set, one for each split."""
    studies = []
    for number, (square, text, regions) in enumerate(world(count, seed=len(split))):
        file = folder / f"{split}-{number}.png"
        PIL.Image.fromarray(square).save(file)
        ref = ImageRef(f"{split}-{number}", file, f"p{number}", f"s{number}")
        studies.append(TrainingStudy(ref, text, sentences(text), tuple(regions)))
    return TrainingSet("mimic-cxr", split, "lesion", "phantom 1", tuple(studies), count, {}, True)


def save_siglip(folder: Path, tokenizer, vision: dict[str, int], text: dict[str, int]) -> Path:
    """A SigLIP of one layer and 32 numbers in `folder`, with this tokenizer."""
    shared = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    words = {**shared, **ids, "vocab_size": len(tokenizer), "projection_size": 32, **text}
    config = SiglipConfig(vision_config={**shared, **vision}, text_config=words)
    SiglipModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make(**changes) -> LofiModel:
    """A fresh small model."""
    return build(settings(**changes), [text for _, text, _ in world()] * 3)


@pytest.fixture(scope="module")
def lofi() -> LofiModel:
    """A LoFi with random weights that has the words of `vlm_world`."""
    texts = [phrase.text for phrases in pool_of().phrases for phrase in phrases]
    return build(settings(), texts).eval()


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
