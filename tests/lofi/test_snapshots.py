"""What training leaves on the way: weights at given steps, validation losses, its own seconds."""

import json

import pytest
import torch
from safetensors.torch import load_file

from lofi.held_out import held_out_batches, held_out_losses, score_of
from lofi.train import Run, train
from tests.lofi.conftest import make, studies_for


def silent(_: str) -> None:
    """Says nothing."""


def trained(folder, model=None, **options):
    model = model or make(training={"steps": 6, "checkpoint_minutes": 0.0, "validate_every": 3})
    return train(model, studies_for(model), studies_for(model, 6, 1), folder=folder, **options)


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_the_weights_kept_at_a_step_are_those_of_the_checkpoint_of_that_step(tmp_path):
    model = make(training={"steps": 6, "checkpoint_minutes": 0.0, "validate_every": 100})
    original, calls = model.image_tokens, []

    def stop(patches):
        calls.append(1)
        if len(calls) > 4:
            raise RuntimeError("killed")
        return original(patches)

    model.image_tokens = stop
    with pytest.raises(RuntimeError, match="killed"):
        trained(tmp_path / "stopped", model, say=silent)
    trained(tmp_path / "whole", say=silent, keep=(4,))
    at_four = weights(tmp_path / "stopped" / "checkpoint")
    kept = weights(tmp_path / "whole" / "step-4")
    assert all(torch.equal(at_four[name], kept[name]) for name in kept)
    last = weights(tmp_path / "whole" / "model")
    assert any(not torch.equal(last[name], kept[name]) for name in kept)
    assert not (tmp_path / "whole" / "step-3").exists()
    record = json.loads((tmp_path / "whole" / "step-4" / "training.json").read_text())
    assert record["step"] == 4


def test_validation_says_the_losses_that_are_trained_and_no_other(tmp_path):
    model = make(losses={"captioning": 0}, training={"steps": 2, "validate_every": 1})
    progress = trained(tmp_path, model, say=silent)
    names = {key for key in progress.history[-1] if key.startswith("loss/")}
    assert names == {"loss/sigmoid", "loss/grounding", "loss/dense_captioning"}
    names = {key for key in progress.history[-1] if key.startswith("pull/")}
    assert names == {"pull/sigmoid", "pull/grounding", "pull/dense_captioning"}


def test_losses_on_validation_are_those_of_the_step_without_its_gradient(tmp_path):
    # One batch of the training's own function, on the same studies and without augmentation.
    from contextlib import nullcontext

    from lofi.step import backward

    model = make(training={"batch_size": 4})
    studies = studies_for(model, 4, 1)
    run = Run(model, (studies, studies), folder=tmp_path, say=silent, accelerator=_Alone())
    found = held_out_losses(model, held_out_batches(model, run.batches, studies))
    model.eval()
    values = backward(
        model, run.batches(0), weights=model.config.losses.model_dump(), autocast=nullcontext
    )
    assert found == pytest.approx({f"loss/{k}": v for k, v in values.items()}, rel=1e-5)


class _Alone:
    device = torch.device("cpu")
    process_index, num_processes = 0, 1


def test_seconds_in_steps_are_counted_without_validation(tmp_path):
    progress = trained(tmp_path, say=silent)
    assert 0 < progress.step_seconds < progress.seconds


def test_best_is_chosen_by_mean_recall_plus_miou_and_not_by_losses():
    found = {"a/recall@10": 0.2, "b/recall@10": 0.4, "grounding/miou": 0.1, "loss/sigmoid": 9.0}
    assert score_of(found) == pytest.approx(0.4)


def test_where_only_texts_are_taught_best_is_the_lowest_loss(tmp_path):
    assert score_of({"loss/captioning": 1.0, "loss/dense_captioning": 3.0}) == -2.0
    untaught = {"sigmoid": 0, "grounding": 0, "dense_captioning": 0}
    training = {"steps": 8, "validate_every": 2, "learning_rate": 3e-3}
    progress = trained(tmp_path, make(losses=untaught, training=training), say=silent)
    losses = {one["step"]: one["loss/captioning"] for one in progress.history}
    best = json.loads((tmp_path / "best" / "training.json").read_text())["step"]
    assert losses[best] == min(losses.values())
    assert best > min(losses)


def test_the_decoder_on_a_frozen_encoder_starts_the_same_whatever_was_loaded(tmp_path):
    from lofi.build import build
    from tests.lofi.conftest import settings, world

    texts = [text for _, text, _ in world()]
    starts = []
    for kind in ("probes", "heads"):  # the two draw different numbers of random values
        make(tokens={"kind": kind}).save_pretrained(tmp_path / kind, record={})
        built = build(settings(towers={"pretrained": str(tmp_path / kind)}), texts)
        starts.append(built.decoder.state_dict())
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
