"""The pull of a loss is the gradient that training sends through the patch tokens."""

import pytest
import torch

from lofi.data import Batch, Batches
from lofi.model import LofiModel
from lofi.pull import pulls
from lofi.step import answers, contrast, forward
from tests.lofi.conftest import make, studies_for

WEIGHTS = {"sigmoid": 1.0, "captioning": 0.5, "grounding": 2.0, "dense_captioning": 0.25}


def batches_of(model: LofiModel, count: int = 2) -> list[Batch]:
    batches = Batches(
        studies_for(model), model.config, tokenizers=(model.prompts, model.text_tokenizer)
    )
    return [batches(step) for step in range(count)]


@pytest.mark.parametrize("stem", ["patch", "convolutions"])
def test_it_is_the_gradient_of_the_training_step_at_the_patch_tokens(stem):
    model = make(losses=WEIGHTS, towers={"stem": stem}, training={"batch_size": 6})
    batch = batches_of(model, 1)[0]
    model.eval()
    expected = {}
    for name, weight in WEIGHTS.items():
        features = forward(model, batch, weights=WEIGHTS)  # as a step does, gradients and all
        features.patches.retain_grad()
        if name == "sigmoid":
            loss = contrast(model, batch, features.image, features.text)
        else:
            loss = answers(model, features.patches, rows={name: batch.rows[name]})[name][0]
        (weight * loss).backward()
        expected[f"pull/{name}"] = float(features.patches.grad.norm())
    assert min(expected.values()) > 0
    assert pulls(model, [batch]) == pytest.approx(expected, rel=1e-5)


def test_twice_the_weight_pulls_twice_as_hard_and_alone():
    model = make(losses=WEIGHTS)
    once = pulls(model, batches_of(model))
    model.config = model.config.model_copy(
        update={"losses": model.config.losses.model_copy(update={"grounding": 4.0})}
    )
    twice = pulls(model, batches_of(model))
    assert twice == pytest.approx({**once, "pull/grounding": 2 * once["pull/grounding"]})


def test_nothing_of_the_model_or_of_chance_is_changed():
    model = make(towers={"stem": "convolutions"}).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    dice = torch.get_rng_state()
    pulls(model, batches_of(model))
    assert model.training
    assert all(value.grad is None for value in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(dice, torch.get_rng_state())


def test_of_micro_batches_the_first_is_asked():
    model = make(training={"batch_size": 6, "micro_batch": 2})
    first = [batch.part(0, 2) for batch in batches_of(model)]
    assert pulls(model, batches_of(model)) == pytest.approx(pulls(model, first))


@pytest.mark.parametrize(
    "changes",
    [
        {"losses": {"captioning": 0, "grounding": 0, "dense_captioning": 0}},
        {"adapters": {"freeze_encoder": True}},
    ],
)
def test_one_loss_alone_or_a_frozen_encoder_has_nothing_to_compare(changes):
    model = make(**changes)
    assert pulls(model, batches_of(model)) == {}
