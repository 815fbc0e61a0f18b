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
from harness.models import EmbeddingModel, NotScorable, Query, TokenCounter

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
