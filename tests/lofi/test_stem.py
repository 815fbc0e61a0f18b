"""The convolutional stem: its grid, its quiet start, and its way through a directory."""

import pytest
import torch

from lofi.build import build
from lofi.checkpoint import from_pretrained, save_pretrained
from lofi.stem import ConvStem, stem_of
from tests.lofi.conftest import SIZE, settings


def with_stem(**training):
    config = settings(
        towers={"stem": "convolutions"}, tokens={"spatial_start": True, "count": 16}, **training
    )
    return build(config, ["there is a left nodule."] * 4)


def test_a_stem_gives_the_grid_of_a_patch_embedding():
    found = ConvStem(1, 32, 8)(torch.zeros(2, 1, 48, 48))
    assert found.shape == (2, 32, 6, 6)


@pytest.mark.parametrize("size", [14, 12, 2])
def test_a_patch_size_that_no_halving_reaches_is_refused(size):
    with pytest.raises(ValueError, match=f"patch size {size}"):
        ConvStem(1, 32, size)


def test_blocks_start_as_the_identity():
    model = with_stem().eval()
    vision = model.towers.vision_model
    pixels = torch.randn(2, 1, SIZE, SIZE)
    with torch.no_grad():
        plain = vision.post_layernorm(vision.embeddings(pixels))
        assert torch.allclose(model.patches(pixels), plain, atol=1e-3)


def test_what_all_pictures_share_is_taken_out():
    model = with_stem().train()
    stem = model.towers.vision_model.embeddings.patch_embedding
    pixels = torch.randn(8, 1, SIZE, SIZE) * 0.01 + 3.0
    found = stem(pixels).detach()
    assert float(found.mean((0, 2, 3)).abs().max()) < 1e-4
    assert float(found.std()) > 0.5


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_stem_survives_its_directory_with_its_statistics(tmp_path, dtype):
    model = with_stem().train()
    model.patches(torch.randn(8, 1, SIZE, SIZE))  # moves the running statistics
    save_pretrained(model, tmp_path / "m", dtype=dtype)
    again = from_pretrained(tmp_path / "m")
    assert stem_of(again.towers) == "convolutions"
    pixels = torch.randn(2, 1, SIZE, SIZE)
    with torch.no_grad():
        near = torch.allclose(
            again.patches(pixels), model.eval().patches(pixels), atol=1e-5 if dtype is None else 0.1
        )
    assert near


def test_towers_taken_from_a_directory_keep_their_stem(tmp_path):
    save_pretrained(with_stem(), tmp_path / "m", record={"step": 1})
    config = settings(towers={"pretrained": str(tmp_path / "m")}, adapters={"freeze_encoder": True})
    model = build(config, ["there is a left nodule."] * 4)
    assert model.config.towers.stem == "convolutions"
    assert stem_of(model.towers) == "convolutions"
