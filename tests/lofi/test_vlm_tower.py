"""A native tower that imitates a LoFi tower with convolutions."""

import numpy as np
import pytest
import torch

from lofi.build import build as build_lofi
from lofi.vlm.build import build
from lofi.vlm.config import Imitation
from lofi.vlm.tower import explained, imitating_tower, patch_tokens
from tests.lofi.conftest import settings, world


@pytest.fixture(scope="module")
def teacher():
    config = settings(towers={"stem": "convolutions"}, tokens={"spatial_start": True, "count": 16})
    return build_lofi(config, ["there is a left nodule."] * 4).eval()


@pytest.fixture(scope="module")
def squares():
    return np.stack([square for square, _, _ in world(24)])


def learn(teacher, squares, file, **changes):
    wanted = Imitation(layers=1, batch_size=8, **{"steps": 60, **changes})
    return imitating_tower(teacher, squares, settings=wanted, file=file, say=lambda _: None)


def test_a_tower_learns_to_see_what_its_teacher_sees(teacher, squares, tmp_path):
    before = explained(learn(teacher, squares, tmp_path / "a", steps=1), teacher, squares)
    after = explained(learn(teacher, squares, tmp_path / "b", steps=150), teacher, squares)
    assert after > before + 0.2


def test_what_was_learned_is_found_again_and_not_learned_twice(teacher, squares, tmp_path):
    first = learn(teacher, squares, tmp_path / "t")
    again = learn(teacher, squares, tmp_path / "t", steps=1)  # would end elsewhere
    pixels = torch.zeros(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(patch_tokens(first, pixels), patch_tokens(again, pixels))


def test_the_result_is_a_function_of_teacher_squares_and_settings(teacher, squares, tmp_path):
    one, two = (learn(teacher, squares, tmp_path / n, steps=5).state_dict() for n in "ab")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_model_takes_the_tower_and_sees_grey_as_three_channels(teacher, squares, tmp_path):
    tower = learn(teacher, squares, tmp_path / "t", steps=5)
    model, _ = build(teacher, extra_layers=1, tower=tower)
    pixels = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        seen = model.model.vision_tower(pixel_values=pixels.expand(-1, 3, -1, -1))
        assert torch.allclose(seen.last_hidden_state, patch_tokens(tower, pixels), atol=1e-4)
