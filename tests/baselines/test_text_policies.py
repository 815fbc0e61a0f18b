"""Both text policies for every dual encoder: what is cut is counted, what is chunked is whole."""

import numpy as np
import pytest

from baselines.cards import load
from harness.samples import Dataset
from harness.tasks.embedding import embed_texts, tokens_cut
from harness.tasks.task import Asking

DUALS = [
    "tiny-openclip",
    "tiny-openclip-bert",
    "tiny-siglip",
    "tiny-clip",
    "tiny-biovil-t",
    "tiny-cxr-clip",
]
SHORT = "Small left effusion."
LONG = " ".join(f"Sentence {n} tells of a left lower opacity, seen {n} times." for n in range(30))


def asking(model, policy: str) -> Asking:
    data = Dataset("manifest", "retrieval", "all", "as-given", "1", ())
    return Asking(model=model, card=model.card, dataset=data, sink=None, text_policy=policy)


@pytest.mark.parametrize("name", DUALS)
def test_the_official_policy_cuts_where_the_model_does_and_counts_it(tiny, name):
    model = load(card=tiny(name))
    limit = model.card.max_tokens
    official = embed_texts(asking(model, "official"), model, [SHORT, LONG])
    assert np.abs(official - model.embed_texts([SHORT, LONG])).max() < 1e-5
    # What stands after the limit changes nothing. One token is a letter or more.
    other = embed_texts(asking(model, "official"), model, [LONG + " No further finding."])
    assert np.abs(official[1] - other[0]).max() < 1e-5
    counts = tokens_cut(asking(model, "official"), model, [SHORT, LONG])
    [over] = model.count_tokens([LONG])
    assert counts == {"tokens_cut": float(over - limit), "texts_cut": 1.0}
    assert tokens_cut(asking(model, "chunk-mean"), model, [LONG]) == {}


@pytest.mark.parametrize("name", DUALS)
def test_the_mean_of_chunks_reads_every_word_within_the_models_limit(tiny, name, monkeypatch):
    model = load(card=tiny(name))
    read: list[str] = []
    embed = type(model).embed_texts
    monkeypatch.setattr(
        type(model),
        "embed_texts",
        lambda self, texts: (read.extend(texts), embed(self, texts))[1],
    )
    vectors = embed_texts(asking(model, "chunk-mean"), model, [SHORT, LONG])
    assert " ".join(read).split() == f"{SHORT} {LONG}".split()
    assert len(read) > 3
    assert max(model.count_tokens(read)) <= model.card.max_tokens
    mean = embed(model, read[1:]).mean(axis=0)
    assert np.abs(vectors[1] - mean / np.linalg.norm(mean)).max() < 1e-5
    assert np.abs(vectors[0] - embed(model, [SHORT])[0]).max() < 1e-5
