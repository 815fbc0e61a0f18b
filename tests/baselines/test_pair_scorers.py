"""Models that score pairs: the same in any block and order, each side read once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import yaml

from baselines import carzero, medklip
from baselines.cards import load
from harness.images import Image
from harness.metrics.ranking import rank_pairs
from harness.models import GroundingModel, NotScorable, PairScorer, Query
from harness.samples import Dataset, ImageRef, ImageText
from harness.tasks.retrieval import _source, retrieval_pool
from harness.tasks.task import Asking

PAIRS = ["tiny-carzero", "tiny-medklip"]
TEXTS = ["Small left pleural effusion.", "No acute process; lungs clear!", "Heart size is normal"]


def loaded(tiny, name: str):
    return load("cpu", card=tiny(name))


def pool(films) -> list[ImageText]:
    refs = [ImageRef(f.image_id, f.file, f"p{n}", f"s{n}") for n, f in enumerate(films)]
    return [ImageText(r.image_id, r, TEXTS[n % 3] + f" {n}.") for n, r in enumerate(refs)]


def asking_about(model, samples, **options) -> Asking:
    data = Dataset("manifest", "retrieval", "all", "as-given", "1", tuple(samples))
    return Asking(model=model, card=model.card, dataset=data, sink=None, batch_size=3, **options)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_are_scored_the_same_in_any_block_and_order(tiny, films, name, monkeypatch):
    model = loaded(tiny, name)
    assert isinstance(model, PairScorer)
    assert isinstance(model, GroundingModel)
    prepared = [model.prepare_image(film) for film in films]
    whole = model.score(prepared, TEXTS)
    assert (whole.shape, whole.dtype) == ((4, 3), np.float32)
    assert len(np.unique(whole.round(6))) > 3
    monkeypatch.setattr("baselines.pair_scorer.BLOCK", 2)
    model._texts = ((), [])
    assert np.abs(model.score(prepared, TEXTS) - whole).max() < 1e-5
    turned = model.score(prepared[::-1], TEXTS[::-1])[::-1, ::-1]
    assert np.abs(turned - whole).max() < 1e-5
    single = np.array([[model.score([p], [t])[0, 0] for t in TEXTS] for p in prepared])
    assert np.abs(single - whole).max() < 1e-5


@pytest.mark.parametrize("name", PAIRS)
def test_a_pool_is_ranked_with_each_film_and_each_text_read_once(tiny, films, name, monkeypatch):
    model = loaded(tiny, name)
    films_read, texts_read = [], []
    towers = model.towers
    model.towers = replace(
        towers,
        images=lambda pixels: (films_read.append(len(pixels)), towers.images(pixels))[1],
        texts=lambda block: (texts_read.append(len(block)), towers.texts(block))[1],
    )
    monkeypatch.setattr("baselines.pair_scorer.BLOCK", 2)
    samples = pool(films)
    ranks, bearers = retrieval_pool(samples)
    texts = [samples[row].text for row in bearers]
    source, counts = _source(asking_about(model, samples), samples, texts)
    found = rank_pairs(ranks, source)
    assert (sum(films_read), sum(texts_read)) == (4, 4)
    assert (max(films_read), max(texts_read)) == (3, 2)
    assert counts == {"tokens_cut": 0.0, "texts_cut": 0.0}
    scores = model.score([model.prepare_image(film) for film in films], texts)
    expected = [1 + int((row >= row[n]).sum()) - 1 for n, row in enumerate(scores)]
    ranked = found["image_to_text"].under("instance").rank
    assert ranked.tolist() == expected


@pytest.mark.parametrize("name", PAIRS)
def test_without_vectors_there_is_no_mean_of_chunks(tiny, films, name):
    model = loaded(tiny, name)
    samples = pool(films)
    with pytest.raises(NotScorable, match="no vectors of chunks"):
        _source(asking_about(model, samples, text_policy="chunk-mean"), samples, TEXTS)


@pytest.mark.parametrize("name", PAIRS)
def test_a_query_has_the_same_map_alone_and_among_others(tiny, films, name):
    model = loaded(tiny, name)
    queries = [Query(films[0], "left mass"), Query(films[1], "effusion"), Query(films[0], "clear")]
    for query, answer in zip(queries, model.ground(queries), strict=True):
        alone = model.ground([query])[0].heatmap
        assert np.array_equal(np.isnan(alone), np.isnan(answer.heatmap))
        assert np.nanmax(np.abs(alone - answer.heatmap)) < 1e-6
        assert np.nanmin(alone) > 0


@pytest.mark.parametrize("name", PAIRS)
def test_a_template_and_a_stretch_on_the_card_reach_the_model(tiny, films, tmp_path, name):
    card = yaml.safe_load(Path(tiny(name), "card.yaml").read_text())
    card["text"]["template"] = "there is {}"
    card["image"]["stretch"] = True
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(card))
    plain, told = loaded(tiny, name), load(card=str(tmp_path / "c.yaml"), path=tiny(name))
    grey = (films[0].read() // 2 + 40).astype(np.uint8)
    PIL.Image.fromarray(grey).save(tmp_path / "grey.png")
    values = (grey - grey.min()).astype(np.float64)
    PIL.Image.fromarray((values / values.max() * 255).astype(np.uint8)).save(tmp_path / "wide.png")
    low, wide = (Image(file, tmp_path / file) for file in ("grey.png", "wide.png"))
    assert np.array_equal(told.prepare_image(low), plain.prepare_image(wide))
    prepared = [plain.prepare_image(wide)]
    asked = [f"there is {text}" for text in TEXTS]
    assert np.array_equal(told.score(prepared, TEXTS), plain.score(prepared, asked))
    assert told.count_tokens(TEXTS) == plain.count_tokens(asked)
    [ours], [theirs] = (
        model.ground([Query(wide, phrase)])
        for model, phrase in ((told, "effusion"), (plain, "there is effusion"))
    )
    assert np.array_equal(ours.heatmap, theirs.heatmap, equal_nan=True)


# --- CARZero


def test_carzero_sums_the_pieces_of_a_word():
    marks = ["[CLS]", "ef", "##fus", "##ion", "left", "[SEP]", "[PAD]", "[PAD]"]
    assert carzero.word_numbers(marks) == [0, 1, 1, 1, 2, 3, -1, -1]


def test_carzero_attends_to_all_tokens_and_shows_its_patches(tiny, films):
    model = loaded(tiny, "tiny-carzero")
    network = model.towers.score.__self__
    pixels = model.pixels.tensor([model.prepare_image(films[1])], "cpu")
    with torch.inference_mode():
        texts, tokens = model.towers.texts(["left effusion"]), model.towers.images(pixels)
        _, attention = network.fusion(tokens, texts[:, 0])
        shown = model.towers.attention(tokens, texts)
    assert attention.sum(dim=-1).item() == pytest.approx(1, abs=1e-6)
    assert torch.equal(shown, attention[..., 1:])  # the first token is no place


# --- MedKLIP


@pytest.fixture
def query_decoder():
    torch.manual_seed(3)
    sizes = medklip.Sizes(width=16, features=256, text=12, hidden=24, layers=2, blocks=(1, 1, 1))
    return medklip.MedKlip(sizes).eval()


@torch.inference_mode()
def test_the_decoder_is_that_of_torch_and_a_text_does_not_see_the_others(query_decoder):
    patches, book, texts = torch.randn(2, 9, 16), torch.randn(5, 12), torch.randn(3, 12)
    ours, attention = query_decoder(patches, texts, book)
    layers = [
        torch.nn.TransformerDecoderLayer(16, 4, 24, dropout=0.0, batch_first=True, norm_first=True)
        for _ in range(2)
    ]
    for theirs, layer in zip(layers, query_decoder.decoder.layers, strict=True):
        theirs.load_state_dict(layer.state_dict())
        theirs.eval()
    for n, text in enumerate(texts):
        queries = query_decoder.disease_embedding_layer(torch.cat([book, text[None]]))
        rows = queries.expand(2, -1, -1)
        mask = torch.zeros(6, 6, dtype=torch.bool)
        mask[:5, 5] = True  # the book does not see what is asked beside it
        for layer in layers:
            rows = layer(rows, patches, tgt_mask=mask)
        absent, present = query_decoder.classifier(query_decoder.decoder.norm(rows[:, 5])).T
        assert torch.allclose(ours[:, n], present - absent, atol=1e-5)
    assert torch.allclose(attention.sum(dim=-1), torch.ones(2, 3), atol=1e-6)


@torch.inference_mode()
def test_the_book_is_seen_by_a_text(query_decoder):
    patches, text = torch.randn(1, 9, 16), torch.randn(1, 12)
    one, other = (query_decoder(patches, text, torch.randn(4, 12))[0] for _ in range(2))
    assert not torch.allclose(one, other, atol=1e-6)


@torch.inference_mode()
def test_medklip_patches_are_the_third_stage_of_a_resnet_row_by_row(query_decoder):
    pixels = torch.randn(1, 3, 64, 32)
    grid = query_decoder.res_features(pixels)
    assert grid.shape == (1, 256, 4, 2)
    patches = query_decoder.patches(pixels)
    single = query_decoder.res_l2(torch.relu(query_decoder.res_l1(grid[0, :, 1, 0])))
    assert torch.allclose(patches[0, 2], single, atol=1e-6)
