"""Checkpoint files read without running them, and the architectures that live in this package."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.biovil import BioVilImage
from baselines.cards import load
from baselines.checkpoint_files import read_tensors
from harness.errors import BenchError
from harness.models import EmbeddingModel, Query

TEXTS = ["Small left pleural effusion.", "No acute process; lungs clear!", "Heart size is normal"]


def loaded(tiny, name: str):
    return load("cpu", card=tiny(name))


# --- files


class Bomb:
    """What a malicious checkpoint holds: a call that runs when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


def test_a_malicious_pickle_is_read_and_nothing_runs(tmp_path):
    fuse = tmp_path / "fuse"
    content = {"state_dict": {"w": torch.arange(3.0)}, "hyper_parameters": Bomb(fuse)}
    torch.save(content, tmp_path / "bad.ckpt")
    assert read_tensors(tmp_path / "bad.ckpt", "state_dict")["w"].tolist() == [0, 1, 2]
    assert not fuse.exists()
    # The bomb is real: a plain unpickler runs it.
    pickle.loads(pickle.dumps(Bomb(fuse)))
    assert fuse.exists()


def test_a_bomb_among_the_tensors_is_left_out(tmp_path):
    torch.save({"w": torch.ones(2), "b": Bomb(tmp_path / "fuse")}, tmp_path / "bad.pt")
    assert set(read_tensors(tmp_path / "bad.pt")) == {"w"}
    assert not (tmp_path / "fuse").exists()


def test_the_legacy_format_of_torch_is_read_and_nothing_runs(tmp_path):
    content = {"model": {"w": torch.full((2, 2), 7.0)}, "config": Bomb(tmp_path / "fuse")}
    file = tmp_path / "old.tar"
    torch.save(content, file, _use_new_zipfile_serialization=False)
    assert (read_tensors(file, "model")["w"] == 7).all()
    assert not (tmp_path / "fuse").exists()


def test_foreign_configurations_do_not_keep_tensors_from_being_read(tmp_path):
    content = {"model": {"w": torch.ones(1)}, "config": {"a": Path("x"), "b": np.float64(3)}}
    torch.save(content, tmp_path / "a.tar")
    assert list(read_tensors(tmp_path / "a.tar", "model")) == ["w"]


@pytest.mark.parametrize(
    ("content", "inside", "message"),
    [
        (b"", "", "not a checkpoint"),
        (b"PK this is no checkpoint", "", "not a checkpoint"),
        ({"a": 1, "b": "c"}, "", "no tensors. It holds: a, b"),
        ({"model": {}}, "state_dict", "no tensors under 'state_dict'"),
        ([1, 2], "", "no state dict in it"),
    ],
)
def test_what_holds_no_tensors_is_refused_by_name(tmp_path, content, inside, message):
    file = tmp_path / "odd.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(BenchError, match=message) as caught:
        read_tensors(file, inside)
    assert str(caught.value).startswith("odd.pt: ")


@pytest.mark.filterwarnings(
    "ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning"
)
def test_a_torchscript_archive_is_refused_before_it_is_run(tmp_path, monkeypatch):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "clip.pt")

    def run(*_, **__):
        raise AssertionError("the archive was run")

    monkeypatch.setattr(torch.jit, "load", run)
    with pytest.raises(BenchError, match=r"clip\.pt: a TorchScript archive.* Expected"):
        read_tensors(tmp_path / "clip.pt")


def test_a_checkpoint_of_another_architecture_names_what_is_missing(tiny, tmp_path):
    source = Path(tiny("tiny-cxr-clip"))
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = read_tensors(source / "model.tar", "model")
    del state["text_projection.projection.weight"]
    torch.save({"model": state}, tmp_path / "model.tar")
    with pytest.raises(BenchError, match=r"does not fit the architecture: .*text_projection"):
        load(card=str(tmp_path) + "/")


# --- BioViL-T


def test_biovil_image_embedding_is_the_mean_of_its_patches(tiny, films):
    model = loaded(tiny, "tiny-biovil-t")
    pixels = model.towers.pixels.tensor([model.prepare_image(films[0])], "cpu")
    with torch.inference_mode():
        grid = model.towers.patches(pixels)[0]
    mean = grid.reshape(-1, 16).mean(dim=0)
    ours = model.embed_images([model.prepare_image(films[0])])[0]
    assert grid.shape == (4, 4, 16)
    assert np.allclose(ours, (mean / mean.norm()).numpy(), atol=1e-6)


def test_biovil_spreads_each_film_over_all_grey_values_and_drops_final_marks(tiny, films):
    model = loaded(tiny, "tiny-biovil-t")
    prepared = model.prepare_image(films[0])
    assert (prepared.min(), prepared.max()) == (0, 255)
    a, b, c = model.embed_texts(["left effusion.", "left effusion", "left. effusion"])
    assert (a == b).all()
    assert not np.allclose(a, c)


def test_biovil_without_the_place_of_a_prior_film_is_told_by_its_tensors(tiny, films, tmp_path):
    folder = tmp_path / "biovil"
    shutil.copytree(tiny("tiny-biovil-t"), folder)
    image = BioVilImage(temporal=False, size=16, blocks=(1, 1, 1, 1)).eval()
    torch.save(image.state_dict(), folder / "image.pt")
    model = load(card=str(folder))
    pixels = model.towers.pixels.tensor([model.prepare_image(films[0])], "cpu")
    with torch.inference_mode():
        theirs = image(pixels).mean(dim=(2, 3))[0]
    ours = model.embed_images([model.prepare_image(films[0])])[0]
    assert np.allclose(ours, theirs / theirs.norm(), atol=1e-5)


def test_biovil_maps_are_smoothed_and_stepped_as_published(tiny, films):
    model = loaded(tiny, "tiny-biovil-t")
    shown = model.ground([Query(films[2], "left effusion")])[0].heatmap  # 64 x 64, crop 128 of 146
    seen = shown[~np.isnan(shown)]
    assert len(np.unique(seen)) <= 16  # nearest: one value per patch
    assert abs(len(seen) / shown.size - (128 / 146) ** 2) < 0.03


# --- CXR-CLIP


def test_cxr_clip_reads_a_text_at_its_last_token_whatever_the_padding(tiny):
    model = loaded(tiny, "tiny-cxr-clip")
    together = model.embed_texts(TEXTS)
    alone = np.concatenate([model.embed_texts([text]) for text in TEXTS])
    assert isinstance(model, EmbeddingModel)
    assert np.abs(together - alone).max() < 1e-5


def test_cxr_clip_takes_the_first_patch_for_the_whole_as_released(tiny, films):
    model = loaded(tiny, "tiny-cxr-clip")
    network = model.towers.embed.__self__
    pixels = model.towers.pixels.tensor([model.prepare_image(films[0])], "cpu")
    with torch.inference_mode():
        tokens = network.image_encoder.image_encoder(pixel_values=pixels).last_hidden_state
        first = network.image_projection(tokens[:, 0])
        assert torch.equal(model.towers.embed(pixels), first)


# --- against the authors' code, where it is installed


def test_biovil_equals_hi_ml(tmp_path):
    reason = "hi-ml-multimodal and what it imports are not installed"
    model = pytest.importorskip(
        "health_multimodal.image.model.model", reason=reason, exc_type=ImportError
    )
    from baselines.biovil import load_image
    from baselines.weights import Weights

    theirs = model.ImageModel("resnet50_multi_image", 128).eval()
    torch.save(theirs.state_dict(), tmp_path / "image.pt")
    ours = load_image(Weights(tmp_path, ""), "image.pt", "biovil-t").eval()
    pixels = torch.rand(1, 3, 448, 448)
    with torch.inference_mode():
        assert torch.allclose(ours(pixels), theirs(pixels).projected_patch_embeddings, atol=1e-5)


def test_the_cards_of_tiny_checkpoints_say_what_they_are(tiny):
    for name in ("tiny-biovil-t", "tiny-cxr-clip", "tiny-carzero", "tiny-medklip"):
        card = Path(tiny(name), "card.yaml").read_text()
        assert "verified: tiny random" in card
        assert json.dumps(name)[1:-1] in card
