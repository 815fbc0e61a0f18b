"""TIPSv2, and what a processor says of its pixels: not normalized, not rescaled, or nothing."""

import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import AutoImageProcessor, AutoModel, CLIPImageProcessorPil, Tipsv2ImageProcessor

from baselines.cards import load
from harness.errors import BenchError
from harness.models import Query


def seen(model, image) -> torch.Tensor:
    """The tensor that reaches the model."""
    return model.towers.pixels.tensor([model.prepare_image(image)], "cpu")


def test_tips_sees_grey_of_0_to_1_as_its_own_processor_makes_it(tiny, films, deep_films):
    """The library has it resized by torchvision alone, whose rounding is one grey level away."""
    model = load(card=tiny("tiny-tips"))
    processor = AutoImageProcessor.from_pretrained(tiny("tiny-tips"))
    assert isinstance(processor, Tipsv2ImageProcessor)
    for film in [*films, *deep_films]:
        rgb = PIL.Image.fromarray(film.read()).convert("RGB")
        theirs = processor(images=rgb, return_tensors="pt")["pixel_values"]
        assert theirs.shape == seen(model, film).shape == (1, 3, 64, 64)
        assert (seen(model, film) - theirs).abs().max() <= 1.01 / 255, film.image_id


def test_tips_vectors_are_its_own_pooled_outputs(tiny, films):
    model = load(card=tiny("tiny-tips"))
    theirs = AutoModel.from_pretrained(tiny("tiny-tips")).eval()
    with torch.inference_mode():
        image = theirs.get_image_features(pixel_values=seen(model, films[1])).pooler_output
        tokens = model.towers.text.tokenize(["left effusion"])
        text = theirs.get_text_features(**tokens).pooler_output
    assert set(tokens) == {"input_ids", "attention_mask"}
    for ours, other in (
        (model.embed_images([model.prepare_image(films[1])]), image),
        (model.embed_texts(["LEFT effusion"]), text),
    ):
        assert np.allclose(ours, torch.nn.functional.normalize(other, dim=-1), atol=1e-5)


def test_patches_of_tips_are_its_last_tokens_without_those_of_class_and_register(tiny, films):
    model = load(card=tiny("tiny-tips"))
    theirs = AutoModel.from_pretrained(tiny("tiny-tips")).eval()
    pixels = seen(model, films[1])
    with torch.inference_mode():
        grid = model.towers.patches(pixels)
        tokens = theirs.vision_model(pixel_values=pixels).last_hidden_state[0]
    assert len(tokens) == 1 + theirs.config.vision_config.num_register_tokens + 16
    assert torch.allclose(grid.reshape(16, 32), tokens[2:], atol=1e-6)
    shown = model.ground([Query(films[1], "effusion")])[0].heatmap
    assert not np.isnan(shown).any()  # a squash sees the whole film


@pytest.fixture
def with_processor(tiny, tmp_path):
    """A function: the tiny CLIP with another processor, saved as the library saves it."""

    def load_with(**settings):
        folder = tmp_path / "other"
        shutil.copytree(tiny("tiny-clip"), folder)
        CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=64, **settings).save_pretrained(
            folder
        )
        return load(card=str(folder)), AutoImageProcessor.from_pretrained(folder, backend="pil")

    return load_with


@pytest.mark.parametrize(
    "settings",
    [
        {"do_normalize": False},
        {"do_rescale": False, "image_mean": [100.0] * 3, "image_std": [50.0] * 3},
        {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
        {"do_rescale": False, "do_normalize": False},
    ],
)
def test_a_processor_that_leaves_a_step_out_is_followed(with_processor, films, settings):
    model, processor = with_processor(**settings)
    for film in films:
        rgb = PIL.Image.fromarray(film.read()).convert("RGB")
        theirs = processor(images=rgb, return_tensors="pt")["pixel_values"].float()
        assert torch.allclose(seen(model, film), theirs, atol=1e-5), film.image_id


def test_a_processor_that_normalizes_by_nothing_is_an_error_that_says_what_to_set(
    with_processor, monkeypatch
):
    monkeypatch.setattr(CLIPImageProcessorPil, "image_mean", None)
    monkeypatch.setattr(CLIPImageProcessorPil, "image_std", None)
    with pytest.raises(BenchError, match=r"no image_mean and image_std.*Set image\.mean"):
        with_processor()


def test_a_scale_on_the_card_is_taken_before_that_of_the_processor(tiny, tmp_path):
    folder = Path(tiny("tiny-tips"))
    text = (folder / "card.yaml").read_text()
    (tmp_path / "c.yaml").write_text(text + "image: {scale: 1.0}\n")
    model = load(card=str(tmp_path / "c.yaml"), path=str(folder))
    assert model.towers.pixels.scale == 1.0
    assert load(card=str(folder)).towers.pixels.scale == 1 / 255
