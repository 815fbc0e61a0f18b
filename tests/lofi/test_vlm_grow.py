"""A trained multi-image model that goes on with more layers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import BenchError
from lofi.vlm import grow
from lofi.vlm.save import load_vlm
from tests.lofi.test_vlm import config_of, lofi, run_in  # noqa: F401


@pytest.fixture
def earlier(tmp_path, lofi) -> Path:  # noqa: F811
    """The checkpoint of one step; its model has one extra layer."""
    run_in(tmp_path, lofi, steps=1)
    return tmp_path / "checkpoint"


def some_ids(parts) -> torch.Tensor:
    return torch.tensor(parts[1].tokenizer("There are block.")["input_ids"])[None]


def logits(model, ids) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(input_ids=ids, token_type_ids=torch.zeros_like(ids)).logits.numpy()


def test_new_layers_that_say_nothing_change_nothing(earlier, monkeypatch) -> None:
    monkeypatch.setattr(grow, "DAMPED", 0.0)
    before = load_vlm(earlier)
    ids = some_ids(before)
    deeper, _ = grow.grow(earlier, config_of(extra_layers=3))
    assert deeper.config.text_config.num_hidden_layers == 2 + (
        before[0].config.text_config.num_hidden_layers
    )
    np.testing.assert_allclose(logits(deeper, ids), logits(before[0], ids), atol=1e-6)


def test_new_layers_stand_below_the_last_and_are_damped(earlier) -> None:
    old = load_vlm(earlier)[0].model.language_model.layers
    new = grow.grow(earlier, config_of(extra_layers=2))[0].model.language_model.layers
    for name, value in old[-1].state_dict().items():
        assert torch.equal(value, new[-1].state_dict()[name])
    kept = 1 + new[-2].post_attention_layernorm.weight
    whole = 1 + old[-2].post_attention_layernorm.weight
    assert torch.allclose(kept, grow.DAMPED * whole)


def test_as_many_layers_leave_the_model_as_it_is(earlier) -> None:
    before = load_vlm(earlier)[0]
    ids = some_ids(load_vlm(earlier))
    same, _ = grow.grow(earlier, config_of(extra_layers=1))
    np.testing.assert_array_equal(logits(same, ids), logits(before, ids))


def test_fewer_layers_are_refused(earlier) -> None:
    with pytest.raises(
        BenchError, match=r"it has 1 extra layers\. Expected at most extra_layers 0"
    ):
        grow.grow(earlier, config_of(extra_layers=0))


def test_only_a_checkpoint_is_gone_on_from(earlier, tmp_path) -> None:
    assert grow.is_earlier_vlm(str(earlier))
    assert not grow.is_earlier_vlm("")
    assert not grow.is_earlier_vlm(str(tmp_path))
    assert grow.earlier_record(earlier)["step"] == 1
    assert {"example.weight", "question.weight"} <= set(grow.earlier_hints(earlier))
