"""The tower of the small multi-image model: what it is taught, and that it is the hub's."""

import numpy as np
import pytest
import torch
from transformers import AutoModel

from lofi.vlm.config import Changes, Tower
from lofi.vlm.pictures import changed_pixels, draw_moves, finding_maps
from lofi.vlm.tower import MapHead, map_quality, teach_tower, tower_config
from tests.lofi.vlm_world import FINDINGS, SIZE, TOWER, pool_of

NUMBERS = {name: number for number, name in enumerate(FINDINGS)}
STILL = Changes(shift=0, gain=0, tone=0, noise=0)


def taught(file, *, steps: int = 3, changes: Changes = STILL, **settings):
    torch.manual_seed(0)
    wanted = TOWER.model_copy(update={"steps": steps, "batch_size": 24, **settings})
    tower = AutoModel.from_config(tower_config(wanted))
    head = MapHead(32, len(FINDINGS), tokens=4, cells=4)
    teach_tower(
        tower, head, pool_of(48), settings=wanted, changes=changes, file=file, say=lambda _: None
    )
    return tower, head


def test_maps_are_1_where_the_middle_of_a_cell_lies_in_a_box() -> None:
    pool = pool_of(3)
    maps = finding_maps(pool, {0: (0, 0), 2: (0, 0)}, NUMBERS, 8)
    assert maps.shape == (2, 2, 8, 8)
    assert maps[0, NUMBERS["bars"]].sum() == 0  # the first picture shows a block alone
    x1, y1, x2, y2 = pool.phrases[0][0].boxes[0] * 8
    for row in range(8):
        for column in range(8):
            inside = x1 < column + 0.5 < x2 and y1 < row + 0.5 < y2
            assert maps[0, NUMBERS["block"], row, column] == inside


def test_a_box_too_small_for_any_middle_still_marks_its_cell() -> None:
    pool = pool_of(1)
    phrase = pool.phrases[0][0]
    phrase.boxes[:] = [[0.26, 0.51, 0.28, 0.53]]
    maps = finding_maps(pool, {0: (0, 0)}, NUMBERS, 4)
    assert maps[0, NUMBERS["block"]].nonzero().tolist() == [[2, 1]]


def test_pictures_and_maps_move_together() -> None:
    pool = pool_of(6)
    plain = changed_pixels(pool, {0: (0, 0)}, STILL, np.random.default_rng(0))
    moved = changed_pixels(pool, {0: (16, 0)}, STILL, np.random.default_rng(0))
    assert torch.equal(plain[:, :, :, :-16], moved[:, :, :, 16:])
    before = finding_maps(pool, {0: (0, 0)}, NUMBERS, 4)
    after = finding_maps(pool, {0: (16, 0)}, NUMBERS, 4)
    assert torch.equal(before[..., :-1], after[..., 1:])


def test_a_picture_is_changed_no_more_than_the_settings_say() -> None:
    pool, draw = pool_of(12), np.random.default_rng(0)
    moves = draw_moves(list(range(12)), Changes(shift=0.1), SIZE, draw)
    assert max(abs(step) for move in moves.values() for step in move) <= 6
    assert changed_pixels(pool, moves, STILL, draw).shape == (12, 3, SIZE, SIZE)
    bent = changed_pixels(pool, {0: (0, 0)}, Changes(gain=0, noise=0, tone=0.5), draw)
    plain = changed_pixels(pool, {0: (0, 0)}, STILL, draw)
    order = plain.flatten().argsort(stable=True)
    assert (bent.flatten()[order].diff() >= -1e-6).all()  # a tone curve keeps the order of greys
    assert not torch.equal(bent, plain)


def test_a_tower_learns_where_each_finding_lies(tmp_path) -> None:
    before = map_quality(*taught(tmp_path / "a", steps=0), pool_of(48), pool_of(24, 1))
    after = map_quality(*taught(tmp_path / "b", steps=160), pool_of(48), pool_of(24, 1))
    assert set(after) == set(FINDINGS)
    for name in FINDINGS:
        assert after[name] > max(before[name], 0.7)


def test_what_was_taught_is_found_again_and_not_taught_twice(tmp_path) -> None:
    first, _ = taught(tmp_path / "t", steps=2)
    again, _ = taught(tmp_path / "t", steps=50)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_lesson_is_a_function_of_pool_and_settings(tmp_path) -> None:
    one, two = (taught(tmp_path / name, changes=Changes())[0].state_dict() for name in "ab")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_cells_of_a_token_lie_where_the_token_lies() -> None:
    head = MapHead(5, findings=1, tokens=4, cells=4)
    torch.nn.init.zeros_(head.linear.weight)
    torch.nn.init.zeros_(head.linear.bias)
    head.linear.weight.data[:, 0] = torch.tensor([1.0, 2.0, 3.0, 4.0])  # a cell per quarter
    tokens = torch.zeros(1, 4, 5)
    tokens[0, 1, 0] = 1.0  # the upper right token
    assert head(tokens)[0, 0].tolist() == [
        [0, 0, 1, 2],
        [0, 0, 3, 4],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]


@pytest.mark.parametrize(("cells", "weight"), [(1, 5.0), (4, 2.5), (16, 1.25)])
def test_a_lesion_weighs_as_its_width(cells: int, weight: float) -> None:
    head = MapHead(5, findings=1, tokens=4, cells=4)
    torch.nn.init.zeros_(head.linear.weight)
    torch.nn.init.zeros_(head.linear.bias)  # every cell is believed by half: ln 2 each
    maps = torch.zeros(1, 1, 4, 4)
    maps.view(-1)[:cells] = 1
    wanted = np.log(2) * (16 - cells + cells * weight) / 16
    assert head.loss(torch.zeros(1, 4, 5), maps).item() == pytest.approx(wanted)


@pytest.mark.parametrize("side", [64, 128])
def test_a_token_is_32_pixels_on_a_side(side: int) -> None:
    tower = AutoModel.from_config(tower_config(Tower(side=side, widths=(32, 48), heads=(2, 2))))
    tokens = tower(pixel_values=torch.zeros(2, 3, side, side)).last_hidden_state
    assert tokens.shape == (2, (side // 32) ** 2, 48)
