"""What reaches a checkpoint's network equals its authors' own transform and tokenizer."""

from collections.abc import Sequence

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision import transforms
from transformers import BertTokenizer

from harness.geometry import read_geometry
from harness.images import Image
from tests.baselines.inputs import Seen, loaded, rgb

TEXTS = ["Small left pleural effusion.", "NO acute process; lungs clear!?", "word " * 700]


def of_type(module: torch.nn.Module, name: str) -> torch.nn.Module:
    return next(m for m in module.modules() if type(m).__name__ == name)


def closure(function, kind: type = torch.nn.Module):
    """The one network that a function of a tower holds."""
    if isinstance(function, kind):
        return function
    if isinstance(getattr(function, "__self__", None), kind):
        return function.__self__
    return next(c.cell_contents for c in function.__closure__ if isinstance(c.cell_contents, kind))


# --- checkpoint, pair_scorer: pixels


def _hi_ml(film: Image) -> torch.Tensor:
    """hi-ml: grey values spread to 0-255 and floored, then torchvision on a picture of mode L."""
    values = film.read().astype(float)
    values = (values - values.min()) / (values.max() - values.min()) * 255
    steps = [transforms.Resize(146), transforms.CenterCrop(128), transforms.ToTensor()]
    tensor = transforms.Compose(steps)(PIL.Image.fromarray(values.astype(np.uint8)))
    return tensor.expand(3, -1, -1)


def _cxr_clip(film: Image) -> torch.Tensor:
    steps = [
        transforms.Resize(64, transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(64),
        transforms.ToTensor(),
        transforms.Normalize((0.5,) * 3, (0.5,) * 3),
    ]
    return transforms.Compose(steps)(rgb(film))


def _medklip(film: Image) -> torch.Tensor:
    steps = [
        transforms.Resize([64, 64]),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
    return transforms.Compose(steps)(rgb(film))


def _areas(have: int, want: int) -> np.ndarray:
    """(want, have): the share of each old pixel in each new one, as OpenCV's INTER_AREA shrinks."""
    edges = np.arange(want + 1) * have / want
    left = np.maximum(edges[:-1, None], np.arange(have))
    right = np.minimum(edges[1:, None], np.arange(have) + 1)
    return np.clip(right - left, 0, None) * want / have


def _carzero(film: Image) -> torch.Tensor:
    """Longest side 72 by area, black to a square, the middle 64."""
    values = film.read().astype(float)
    height, width = (int(side * 72 / max(values.shape)) for side in values.shape)
    small = _areas(values.shape[0], height) @ values @ _areas(values.shape[1], width).T
    canvas = np.zeros((72, 72))
    top, left = (72 - height) // 2, (72 - width) // 2
    canvas[top : top + height, left : left + width] = small
    middle = torch.from_numpy(np.rint(canvas[4:68, 4:68].round(9)) / 255).float()
    return middle.sub(0.4978).div(0.2449).expand(3, -1, -1)


@pytest.mark.parametrize(
    ("name", "theirs", "tolerance"),
    [
        ("tiny-biovil-t", _hi_ml, 0.0),
        ("tiny-cxr-clip", _cxr_clip, 1e-6),
        ("tiny-medklip", _medklip, 1e-6),
        ("tiny-carzero", _carzero, 1e-5),
    ],
)
def test_pixels_of_checkpoints_are_those_of_their_authors_transform(
    tiny, films, deep_films, name, theirs, tolerance
):
    model = loaded(tiny, name)
    rules = model.towers.pixels if hasattr(model.towers, "pixels") else model.pixels
    for film in [*films, *deep_films]:
        if name == "tiny-carzero" and max(film.size()) < 72:
            continue  # by area is another thing where a film grows
        seen = rules.tensor([model.prepare_image(film)], "cpu")[0]
        assert seen.shape == theirs(film).shape
        assert (seen - theirs(film)).abs().max() <= tolerance, film.image_id


# --- checkpoint, pair_scorer: tokens


def own_tokens(folder: str, texts: Sequence[str], **how):
    return BertTokenizer.from_pretrained(folder)(list(texts), return_tensors="pt", **how)


def test_biovil_reads_tokens_without_final_marks_padded_to_the_longest(tiny):
    model = loaded(tiny, "tiny-biovil-t")
    seen = Seen(of_type(closure(model.towers.text.embed), "BertModel"))
    model.embed_texts(TEXTS)
    bare = [text.rstrip("!?.") for text in TEXTS]
    theirs = own_tokens(
        tiny("tiny-biovil-t"), bare, padding="longest", truncation=True, max_length=512
    )
    [(_, ours)] = seen.calls
    assert ours["input_ids"].shape == (3, 512)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_cxr_clip_reads_256_tokens(tiny):
    model = loaded(tiny, "tiny-cxr-clip")
    seen = Seen(of_type(closure(model.towers.text.embed), "BertModel"))
    model.embed_texts(TEXTS)
    theirs = own_tokens(
        tiny("tiny-cxr-clip"), TEXTS, padding="longest", truncation=True, max_length=256
    )
    [(_, ours)] = seen.calls
    assert ours["input_ids"].shape == (3, 256)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_medklip_reads_64_tokens_padded_to_all(tiny):
    model = loaded(tiny, "tiny-medklip")
    tower = model.towers.texts.__self__
    seen = Seen(tower.bert)
    model.towers.texts(TEXTS)
    theirs = own_tokens(
        f"{tiny('tiny-medklip')}/bert", TEXTS, padding="max_length", truncation=True, max_length=64
    )
    [(_, ours)] = seen.calls
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_carzero_reads_cleaned_words_padded_to_97(tiny):
    model = loaded(tiny, "tiny-carzero")
    seen = Seen(closure(model.towers.texts).text)
    model.towers.texts(["1. Small LEFT effusion. Clear. 2. No pneumothorax!", "Heart is normal."])
    cleaned = ["small left effusion no pneumothorax", "heart is normal"]
    theirs = own_tokens(
        tiny("tiny-carzero"), cleaned, padding="max_length", truncation=True, max_length=97
    )
    [(_, ours)] = seen.calls
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_real_film_is_among_the_deep_ones(deep_films):
    assert {film.image_id for film in deep_films} >= {"deep.png", "inverted.dcm"}
    if len(deep_films) < 3:
        pytest.skip("the real 15-bit film comes with the pydicom-data package, not installed")


def test_all_families_read_a_deep_film_through_the_same_window(deep_films):
    """One decoding of 16 bits and MONOCHROME1 stands before all families."""
    for film in deep_films:
        whole = film.read()
        assert whole.dtype == np.uint8
        frame = read_geometry("").frame(*film.size())
        assert np.array_equal(frame.pixels(film.picture()), whole)
