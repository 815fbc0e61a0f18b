"""What a damaged directory is told: the folder, what is missing or damaged, and what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from harness.errors import BenchError
from lofi.checkpoint import WEIGHTS, from_pretrained, save_pretrained
from tests.lofi.conftest import make

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound directory, with a tokenizer of its own for the text tower, weights in bf16."""
    model = make()
    folder = tmp_path_factory.mktemp("whole") / "m"
    save_pretrained(model, folder, dtype=torch.bfloat16)
    shutil.copytree(folder / "tokenizer", folder / "text_tokenizer")
    return folder


def cut(name: str, size: int) -> Damage:
    def damage(folder: Path) -> None:
        file = folder / name
        file.write_bytes(file.read_bytes()[:size])

    return damage


def config(change: Callable[[dict], object]) -> Damage:
    def damage(folder: Path) -> None:
        file = folder / "config.json"
        stored = json.loads(file.read_text())
        change(stored)
        file.write_text(json.dumps(stored))

    return damage


DAMAGED = {
    "no weights": (lambda f: (f / WEIGHTS).unlink(), f"no {WEIGHTS}"),
    "weights cut in their head": (
        cut(WEIGHTS, 1000),
        rf"{WEIGHTS}: cannot be read .SafetensorError",
    ),
    "weights cut at the end": (cut(WEIGHTS, -10), rf"{WEIGHTS}: cannot be read .SafetensorError"),
    "empty weights": (cut(WEIGHTS, 0), rf"{WEIGHTS}: cannot be read .SafetensorError"),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "/tokenizer: no tokenizer_config"),
    "a tokenizer without its settings": (
        lambda f: (f / "tokenizer" / "tokenizer_config.json").unlink(),
        r"/tokenizer: no tokenizer_config\.json",
    ),
    "a tokenizer without its words": (
        lambda f: (f / "tokenizer" / "tokenizer.json").unlink(),
        "/tokenizer: cannot be read",
    ),
    "words cut off": (cut("tokenizer/tokenizer.json", 50), "/tokenizer: cannot be read"),
    "words of the text tower cut off": (
        cut("text_tokenizer/tokenizer.json", 50),
        "/text_tokenizer: cannot be read",
    ),
    "settings cut off": (cut("config.json", 5), r"config\.json: "),
    "settings that are a list": (lambda f: (f / "config.json").write_text("[]"), "found list"),
    "no settings of the towers": (config(lambda c: c.pop("towers")), r"towers: found nothing"),
    "null settings": (config(lambda c: c.update(settings=None)), r"settings: found nothing"),
    "a decoder that is a word": (config(lambda c: c.update(decoder="x")), r"decoder: found str"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_directory_is_refused_by_its_name_and_what_it_lacks(
    whole: Path, tmp_path: Path, what: str
) -> None:
    damage, said = DAMAGED[what]
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    damage(folder)
    with pytest.raises(BenchError, match=said) as caught:
        from_pretrained(folder)
    assert str(caught.value).startswith(str(folder))
    assert "Expected" in str(caught.value)


def test_weights_stored_in_half_precision_are_loaded_as_fp32(whole: Path) -> None:
    stored = {value.dtype for value in load_file(whole / WEIGHTS).values()}
    assert torch.bfloat16 in stored
    model = from_pretrained(whole)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert not model.training


@pytest.mark.parametrize(
    ("part", "flag"), [("towers", "--encoder FOLDER"), ("decoder", "--decoder FOLDER")]
)
def test_a_base_model_that_is_nowhere_is_named_with_the_ways_to_give_it(
    tmp_path: Path, part: str, flag: str
) -> None:
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(BenchError, match=flag) as caught:
        make(**{part: {"pretrained": nowhere}})
    assert str(caught.value).startswith(f"{part}.pretrained={nowhere}: ")
    assert f"-o {part}.pretrained=FOLDER" in str(caught.value)
