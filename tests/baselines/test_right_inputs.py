"""What reaches each network equals the library's own transform and tokenizer on the same input."""

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import yaml
from torchvision import transforms
from transformers import AutoProcessor, BertTokenizer

from baselines.cards import load
from baselines.hf_vlm import InContextVlm
from harness.geometry import read_geometry
from harness.images import Image
from harness.models import Query

# The processor of PaliGemma makes numpy arrays of tensors in a way numpy wants to see gone.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

TEXTS = ["Small left pleural effusion.", "NO acute process; lungs clear!?", "word " * 700]
CHAT = ["tiny-gemma", "tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-internvl", "tiny-llava-onevision"]


def loaded(tiny, name: str):
    return load("cpu", card=tiny(name))


def grey(film: Image) -> PIL.Image.Image:
    return PIL.Image.fromarray(film.read())


def rgb(film: Image) -> PIL.Image.Image:
    return grey(film).convert("RGB")


class Seen:
    """Notes what a module is called with."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.calls: list[tuple[tuple, dict]] = []
        module.register_forward_pre_hook(
            lambda _, given, named: self.calls.append((given, named)), with_kwargs=True
        )


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


# --- hf_vlm


def _asked(model, film: Image, phrase: str) -> dict:
    """What `generate` was given for one query."""
    vlm = model.vlm if isinstance(model, InContextVlm) else model
    given: list[dict] = []
    generate = vlm.model.generate
    vlm.model.generate = lambda **inputs: (given.append(inputs), generate(**inputs))[1]
    model.ground([Query(film, phrase)])
    vlm.model.generate = generate
    return given[0]


def _framed(film: Image, geometry: str) -> PIL.Image.Image:
    """The picture that the card puts before the library's processor."""
    if geometry != "pad square":
        assert not geometry
        return rgb(film)
    pixels = film.read()
    height, width = pixels.shape
    side = max(height, width)
    canvas = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[top : top + height, left : left + width] = pixels
    return PIL.Image.fromarray(canvas).convert("RGB")


@pytest.mark.parametrize("name", [*CHAT, "tiny-paligemma", "tiny-florence"])
def test_a_vlm_is_given_what_its_own_processor_makes(tiny, films, deep_films, name):
    model = loaded(tiny, name)
    rules = (model.vlm if isinstance(model, InContextVlm) else model).rules
    processor = AutoProcessor.from_pretrained(tiny(name))
    question = rules.prompt.replace("{phrase}", "left effusion")
    for film in [films[1], *deep_films]:
        text = question
        if name in CHAT:
            content = [{"type": "image"}, {"type": "text", "text": question}]
            messages = [{"role": "user", "content": content}]
            if rules.system:
                system = [{"type": "text", "text": rules.system}]
                messages.insert(0, {"role": "system", "content": system})
            text = processor.apply_chat_template(messages, add_generation_prompt=True)
            text = text.removeprefix("<bos>")  # the tokenizer sets it itself
        picture = _framed(film, rules.picture)
        theirs = processor(images=[[picture]], text=[text], return_tensors="pt", **rules.processor)
        ours = _asked(model, film, "left effusion")
        assert ours["max_new_tokens"] == rules.max_new_tokens
        assert ours["do_sample"] is False
        for key in theirs:
            assert torch.equal(ours[key], theirs[key].to(ours[key].dtype)), (key, film.image_id)


# --- hf_detector


@pytest.mark.parametrize(
    ("name", "text"), [("tiny-grounding-dino", "left effusion."), ("tiny-owlv2", "Left effusion")]
)
def test_a_detector_is_given_what_its_own_processor_makes(tiny, films, deep_films, name, text):
    model = loaded(tiny, name)
    assert model.rules.full_stop == text.endswith(".")
    text = text.lower() if model.rules.lower else text
    processor = AutoProcessor.from_pretrained(tiny(name))
    for film in [films[1], *deep_films]:
        seen = Seen(model.model)
        model.ground([Query(film, "Left effusion")])
        given = [[text]] if name == "tiny-owlv2" else text
        theirs = processor(images=rgb(film), text=given, return_tensors="pt")
        _, ours = seen.calls[0]
        for key in theirs:
            assert torch.equal(ours[key], theirs[key]), (key, film.image_id)


# --- external


def test_a_worker_is_given_the_film_and_the_words_as_they_are(
    tmp_path, monkeypatch, films, deep_films
):
    """Its picture decodes to the harness's pixels, also of 16 bits and MONOCHROME1."""
    worker = Path(__file__).parents[2] / "baselines" / "worker.py"
    body = """
        import numpy, PIL.Image
        pixels = numpy.asarray(PIL.Image.open(image))
        numpy.save(%r, pixels)
        return {"text": phrase}
    """
    code = textwrap.indent(textwrap.dedent(body % str(tmp_path / "seen.npy")), " " * 8)
    text = worker.read_text()
    head, _, tail = text.partition("        del image, phrase\n")
    rest = tail.partition("\n    def embed_image")
    (tmp_path / "w.py").write_text(head + code + "\n" + rest[1] + rest[2])
    monkeypatch.setenv("BENCH_WORKER_MINE", f"{sys.executable} {tmp_path / 'w.py'}")
    card = {
        "name": "mine",
        "title": "Mine",
        "family": "external",
        "source": {"url": "https://example.org"},
        "licence": "MIT",
        "trained_on": [],
        "verified": "never",
        "external": {"serves": ["ground"], "setup": "a", "codec": "radvlm", "seconds": 60.0},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(card))
    model = load(card=str(tmp_path / "mine.yaml"))
    phrase = 'Verschattung "links"\n\tÖdem <box> 左'
    for film in [films[0], *deep_films]:
        [answer] = model.ground([Query(film, phrase)])
        assert answer.raw == phrase
        assert np.array_equal(np.load(tmp_path / "seen.npy"), film.read()), film.image_id
    model.worker.stop()


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
