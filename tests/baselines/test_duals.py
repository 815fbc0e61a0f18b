"""Dual encoders: pixels and tokens as the library's own, vectors that keep their promises."""

import json
from pathlib import Path

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from baselines.cards import load
from harness.errors import BenchError
from harness.images import Image
from harness.models import EmbeddingModel, GroundingModel, NotScorable, Query, TokenCounter
from harness.samples import ImageRef, PhraseBoxes
from harness.tasks.calibration import lost_to_crop

DUALS = ["tiny-openclip", "tiny-openclip-bert", "tiny-siglip", "tiny-clip"]
HF = ["tiny-siglip", "tiny-clip", "tiny-dino"]
TEXTS = ["Small left pleural effusion.", "NO acute process; lungs clear!", "", "word " * 100]


def loaded(tiny, name: str, **options):
    return load("cpu", card=tiny(name), **options)


def seen(model, images) -> torch.Tensor:
    """The tensor that reaches the model."""
    return model.towers.pixels.tensor([model.prepare_image(image) for image in images], "cpu")


# --- pixels


@pytest.mark.parametrize("name", ["tiny-openclip", "tiny-openclip-bert"])
def test_open_clip_pixels_are_those_of_its_own_transform(tiny, films, name, deep_films):
    model = loaded(tiny, name)
    config = json.loads(Path(tiny(name), "open_clip_config.json").read_text())["preprocess_cfg"]
    transform = image_transform_v2(PreprocessCfg(**config), is_train=False)
    for image in [*films, *deep_films]:
        theirs = transform(PIL.Image.fromarray(image.read()).convert("RGB"))
        assert torch.equal(seen(model, [image])[0], theirs), image.image_id


@pytest.mark.parametrize("name", HF)
def test_hf_pixels_are_those_of_its_own_processor(tiny, films, name, deep_films):
    model = loaded(tiny, name)
    processor = AutoImageProcessor.from_pretrained(tiny(name), backend="pil")
    for image in [*films, *deep_films]:
        rgb = PIL.Image.fromarray(image.read()).convert("RGB")
        theirs = processor(images=rgb, return_tensors="pt")["pixel_values"][0]
        assert torch.allclose(seen(model, [image])[0], theirs, atol=1e-6), image.image_id


def test_open_clip_squash_and_longest_are_its_own_too(films):
    from baselines.openclip import official_geometry
    from baselines.pixels import PixelRules
    from harness.geometry import read_geometry

    for mode in ("squash", "longest", "shortest"):
        for how in ("bicubic", "bilinear"):
            config = PreprocessCfg(size=48, resize_mode=mode, interpolation=how)
            transform = image_transform_v2(config, is_train=False)
            geometry = read_geometry(official_geometry(vars(config)))
            rules = PixelRules(geometry, config.mean, config.std)
            for image in films:
                theirs = transform(PIL.Image.fromarray(image.read()).convert("RGB"))
                ours = rules.tensor([rules.prepare(image)], "cpu")[0]
                assert torch.equal(ours, theirs), (mode, how, image.image_id)


def test_values_of_0_to_255_are_normalized_as_chexzero_does(films):
    from baselines.pixels import PixelRules
    from harness.geometry import read_geometry

    rules = PixelRules(read_geometry("squash 8"), (101.48761,) * 3, (83.43944,) * 3, scale=1.0)
    prepared = rules.prepare(films[0])
    expected = (prepared.astype(np.float64) - 101.48761) / 83.43944
    assert np.abs(rules.tensor([prepared], "cpu")[0, 1].numpy() - expected).max() < 1e-5


def test_stretching_a_constant_film_does_not_divide_by_zero(tmp_path):
    from baselines.pixels import PixelRules
    from harness.geometry import read_geometry

    PIL.Image.new("L", (20, 20), 77).save(tmp_path / "flat.png")
    rules = PixelRules(read_geometry("squash 8"), (0.0,), (1.0,), stretch=True)
    assert (rules.prepare(Image("flat", tmp_path / "flat.png")) == 0).all()


# --- tokens


def test_open_clip_tokens_are_those_of_its_own_tokenizer(tiny):
    model = loaded(tiny, "tiny-openclip")
    theirs = open_clip.get_tokenizer("ViT-B-32")(TEXTS)
    assert torch.equal(model.towers.text.tokenize(TEXTS), theirs)
    model = loaded(tiny, "tiny-openclip-bert")
    bert = AutoTokenizer.from_pretrained(tiny("tiny-openclip-bert"))
    theirs = bert(
        [" ".join(text.split()) for text in TEXTS],
        max_length=256,
        padding="max_length",
        truncation=True,
        return_tensors="pt",
    )["input_ids"]
    assert torch.equal(model.towers.text.tokenize(TEXTS), theirs)


@pytest.mark.parametrize(
    ("name", "length"), [("tiny-siglip", 64), ("tiny-clip", 77), ("tiny-tips", 64)]
)
def test_hf_tokens_are_those_of_its_own_tokenizer(tiny, name, length):
    model = loaded(tiny, name)
    tokenizer = AutoTokenizer.from_pretrained(tiny(name))
    theirs = tokenizer(
        TEXTS, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    ours = model.towers.text.tokenize(TEXTS)
    assert set(ours) == set(theirs)
    for key in theirs:
        assert torch.equal(ours[key], theirs[key])


def test_siglip_reads_lower_case_pads_right_and_gets_no_mask(tiny):
    model = loaded(tiny, "tiny-siglip")
    upper, lower = model.embed_texts(["LEFT EFFUSION", "left effusion"])
    assert (upper == lower).all()
    tokens = model.towers.text.tokenize(["ab"])
    assert set(tokens) == {"input_ids"}
    assert tokens["input_ids"].shape == (1, 64)
    assert (tokens["input_ids"][0, 2:] == 0).all()


def test_siglip_with_padding_longest_is_refused(tiny, tmp_path):
    folder = Path(tiny("tiny-siglip"))
    card = (folder / "card.yaml").read_text().replace("lower: true", "padding: longest")
    (tmp_path / "wrong.yaml").write_text(card)
    with pytest.raises(BenchError, match="SigLIP pools its last position"):
        load("cpu", card=str(tmp_path / "wrong.yaml"), path=str(folder))


@pytest.mark.parametrize("name", DUALS)
def test_tokens_are_counted_before_truncation(tiny, name):
    model = loaded(tiny, name)
    assert isinstance(model, TokenCounter)
    short, long = model.count_tokens(["left effusion", "effusion " * 200])
    assert short < model.card.max_tokens < long


# --- vectors


@pytest.mark.parametrize("name", DUALS)
def test_vectors_are_unit_and_independent_of_batch_and_order(tiny, films, name):
    model = loaded(tiny, name)
    assert isinstance(model, EmbeddingModel)
    prepared = [model.prepare_image(image) for image in films]
    together, texts = model.embed_images(prepared), model.embed_texts(TEXTS)
    for vectors in (together, texts):
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    alone = np.concatenate([model.embed_images([one]) for one in reversed(prepared)])[::-1]
    assert np.abs(together - alone).max() < 1e-5
    alone = np.concatenate([model.embed_texts([text]) for text in reversed(TEXTS)])[::-1]
    assert np.abs(texts - alone).max() < 1e-5


@pytest.mark.parametrize("name", ["tiny-siglip", "tiny-clip"])
def test_vectors_are_the_librarys_pooled_and_projected_ones(tiny, films, name):
    model, theirs = loaded(tiny, name), AutoModel.from_pretrained(tiny(name)).eval()
    pixels = seen(model, films)
    with torch.inference_mode():
        images = theirs.get_image_features(pixel_values=pixels).pooler_output
        texts = theirs.get_text_features(**model.towers.text.tokenize(TEXTS)).pooler_output
    prepared = [model.prepare_image(image) for image in films]
    for ours, expected in (
        (model.embed_images(prepared), images),
        (model.embed_texts(TEXTS), texts),
    ):
        unit = (expected / expected.norm(dim=-1, keepdim=True)).numpy()
        assert np.abs(ours - unit).max() < 1e-6


def test_a_vision_only_model_embeds_images_and_says_that_it_reads_no_text(tiny, films):
    model = loaded(tiny, "tiny-dino")
    assert model.embed_images([model.prepare_image(films[0])]).shape == (1, 32)
    with pytest.raises(NotScorable, match="no text tower"):
        model.embed_texts(["a"])
    with pytest.raises(NotScorable, match="no heat map"):
        model.ground([Query(films[0], "a")])


@pytest.fixture
def small_architecture(tmp_path):
    """A tiny CLIP under a name of open_clip's own, as `architecture` on a card."""
    towers = {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16},
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
        },
    }
    (tmp_path / "Tiny-B-16.json").write_text(json.dumps(towers))
    open_clip.add_model_config(tmp_path / "Tiny-B-16.json")
    yield "Tiny-B-16"
    del open_clip.factory._MODEL_CONFIGS["Tiny-B-16"]


@pytest.mark.parametrize("layout", ["released", "training"])
def test_a_checkpoint_file_is_read_into_its_architecture(
    tmp_path, films, small_architecture, layout
):
    """CheXzero: OpenAI's layout with its three buffers; BMC-CLIP: what training stores."""
    torch.manual_seed(1)
    theirs = open_clip.create_model(small_architecture).eval()
    state = dict(theirs.state_dict())
    if layout == "released":
        numbers = {"input_resolution": 64, "context_length": 77, "vocab_size": 49408}
        content = state | {name: torch.tensor(value) for name, value in numbers.items()}
    else:
        prefixed = {f"module.{key}": value for key, value in state.items()}
        content = {"epoch": 3, "state_dict": prefixed, "optimizer": {"a": tmp_path}}
    torch.save(content, tmp_path / "weights.pt")
    card = {
        "name": "mine",
        "title": "",
        "family": "openclip",
        "architecture": small_architecture,
        "source": {"url": "none", "files": ["weights.pt"]},
        "licence": "",
        "trained_on": [],
        "verified": "never",
        "text": {"max_tokens": 77},
        "embedding_size": 24,
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(card))
    model = load(card=str(tmp_path / "mine.yaml"), path=str(tmp_path))
    pixels = seen(model, films)
    with torch.inference_mode():
        images = theirs.encode_image(pixels, normalize=True).numpy()
        texts = theirs.encode_text(open_clip.tokenize(TEXTS), normalize=True).numpy()
    ours = model.embed_images([model.prepare_image(film) for film in films])
    assert np.abs(ours - images).max() < 1e-6
    assert np.abs(model.embed_texts(TEXTS) - texts).max() < 1e-6
    del state["visual.proj"]
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(BenchError, match=r"does not fit the architecture: .*visual\.proj"):
        load(card=str(tmp_path / "mine.yaml"), path=str(tmp_path))


# --- heat maps


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
