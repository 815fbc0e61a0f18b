"""The representation measure: a decoder is trained on an image encoder that stays as it was."""

import pytest
import torch

from lofi.build import build
from lofi.model import LofiModel
from lofi.train import train
from tests.lofi.conftest import SIZE, make, settings, studies_for, world

TAUGHT = {"sigmoid": 0, "captioning": 0, "grounding": 1, "dense_captioning": 0}


def decoder_on(folder, **training) -> LofiModel:
    return build(
        settings(
            towers={"pretrained": str(folder)},
            adapters={"freeze_encoder": True},
            losses=TAUGHT,
            training=training,
        ),
        [text for _, text, _ in world()],
    )


def test_of_a_frozen_encoder_nothing_has_a_gradient(tmp_path):
    source = make().eval()
    source.save_pretrained(tmp_path / "m", record={})
    probe = decoder_on(tmp_path / "m")
    trained = {name for name, value in probe.named_parameters() if value.requires_grad}
    assert not any(name.startswith("towers") for name in trained)
    assert any(name.startswith("pooling") for name in trained)
    assert probe.config.towers.image_size == SIZE
    for name, value in source.towers.state_dict().items():
        assert torch.equal(probe.towers.state_dict()[name], value)


@pytest.mark.parametrize("stem", ["patch", "convolutions"])
def test_after_training_and_validation_a_frozen_encoder_is_the_same_to_the_bit(tmp_path, stem):
    # The statistics of batch normalization have no gradient and would move all the same.
    make(towers={"stem": stem}).save_pretrained(tmp_path / "m", record={})
    probe = decoder_on(tmp_path / "m", steps=3, validate_every=1)
    before = {name: value.clone() for name, value in probe.towers.state_dict().items()}
    pooled = probe.pooling.probe.detach().clone()
    train(probe, studies_for(probe), studies_for(probe, 6, 1), folder=tmp_path / "run", say=str)
    assert not torch.equal(probe.pooling.probe, pooled)
    stored = LofiModel.from_pretrained(tmp_path / "run" / "model").towers.state_dict()
    for name, value in before.items():
        assert torch.equal(probe.towers.state_dict()[name], value), name
        assert torch.equal(stored[name], value), name


def test_what_a_frozen_encoder_sees_does_not_depend_on_the_other_pictures_of_a_batch(tmp_path):
    make(towers={"stem": "convolutions"}).save_pretrained(tmp_path / "m", record={})
    probe = decoder_on(tmp_path / "m").train()
    pictures = torch.randn(4, 1, SIZE, SIZE)
    with torch.no_grad():
        together, alone = probe.patches(pictures), probe.patches(pictures[:1])
    assert torch.allclose(together[:1], alone, atol=1e-5)
