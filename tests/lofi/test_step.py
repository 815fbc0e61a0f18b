"""A step's gradients: weight 0 leaves nothing, parts equal the whole, two processes equal one."""

from contextlib import nullcontext
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from lofi.config import LOSSES
from lofi.data import Batches, Studies
from lofi.step import backward
from lofi.train import _checkpoint_activations
from tests.lofi.conftest import make, studies_for


def batch_of(model, step=0, share=(0, 1)):
    tools = (model.prompts, model.text_tokenizer)
    return Batches(studies_for(model), model.config, tokenizers=tools, share=share)(step)


def gradients(model, step=0, share=(0, 1)):
    model.zero_grad(set_to_none=True)
    weights = model.config.losses.model_dump()
    batch = batch_of(model, step, share)
    values = backward(model, batch, weights=weights, autocast=nullcontext)
    return values, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_of_weight_zero_is_not_computed_and_leaves_no_gradient(loss):
    model = make(losses={loss: 0.0})
    values, found = gradients(model)
    assert loss not in values
    assert set(values) == set(LOSSES) - {loss}
    text = [name for name in found if "text_model" in name]
    assert bool(text) == (loss != "sigmoid")


def test_without_the_sigmoid_loss_the_text_tower_and_the_image_head_are_not_run():
    model = make(losses={"sigmoid": 0.0})
    refuse = mock.Mock(side_effect=AssertionError("was run"))
    model.towers.text_model.forward = refuse
    model.towers.vision_model.head.forward = refuse
    gradients(model)


def test_without_the_decoder_losses_the_decoder_and_the_pooling_are_not_run():
    model = make(losses={"captioning": 0, "grounding": 0, "dense_captioning": 0})
    refuse = mock.Mock(side_effect=AssertionError("was run"))
    model.decoder.model.forward = refuse
    model.pooling.forward = refuse
    _, found = gradients(model)
    assert not [name for name in found if name.startswith(("decoder", "pooling", "projection"))]


def test_without_a_loss_the_other_gradients_are_what_they_were():
    whole = make()
    _, full = gradients(whole)
    parts = {}
    for loss in LOSSES:
        only = make(
            losses={name: (5.0 if name != "sigmoid" else 1.0) * (name == loss) for name in LOSSES}
        )
        only.load_state_dict(whole.state_dict())
        for name, grad in gradients(only)[1].items():
            parts[name] = parts.get(name, 0) + grad
    for name, grad in full.items():
        assert torch.allclose(parts[name], grad, atol=2e-6), name


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_alone_teaches_the_image_tower(loss):
    """Were one cut off from it, an ablation would find that it is worth nothing."""
    only = make(losses={name: float(name == loss) for name in LOSSES})
    _, found = gradients(only)
    tower = [grad for name, grad in found.items() if name.startswith("towers.vision_model.enc")]
    assert tower
    assert all(float(grad.abs().max()) > 0 for grad in tower)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_micro_batches_give_the_gradient_of_the_whole_batch(size):
    whole, parts = make(), make(training={"micro_batch": size})
    parts.load_state_dict(whole.state_dict())
    expected, full = gradients(whole)
    found, cached = gradients(parts)
    assert found == pytest.approx(expected, abs=1e-5)
    assert full.keys() == cached.keys()
    for name, grad in full.items():
        assert torch.allclose(cached[name], grad, atol=1e-5), name


def test_the_batch_of_a_step_depends_on_seed_and_step_alone():
    model = make()
    one, again = batch_of(model, 3), batch_of(model, 3)
    other = batch_of(model, 4)
    assert torch.equal(one.pixels, again.pixels)
    assert torch.equal(one.texts, again.texts)
    assert not torch.equal(one.pixels, other.pixels)


def test_the_shares_of_two_processes_are_together_the_batch_of_one():
    model = make(data={"brightness": 0.2, "shift": 0.1})
    whole = batch_of(model, 2)
    parts = [batch_of(model, 2, (index, 2)) for index in range(2)]
    assert torch.equal(torch.cat([part.pixels for part in parts]), whole.pixels)
    assert torch.equal(torch.cat([part.row for part in parts]), whole.row)
    assert torch.equal(torch.cat([part.texts for part in parts]), whole.texts)
    asked = sum(len(part.rows["grounding"].image) for part in parts)
    assert asked == len(whole.rows["grounding"].image)


def test_a_normal_study_is_redrawn_with_the_chance_given_and_others_never():
    model = make(data={"replace_normals": 0.7}, training={"batch_size": 12})
    studies = studies_for(model)
    normal = {n for n, item in enumerate(studies.items) if not item.regions}
    items = tuple(replace(item, normal=n in normal) for n, item in enumerate(studies.items))
    tools = (model.prompts, model.text_tokenizer)
    batches = Batches(Studies(studies.squares, items), model.config, tokenizers=tools)
    kept = [
        batches._redrawn(image, np.random.default_rng([image, n])) == image
        for image in range(12)
        for n in range(100)
    ]
    share = np.reshape(kept, (12, 100)).mean(1)
    assert all(share[n] == 1 for n in range(12) if n not in normal)
    # 0.3 are kept, and one in twelve of the others is drawn again.
    assert np.mean([share[n] for n in normal]) == pytest.approx(0.3 + 0.7 / 12, abs=0.08)


def test_checkpointed_activations_leave_the_gradients_as_they_are():
    plain, spared = make(), make()
    spared.load_state_dict(plain.state_dict())
    _checkpoint_activations(spared)
    layers = (spared.towers.vision_model.encoder, spared.decoder.model)
    assert all(layer.gradient_checkpointing for part in layers for layer in part.layers)
    values, found = gradients(plain.train())
    again, other = gradients(spared.train())
    assert again == pytest.approx(values)
    assert found.keys() == other.keys()
    assert all(torch.allclose(other[name], grad, atol=1e-6) for name, grad in found.items())


def test_an_epoch_shows_every_image_once():
    from lofi.data import order

    seen = np.concatenate([order(5, step, size=4, total=10) for step in range(5)])
    assert sorted(seen[:10]) == list(range(10))
    assert sorted(seen[10:]) == list(range(10))


def _rank(index: int, port: int, folder: str, state: dict) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=index, world_size=2)
    model = make()
    model.load_state_dict(state)
    values, found = gradients(model, share=(index, 2))
    for grad in found.values():
        dist.all_reduce(grad)
        grad /= 2
    torch.save((values, found), f"{folder}/{index}.pt")
    dist.destroy_process_group()


def test_two_processes_have_the_gradient_of_one(tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = make()
    # Positives on different ranks: all texts of the small world repeat.
    mp.spawn(_rank, args=(port, str(tmp_path), model.state_dict()), nprocs=2)
    expected, full = gradients(model)
    parts = [torch.load(tmp_path / f"{index}.pt", weights_only=True) for index in range(2)]
    for name, value in expected.items():
        assert (parts[0][0][name] + parts[1][0][name]) / 2 == pytest.approx(value, abs=1e-6)
    for name, grad in full.items():
        assert torch.allclose(parts[0][1][name], grad, atol=1e-6), name
