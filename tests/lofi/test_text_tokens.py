"""What the text tower reads: SigLIP 2's ids for pretrained towers, the old ones for small ones."""

import string
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoTokenizer, GemmaTokenizer

from baselines import hf_dual
from baselines.card_schema import TextRules
from harness.chunks import chunk_text
from harness.registry import shipped_checkpoints
from lofi.adapter import LofiAdapter
from lofi.build import build
from lofi.checkpoint import from_pretrained, save_pretrained
from lofi.prompt import token_counts, token_ids
from lofi.read import chunks
from tests.lofi.conftest import make, save_siglip, settings, world

LENGTH = 16
EOS = 1
TEXTS = ["Left", "", "no effusion", "exactly fifteen", "Longer than sixteen TOKENS."]


@pytest.fixture(scope="module")
def siglip(tmp_path_factory) -> Path:
    """A SigLIP folder whose tokenizer appends <eos>, one token a letter; its file pads left."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁"]
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    names = [*specials, *fallback, *string.printable[:94]]
    tokenizer = GemmaTokenizer(
        vocab={name: number for number, name in enumerate(names)},
        merges=[],
        add_bos_token=False,
        add_eos_token=True,
        padding_side="left",
        model_max_length=64,
    )
    folder = tmp_path_factory.mktemp("siglip")
    vision = {"image_size": 32, "patch_size": 8}
    return save_siglip(folder, tokenizer, vision, {"max_position_embeddings": LENGTH})


@pytest.fixture(scope="module")
def pretrained(siglip):
    """A LoFi on these towers."""
    return build(settings(towers={"pretrained": str(siglip)}), [text for _, text, _ in world()])


def tower(folder: Path):
    """The text side of the harness's row of the same folder."""
    rules = TextRules(max_tokens=LENGTH, padding="max_length")
    model = SimpleNamespace(config=SimpleNamespace(model_type="siglip"))
    card = SimpleNamespace(name="siglip", text=rules)
    return hf_dual._text_tower(model, card, SimpleNamespace(folder=folder), "cpu")


def test_pretrained_towers_read_what_the_harness_gives_siglip_2(siglip, pretrained, tmp_path):
    theirs = tower(siglip).tokenize([text.lower() for text in TEXTS])["input_ids"]  # by its card
    assert theirs[0].tolist()[4:] == [EOS] + [0] * 11  # "left" is four tokens
    assert theirs[-1, -1] == EOS
    assert torch.equal(token_ids(pretrained.text_tokenizer, TEXTS, LENGTH), theirs)
    save_pretrained(pretrained, tmp_path / "stored")
    stored = from_pretrained(tmp_path / "stored")
    assert torch.equal(token_ids(stored.text_tokenizer, TEXTS, LENGTH), theirs)


def test_tokens_are_counted_as_the_harness_counts_siglip_2s(siglip, pretrained):
    counted = LofiAdapter(pretrained, card=None).count_tokens(TEXTS)
    assert counted == tower(siglip).count(TEXTS)
    assert counted[:2] == [5, 1]


def test_a_chunk_has_room_for_its_end(pretrained):
    tokenizer = pretrained.text_tokenizer
    sentence = "sixteen letters."  # with <eos> one too many
    found = chunks(f"{sentence} left. right.", tokenizer, LENGTH)
    assert found == ("sixteen", "letters. left.", "right.")
    assert max(token_counts(tokenizer, found)) <= LENGTH


def test_asking_in_other_ways_before_changes_nothing(pretrained):
    tokenizer = pretrained.text_tokenizer
    first = token_ids(tokenizer, TEXTS, LENGTH)
    tokenizer(TEXTS, padding=True, padding_side="left")
    assert token_counts(tokenizer, ["left"]) == [5]
    assert torch.equal(token_ids(tokenizer, TEXTS, LENGTH), first)


REPORTS = [
    "There is a left nodule.",
    "",
    "É ñ: 12 mm, <eos> 0.5",
    "No effusion. Clear lungs. " * 20,
]


def small(name: str):
    """The tokenizer of a shipped model, or one just trained."""
    if name == "fresh":
        return make().text_tokenizer
    return AutoTokenizer.from_pretrained(shipped_checkpoints()[name] / "tokenizer")


@pytest.mark.parametrize("name", ["lofi-tiny", "siglip-tiny", "fresh"])
def test_a_small_tokenizer_gives_the_ids_that_its_weights_were_trained_on(name):
    other = small(name)

    def plain(texts):
        return other(list(texts), add_special_tokens=False)["input_ids"]

    tokenizer = small(name)
    assert token_counts(tokenizer, REPORTS) == [len(ids) for ids in plain(REPORTS)]
    cut = [(ids + [tokenizer.pad_token_id] * 48)[:48] for ids in plain(REPORTS)]
    assert token_ids(tokenizer, REPORTS, 48).tolist() == cut
    as_before = chunk_text(REPORTS[-1], 48, lambda texts: [len(ids) for ids in plain(texts)])
    assert list(chunks(REPORTS[-1], tokenizer, 48)) == as_before
    assert len(as_before) > 1
