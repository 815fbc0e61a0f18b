"""Heat maps of dual encoders: patches as the library's own, NaN where nobody looked."""

import numpy as np
import open_clip
import pytest
import torch
from transformers import AutoModel

from baselines.cards import load
from harness.models import GroundingModel, Query
from harness.samples import ImageRef, PhraseBoxes
from harness.tasks.calibration import lost_to_crop

DUALS = ["tiny-openclip", "tiny-openclip-bert", "tiny-siglip", "tiny-clip"]


def loaded(tiny, name: str, **options):
    return load("cpu", card=tiny(name), **options)


def seen(model, images) -> torch.Tensor:
    """The tensor that reaches the model."""
    return model.towers.pixels.tensor([model.prepare_image(image) for image in images], "cpu")


@pytest.mark.parametrize("name", DUALS)
def test_heat_maps_are_nan_exactly_outside_the_crop(tiny, films, name):
    model = loaded(tiny, name)
    assert isinstance(model, GroundingModel)
    answers = model.ground([Query(image, "left effusion") for image in films])
    for image, answer in zip(films, answers, strict=True):
        width, height = image.size()
        shown = answer.heatmap
        assert shown.shape == (height, width) if max(width, height) <= 192 else shown.ndim == 2
        lost = 0.0 if name == "tiny-siglip" else 1 - min(width, height) / max(width, height)
        assert abs(np.isnan(shown).mean() - lost) < 0.03
        assert np.nanmax(np.abs(shown)) <= 1 + 1e-6
        assert answer.status == "ok"


@pytest.mark.parametrize("name", ["tiny-siglip", "tiny-clip", "tiny-openclip"])
def test_the_full_field_variant_sees_the_whole_film(tiny, films, name):
    model = loaded(tiny, name, variant="full-field")
    answer = model.ground([Query(films[1], "left effusion")])[0]
    assert not np.isnan(answer.heatmap).any()


def test_what_the_official_crop_loses_is_counted_and_the_full_field_loses_nothing(tiny, films):
    box = np.float32([[0, 0, 1, 0.125]])  # of a 90 x 120 film the crop begins at row 15
    ref = ImageRef("film-0", films[0].file, "p", "s")
    samples = [PhraseBoxes("a", ref, "apex", box)]
    for name in ("tiny-clip", "tiny-openclip", "tiny-biovil-t"):
        counts = lost_to_crop(loaded(tiny, name), samples)
        assert counts["truth_lost_to_crop"] == pytest.approx(1.0, abs=0.1), name
    # CARZero pads to 72 and keeps the middle 64: 4 of the 9 rows above are lost.
    counts = lost_to_crop(loaded(tiny, "tiny-carzero"), samples)
    assert counts["truth_lost_to_crop"] == pytest.approx(4 / 9, abs=0.01)
    whole = lost_to_crop(loaded(tiny, "tiny-clip", variant="full-field"), samples)
    assert whole == {"truth_lost_to_crop": 0.0, "boxes_outside_view": 0.0}


def test_a_phrase_asked_twice_and_alone_gives_the_same_map(tiny, films):
    model = loaded(tiny, "tiny-clip")
    queries = [Query(films[0], "a"), Query(films[1], "b"), Query(films[0], "b")]
    together = model.ground(queries)
    for query, answer in zip(queries, together, strict=True):
        alone = model.ground([query])[0]
        assert np.nanmax(np.abs(alone.heatmap - answer.heatmap)) < 1e-5


def test_a_siglip_patch_vector_is_what_the_head_makes_of_that_patch_alone(tiny, films):
    model, theirs = loaded(tiny, "tiny-siglip"), AutoModel.from_pretrained(tiny("tiny-siglip"))
    pixels = seen(model, films[:1])
    with torch.inference_mode():
        grid = model.towers.patches(pixels)
        tokens = theirs.eval().vision_model(pixel_values=pixels).last_hidden_state[0]
        alone = theirs.vision_model.head(tokens[:, None])
    assert grid.shape == (1, 4, 4, 32)
    assert torch.allclose(grid.reshape(16, 32), alone, atol=1e-6)


def test_clip_patches_go_the_way_of_the_class_token(tiny, films):
    """The same norm and projection take the class token to the image's embedding."""
    model, theirs = loaded(tiny, "tiny-clip"), AutoModel.from_pretrained(tiny("tiny-clip")).eval()
    pixels = seen(model, films[:1])
    with torch.inference_mode():
        hidden = theirs.vision_model(pixel_values=pixels).last_hidden_state
        projected = theirs.visual_projection(theirs.vision_model.post_layernorm(hidden))
        pooled = theirs.get_image_features(pixel_values=pixels).pooler_output
        grid = model.towers.patches(pixels)
    assert torch.allclose(projected[:, 0], pooled, atol=1e-6)
    assert torch.allclose(grid.reshape(16, 24), projected[0, 1:], atol=1e-6)


def test_open_clip_patches_are_the_projected_last_tokens(tiny, films):
    model = loaded(tiny, "tiny-openclip")
    plain = open_clip.create_model(f"local-dir:{tiny('tiny-openclip')}").eval()
    pixels = seen(model, films[:1])
    plain.visual.output_tokens = True
    with torch.inference_mode():
        _, tokens = plain.visual(pixels)
        grid = model.towers.patches(pixels)
        expected = tokens[0] @ plain.visual.proj
    assert torch.allclose(grid.reshape(16, 24), expected, atol=1e-5)


def test_left_in_the_model_is_left_on_the_film(tiny, films):
    """A bright patch vector at the right edge of the input shows at the right edge of the film."""
    from dataclasses import replace

    model = loaded(tiny, "tiny-siglip")
    text = torch.from_numpy(model.embed_texts(["left"]))[0]

    def right_column(pixels):
        grid = (-text).expand(len(pixels), 4, 4, -1).clone()
        grid[:, :, 3] = text
        return grid

    marked = replace(model, towers=replace(model.towers, patches=right_column))
    shown = marked.ground([Query(films[1], "left")])[0].heatmap
    assert (shown[:, -10:] > 0.9).all()
    assert (shown[:, :90] < -0.9).all()
