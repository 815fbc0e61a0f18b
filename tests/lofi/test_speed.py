"""The measured step: operations counted are those of its matrix products."""

import pytest

from lofi.config import read_preset
from lofi.speed import measure, random_model
from tests.lofi.conftest import settings


def small(**losses):
    weights = {"sigmoid": 1.0, "captioning": 0, "grounding": 0, "dense_captioning": 0, **losses}
    return random_model(settings(losses=weights, towers={"max_tokens": 16}))


def test_operations_per_second_are_operations_over_seconds():
    found = measure(small(), device="cpu", steps=1, peak=1e9)
    assert found["flops_per_second"] == found["flops_per_step"] / found["seconds_per_step"]
    assert found["mfu"] == found["flops_per_second"] / 1e9
    assert found["samples_per_second"] == pytest.approx(4 / found["seconds_per_step"])
    assert found["seconds_per_batch"] > 0


def test_a_loss_more_costs_operations_more():
    plain = measure(small(), device="cpu", steps=1)
    more = measure(small(grounding=1.0), device="cpu", steps=1)
    assert more["flops_per_step"] > plain["flops_per_step"]
    assert plain["decoder_tokens_per_second"] == 0


def test_the_long_control_has_the_operations_of_the_whole_method():
    """`siglip-tiny-long` runs as many operations as lofi-tiny (protocol section 7)."""
    changes = {"training.batch_size": 8}
    whole, alone = (
        measure(random_model(read_preset(name, changes)), device="cpu", steps=1)["flops_per_step"]
        for name in ("lofi-tiny", "siglip-tiny")
    )
    steps = {name: read_preset(name).training.steps for name in ("lofi-tiny", "siglip-tiny-long")}
    ratio = steps["siglip-tiny-long"] * alone / (steps["lofi-tiny"] * whole)
    assert ratio == pytest.approx(1.0, abs=0.1)
