"""What a generative model, a detector or a worker is given is what its own processor makes."""

import sys
import textwrap
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import yaml
from transformers import AutoProcessor

from baselines.cards import load
from baselines.hf_vlm import InContextVlm
from harness.images import Image
from harness.models import Query
from tests.baselines.inputs import Seen, loaded, rgb

# The processor of PaliGemma makes numpy arrays of tensors in a way numpy wants to see gone.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

CHAT = ["tiny-gemma", "tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-internvl", "tiny-llava-onevision"]


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
