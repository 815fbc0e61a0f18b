"""Autocast by card: on a GPU only, vectors in float32 all the same, and a cache of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines.card_schema import Runtime
from baselines.cards import load
from baselines.precision import compute_dtype, precision_name
from harness.embedding_cache import open_cache
from harness.samples import Dataset, ImageRef
from harness.tasks.embedding import embed_images, embed_texts
from harness.tasks.task import Asking

DUALS = ["tiny-openclip", "tiny-siglip", "tiny-biovil-t", "tiny-cxr-clip"]
TEXTS = ["Small left pleural effusion.", "No acute process; lungs clear!"]


def bf16(model):
    """The model as a card with `dtype: bfloat16` has it on a GPU."""
    return replace(model, dtype=torch.bfloat16)


@pytest.mark.parametrize("name", DUALS)
def test_autocast_changes_the_arithmetic_and_neither_type_nor_length(tiny, films, name):
    model = load(card=tiny(name))
    half = bf16(model)
    prepared = [model.prepare_image(film) for film in films]
    for exact, rounded in (
        (model.embed_images(prepared), half.embed_images(prepared)),
        (model.embed_texts(TEXTS), half.embed_texts(TEXTS)),
    ):
        assert rounded.dtype == np.float32
        assert np.allclose(np.linalg.norm(rounded, axis=1), 1, atol=1e-6)
        assert not np.array_equal(exact, rounded)
        assert ((exact * rounded).sum(axis=1) > 0.99).all()


@pytest.mark.parametrize("name", ["tiny-carzero", "tiny-medklip"])
def test_pairs_are_scored_under_autocast_too(tiny, films, name):
    model = load(card=tiny(name))
    half = replace(model, dtype=torch.bfloat16, _texts=((), []))
    prepared = [model.prepare_image(film) for film in films]
    exact, rounded = model.score(prepared, TEXTS), half.score(prepared, TEXTS)
    assert rounded.dtype == np.float32
    assert not np.array_equal(exact, rounded)
    assert np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


def test_a_cards_dtype_holds_on_a_gpu_and_a_cpu_stays_in_float32():
    rules = Runtime(dtype="bfloat16")
    assert compute_dtype(rules, "cuda:1") == torch.bfloat16
    assert compute_dtype(rules, "cpu") == torch.float32
    assert compute_dtype(Runtime(), "cuda") == torch.float32
    assert precision_name(torch.bfloat16) == "bfloat16-autocast"
    assert precision_name(torch.float32) == "float32"


def test_vectors_of_one_precision_are_never_given_for_those_of_another(tiny, films, tmp_path):
    model = load(card=tiny("tiny-siglip"))
    refs = [ImageRef(f.image_id, f.file, f.image_id, f.image_id) for f in films]
    data = Dataset("manifest", "retrieval", "all", "as-given", "1", ())

    def vectors(asked):
        asking = Asking(
            model=asked,
            card=asked.card,
            dataset=data,
            sink=None,
            embeddings=lambda card, modality: open_cache(card, modality, root=tmp_path),
        )
        return embed_images(asking, asked, refs), embed_texts(asking, asked, TEXTS)

    for asked in (bf16(model), model, bf16(model)):
        images, texts = vectors(asked)
        fresh = asked.embed_images([asked.prepare_image(film) for film in films])
        assert np.abs(images - fresh).max() < 1e-6
        assert np.abs(texts - asked.embed_texts(TEXTS)).max() < 1e-6
    assert len(list((tmp_path / "embeddings").iterdir())) == 4
