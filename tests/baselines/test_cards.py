"""Cards: complete, honest about what is absent, and refused when they say what they may not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from baselines.cards import FOLDER, card_names, card_summary, describe, read_card
from harness.errors import WeightsAbsent
from harness.exposure import exposure
from harness.geometry import read_geometry
from harness.samples import Dataset
from harness.suite import read_suite

MUST_HAVE = [
    "clip-vit-l-14",
    "openclip-vit-h-14",
    "siglip2-so400m-512",
    "biomedclip",
    "pubmedclip",
    "xraysiglip-l-16-384",
    "xrayclip-l-14",
    "medsiglip-448",
    "chexzero",
    "biovil-t",
    "biovil",
    "rad-dino",
    "medgemma-1.5-4b",
    "qwen2.5-vl-7b",
    "qwen3-vl-8b",
    "radvlm",
    "chexone",
    "paligemma2-3b-mix-448",
    "florence-2-large-ft",
    "grounding-dino-base",
    "cxr-clip-swint-mc",
    "carzero",
    "medklip",
    "radzero",
    "maira-2",
    "chexagent-2",
    "k2sight",
    "medrpg",
    "chex",
    "bmc-clip",
    "medimageinsight",
    "llm2clip4cxr",
]


@pytest.fixture(autouse=True)
def _empty_machine(monkeypatch, tmp_path_factory):
    """No weights anywhere: caches of the user are not looked at."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)


def test_the_models_that_must_be_there_have_cards():
    assert not set(MUST_HAVE) - set(card_names())


@pytest.mark.parametrize("name", card_names())
def test_a_card_reads_in_every_variant_and_its_absence_says_how_to_get_it(name):
    card = read_card(name)
    for variant in card.variants:
        assert read_card(name, variant) != card
    with pytest.raises(WeightsAbsent) as absent:
        describe(card=name)
    message = str(absent.value)
    assert message.startswith(f"{name}: ")
    assert f"Licence: {card.licence}" in message
    assert card.gate in message
    assert "bench fetch" in message or "export BENCH_W" in message
    assert all(card_summary(name))


def test_models_that_crop_and_draw_maps_have_a_variant_that_sees_the_whole_film():
    cropping = []
    for name in card_names():
        card = read_card(name)
        own = "crop" in card.image.geometry
        # Without a geometry on the card open_clip and CLIP crop the middle.
        library = not card.image.geometry and card.text and card.text.max_tokens in (77, 256)
        if card.patches and card.family != "external" and (own or library):
            cropping.append(name)
            whole = read_geometry(read_card(name, "full-field").image.geometry)
            for size in ((300, 200), (200, 301)):
                assert np.allclose(whole.frame(*size).field(), [0, 0, 1, 1]), name
    assert {"biovil", "biovil-t", "carzero", "biomedclip", "clip-vit-l-14"} <= set(cropping)


def test_the_grounding_suite_asks_both_variants():
    suite, _ = read_suite("suites/grounding.yaml")
    names = [model.name for model in suite.models]
    assert {"medsiglip-448", "xraysiglip-l-16-384", "chexzero"} <= set(names)
    for model in ("biovil", "biovil-t", "carzero", "biomedclip"):
        assert names.index(model) < names.index(f"{model}-full-field")
    variants = {m.name: m.options.get("variant") for m in suite.models if m.target == "biovil-t"}
    assert variants == {"biovil-t": None, "biovil-t-full-field": "full-field"}


def test_a_description_costs_no_torch():
    code = (
        "import sys; from baselines.cards import FOLDER, card_names, read_card\n"
        "[read_card(n) for n in card_names()]\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'open_clip')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_new_way_of_reading_answers_makes_stored_results_anew(monkeypatch):
    from baselines.cards import model_card
    from baselines.weights import Weights

    def told(name: str) -> str:
        return model_card(read_card(name), Weights(Path(), "x")).preprocessing

    names = ("medgemma-4b", "maira-2", "biovil-t", "gloria")
    before = [told(name) for name in names]
    monkeypatch.setattr("baselines.cards.VERSION", 99)
    changed = [told(name) != old for name, old in zip(names, before, strict=True)]
    assert changed == [True, True, False, False]


def test_what_a_model_saw_decides_its_mark():
    def mark(name: str, dataset: str, split: str = "test") -> str:
        card = read_card(name)
        from baselines.cards import model_card
        from baselines.weights import Weights

        data = Dataset(dataset, "grounding", split, "frontal", "1", ())
        return exposure(model_card(card, Weights(Path(), "x")), data)

    assert mark("biovil-t", "ms-cxr") == "internal"  # MIMIC-CXR train; MS-CXR lies in it
    assert mark("biovil-t", "padchest-gr") == "external"
    assert mark("chexzero", "mimic-cxr") == "contaminated"  # trained on all of it
    assert mark("radvlm", "ms-cxr") == "contaminated"
    assert mark("qwen2.5-vl-7b", "ms-cxr") == "unknown"
    assert mark("medsiglip-448", "padchest-gr") == "unknown"  # further data undisclosed
    assert mark("medsiglip-448", "ms-cxr") == "internal"
    assert mark("openclip-vit-h-14", "ms-cxr") == "external"


DUALS = ("openclip", "hf_dual", "checkpoint")


@pytest.mark.parametrize("name", MUST_HAVE)
def test_a_card_says_all_that_is_needed_to_run_the_model_as_its_authors_meant(name):
    card = read_card(name)
    assert card.title
    assert card.licence
    assert card.source.hub or card.source.url
    if card.source.hub and not card.source.pinned:
        lines = (FOLDER / f"{name}.yaml").read_text().splitlines()
        at = next(n for n, line in enumerate(lines) if line.strip().startswith("revision:"))
        assert "#" in lines[at] + lines[at - 1], "a branch needs a reason"
    if card.family in DUALS:
        assert card.embedding_size
        assert card.text or name == "rad-dino"
        assert card.patches or name in ("rad-dino", "cxr-clip-swint-mc")
    if card.family in ("checkpoint", "pair_scorer"):
        assert card.image.geometry
        assert len(card.image.mean) == len(card.image.std) == 3
    if card.family == "external":
        assert len(card.external.setup) > 20
    if card.family == "hf_vlm":
        assert "{phrase}" in card.vlm.prompt


def test_most_models_of_a_hub_are_pinned_to_a_commit():
    of_hub = [card for card in map(read_card, card_names()) if card.source.hub]
    pinned = [card for card in of_hub if card.source.pinned]
    assert len(pinned) >= 16
    branches = {card.name for card in of_hub} - {card.name for card in pinned}
    assert not {name for name in branches if read_card(name).runtime.remote_code}
