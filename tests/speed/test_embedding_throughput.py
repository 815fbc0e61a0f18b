"""Embedding through the harness against a bare loop over the same network and transform."""

import time

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch

from baselines.card_schema import Card
from baselines.dual import DualEncoder, Towers
from baselines.openclip import official_geometry
from baselines.pixels import PixelRules
from harness.geometry import read_geometry
from harness.images import Image
from harness.models import ModelCard
from harness.tasks.embedding import prepared_batches

FILMS, BATCH, ROUNDS = 96, 16, 3


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> list[Image]:
    folder = tmp_path_factory.mktemp("films")
    y, x = np.mgrid[:1200, :1000]
    images = []
    for number in range(FILMS):
        grey = 128 + 80 * np.sin(x / (40 + number)) * np.cos(y / 70)
        PIL.Image.fromarray(grey.astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)
        images.append(Image(str(number), folder / f"{number}.jpg"))
    return images


def bare(network, transform, films) -> np.ndarray:
    rows = []
    with torch.inference_mode():
        for start in range(0, len(films), BATCH):
            opened = [PIL.Image.open(f.file).convert("RGB") for f in films[start : start + BATCH]]
            pixels = torch.stack([transform(one) for one in opened])
            rows.append(torch.nn.functional.normalize(network.encode_image(pixels), dim=-1))
    return torch.cat(rows).numpy()


@pytest.mark.speed
def test_embedding_is_at_least_95_percent_as_fast_as_a_bare_loop(films, monkeypatch):
    monkeypatch.setattr("baselines.shared_films.MOST_BYTES", 0)  # no film is remembered
    network, _, transform = open_clip.create_model_and_transforms("ViT-B-32")
    network.eval()
    config = network.visual.preprocess_cfg
    pixels = PixelRules(
        read_geometry(official_geometry(config)), tuple(config["mean"]), tuple(config["std"])
    )
    card = Card.model_validate(
        {
            "name": "vit",
            "title": "",
            "family": "openclip",
            "source": {"url": "none"},
            "licence": "",
            "trained_on": [],
            "verified": "never",
        }
    )
    towers = Towers(pixels, network.encode_image, None, None)
    model = DualEncoder(ModelCard("vit", "openclip"), towers, card)
    seconds: dict[str, list[float]] = {"bare": [], "harness": []}
    for _ in range(ROUNDS):
        started = time.perf_counter()
        theirs = bare(network, transform, films)
        seconds["bare"].append(time.perf_counter() - started)
        started = time.perf_counter()
        batches = prepared_batches(model, films, BATCH)
        ours = np.concatenate([model.embed_images(batch) for batch in batches])
        seconds["harness"].append(time.perf_counter() - started)
    ratio = min(seconds["bare"]) / min(seconds["harness"])
    print(f"bare {FILMS / min(seconds['bare']):.1f} films/s, harness {ratio:.2f} times that")
    assert np.abs(ours - theirs).max() < 0.02  # films come reduced out of the JPEG decoder
    assert ratio >= 0.95
