"""Generative models and detectors: what they are shown, how their answers reach the film."""

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import AutoProcessor

from baselines.cards import load
from baselines.codecs import encode
from baselines.hf_vlm import InContextVlm, Vlm
from baselines.vlm_inputs import Turn, batch_inputs
from harness.geometry import read_geometry
from harness.images import Image
from harness.models import Demonstration, GroundingModel, InContextGrounder, NotScorable, Query

# The processor of PaliGemma makes numpy arrays of tensors in a way numpy wants to see gone.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

CHAT = ["tiny-gemma", "tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-internvl", "tiny-llava-onevision"]
VLMS = [*CHAT, "tiny-paligemma", "tiny-florence"]
DETECTORS = ["tiny-grounding-dino", "tiny-owlv2"]
BOX = np.float32([[0.25, 0.5, 0.75, 0.875]])


def loaded(tiny, name: str):
    return load("cpu", card=tiny(name))


def vlm_of(model) -> Vlm:
    return model.vlm if isinstance(model, InContextVlm) else model


def speaking(model, monkeypatch, *answers: str, ends: bool = True) -> None:
    """Have the network answer these texts, whatever it is shown."""
    vlm = vlm_of(model)
    tokenizer, config = vlm.processor.tokenizer, vlm.model.generation_config
    end = config.eos_token_id

    def generate(input_ids, **_):
        rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in answers]
        rows = [row + [end] * ends for row in rows]
        longest = max(map(len, rows))
        padded = [row + [config.pad_token_id] * (longest - len(row)) for row in rows]
        new = torch.tensor(padded)
        if vlm.model.config.is_encoder_decoder:
            start = torch.full((len(new), 1), config.decoder_start_token_id)
            return torch.cat([start, new], dim=1)
        return torch.cat([input_ids, new], dim=1)

    monkeypatch.setattr(vlm.model, "generate", generate)


# --- answers


@pytest.mark.parametrize("name", [*VLMS, *DETECTORS])
def test_every_query_is_answered_the_same_alone_and_together(tiny, films, name):
    model = loaded(tiny, name)
    assert isinstance(model, GroundingModel)
    queries = [Query(films[0], "left effusion"), Query(films[1], "a much longer phrase, really")]
    together = model.ground(queries)
    for query, answer in zip(queries, together, strict=True):
        alone = model.ground([query])[0]
        assert (alone.raw, alone.status) == (answer.raw, answer.status)
        assert np.array_equal(alone.boxes, answer.boxes)
        assert answer.status in ("ok", "empty", "malformed")


@pytest.mark.parametrize("name", VLMS)
def test_an_answer_in_the_models_own_notation_lands_on_the_film(tiny, films, name, monkeypatch):
    model = loaded(tiny, name)
    vlm = vlm_of(model)
    frames = [vlm._frame(film) for film in films[:2]]
    speaking(model, monkeypatch, *[encode(vlm.rules.codec, BOX, "heart", f) for f in frames])
    for answer in model.ground([Query(film, "heart") for film in films[:2]]):
        assert answer.status == "ok", answer.raw
        assert np.abs(answer.boxes - BOX).max() < 0.02


@pytest.mark.parametrize("name", VLMS)
def test_an_answer_without_an_end_is_malformed(tiny, films, name, monkeypatch):
    model = loaded(tiny, name)
    vlm = vlm_of(model)
    text = encode(vlm.rules.codec, BOX, "heart", vlm._frame(films[0]))
    speaking(model, monkeypatch, text, ends=False)
    answer = model.ground([Query(films[0], "heart")])[0]
    assert (answer.status, len(answer.boxes)) == ("malformed", 0)


def test_thinking_is_not_read_as_an_answer(tiny, films, monkeypatch):
    model = loaded(tiny, "tiny-gemma")
    decoy = '<unused94>thought [{"box_2d": [0, 0, 10, 10]}]<unused95>'
    final = encode("gemma_json", BOX, "heart", vlm_of(model)._frame(films[0]))
    speaking(model, monkeypatch, decoy + "Final Answer: " + final)
    assert np.abs(model.ground([Query(films[0], "heart")])[0].boxes - BOX).max() < 0.01


@pytest.mark.parametrize("name", VLMS)
def test_a_batch_is_generated_at_once_and_each_token_is_computed_once(tiny, films, name):
    """After the prompt the decoder is given one new token of each answer at a time."""
    model = loaded(tiny, name)
    vlm = vlm_of(model)
    vlm.model.generation_config.use_cache = False  # as checkpoints from training may say
    decoder = max(
        (m for m in vlm.model.modules() if type(m).__name__.endswith(("TextModel", "Decoder"))),
        key=lambda m: sum(p.numel() for p in m.parameters()),
        default=vlm.model.get_decoder(),
    )
    lengths: list[tuple[int, int]] = []

    def note(_, given, named):
        ids = named.get("inputs_embeds")
        ids = named.get("input_ids") if ids is None else ids
        ids = given[0] if ids is None else ids
        lengths.append(tuple(ids.shape[:2]))

    decoder.register_forward_pre_hook(note, with_kwargs=True)
    calls: list[int] = []
    generate = vlm.model.generate
    vlm.model.generate = lambda **inputs: (calls.append(1), generate(**inputs))[1]
    queries = [Query(film, "left effusion") for film in films[:3]]
    answers = model.ground(queries)
    assert len(calls) == 1
    assert {rows for rows, _ in lengths} == {3}
    assert all(length == 1 for _, length in lengths[1:])
    longest = max(answer.tokens for answer in answers)
    assert len(lengths) == longest <= vlm.rules.max_new_tokens
    for query, answer in zip(queries, answers, strict=True):
        assert model.ground([query])[0].tokens == answer.tokens > 0


@pytest.mark.parametrize("name", ["tiny-gemma", "tiny-florence"])
def test_tokens_count_the_end_and_not_what_pads_it(tiny, films, name, monkeypatch):
    model = loaded(tiny, name)
    speaking(model, monkeypatch, "ab", "a much longer answer")
    tokenizer = vlm_of(model).processor.tokenizer
    lengths = [
        len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1
        for text in ("ab", "a much longer answer")
    ]
    answers = model.ground([Query(film, "heart") for film in films[:2]])
    assert [answer.tokens for answer in answers] == lengths


# --- what the model is shown


@pytest.mark.parametrize("name", ["tiny-qwen2.5-vl", "tiny-qwen3-vl"])
def test_the_frame_of_the_coordinates_is_the_size_the_processor_makes(tiny, name, tmp_path):
    vlm = vlm_of(loaded(tiny, name))
    patch = vlm.processor.image_processor.patch_size
    for width, height in [(64, 64), (300, 200), (57, 333), (250, 306), (1000, 90)]:
        PIL.Image.new("L", (width, height)).save(tmp_path / "a.png")
        film = Image("a", tmp_path / "a.png")
        inputs = batch_inputs(vlm.processor, vlm.rules, [vlm._turns(Query(film, "a"), ())])
        _, rows, columns = inputs["image_grid_thw"][0].tolist()
        assert vlm._frame(film).size == (columns * patch, rows * patch), (width, height)


def test_the_card_sets_the_size_that_the_processor_makes(tiny, films):
    """As the cards of Qwen do: the hub's own limit is 12.8 million pixels."""
    vlm = vlm_of(loaded(tiny, "tiny-qwen2.5-vl"))
    rules = vlm.rules.model_copy(
        update={
            "coordinates": "multiples 28 min 3136 max 6272",
            "processor": {"size": {"shortest_edge": 3136, "longest_edge": 6272}},
        }
    )
    smaller = replace(vlm, rules=rules)
    inputs = batch_inputs(vlm.processor, rules, [smaller._turns(Query(films[1], "a"), ())])
    _, rows, columns = inputs["image_grid_thw"][0].tolist()
    assert smaller._frame(films[1]).size == (columns * 14, rows * 14) == (84, 56)


@pytest.mark.parametrize("name", CHAT)
def test_pixels_are_what_the_librarys_own_image_processor_makes(tiny, films, name):
    vlm = vlm_of(loaded(tiny, name))
    inputs = batch_inputs(vlm.processor, vlm.rules, [vlm._turns(Query(films[3], "a"), ())])
    picture = films[3].read()
    if vlm.rules.picture == "pad square":  # a 16-bit film of 201 x 133, on a black square
        canvas = np.zeros((201, 201), np.uint8)
        canvas[34:167] = picture
        picture = canvas
    own = AutoProcessor.from_pretrained(tiny(name)).image_processor
    theirs = own(images=PIL.Image.fromarray(picture).convert("RGB"), return_tensors="pt")
    ours = inputs["pixel_values"].reshape(theirs["pixel_values"].shape)
    assert torch.equal(ours, theirs["pixel_values"])


def test_gemma_is_asked_in_its_own_chat_layout(tiny, films):
    vlm = vlm_of(loaded(tiny, "tiny-gemma"))
    inputs = batch_inputs(vlm.processor, vlm.rules, [vlm._turns(Query(films[0], "Heart"), ())])
    text = vlm.processor.tokenizer.decode(inputs["input_ids"][0])
    image = "<start_of_image>" + "<image_soft_token>" * 4 + "<end_of_image>"
    assert text == (
        f"<bos><start_of_turn>user\n\n\n{image}\n\nLocate: Heart. Answer in JSON.<end_of_turn>\n"
        "<start_of_turn>model\n"
    )


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("tiny-paligemma", "<bos>detect left effusion\n"),
        ("tiny-florence", "<s>Locate the phrases in the caption: left effusion</s>"),
    ],
)
def test_models_without_a_chat_are_asked_in_their_own_words(tiny, films, name, prompt):
    vlm = loaded(tiny, name)
    inputs = batch_inputs(
        vlm.processor, vlm.rules, [vlm._turns(Query(films[0], "left effusion"), ())]
    )
    text = vlm.processor.tokenizer.decode(inputs["input_ids"][0]).replace("<image>", "")
    assert text.strip(" ") == prompt.strip(" ")


def test_radvlm_is_asked_in_lower_case_unless_all_is_upper(tiny, films):
    vlm = loaded(tiny, "tiny-llava-onevision")
    prompts = [vlm._turns(Query(films[0], p), ())[0].prompt for p in ("Left Effusion", "COPD")]
    assert prompts[0].endswith(": left effusion")
    assert prompts[1].endswith(": COPD")


# --- examples


@pytest.mark.parametrize(
    "name", ["tiny-gemma", "tiny-qwen2.5-vl", "tiny-qwen3-vl", "tiny-internvl"]
)
def test_examples_come_first_each_in_the_frame_of_its_own_image(tiny, films, name):
    model = loaded(tiny, name)
    assert isinstance(model, InContextGrounder)
    vlm = model.vlm
    shown = [
        Demonstration(films[1], "heart", BOX),
        Demonstration(films[2], "effusion", np.zeros((0, 4), np.float32)),
    ]
    turns = vlm._turns(Query(films[0], "left effusion"), shown)
    assert [turn.answer is None for turn in turns] == [False, False, True]
    assert turns[0].answer == encode(vlm.rules.codec, BOX, "heart", vlm._frame(films[1]))
    inputs = batch_inputs(vlm.processor, vlm.rules, [turns])
    text = vlm.processor.tokenizer.decode(inputs["input_ids"][0])
    places = [text.index(word) for word in ("heart", "effusion", "left effusion")]
    assert places == sorted(places)
    answer = model.ground_with([Query(films[0], "left effusion")], [shown])[0]
    assert answer.demonstrations == ("film-1", "film-2")


def test_an_example_is_written_in_pixels_of_its_own_resized_image(tiny, films):
    vlm = loaded(tiny, "tiny-qwen2.5-vl").vlm
    answer = vlm._turns(Query(films[0], "a"), [Demonstration(films[1], "heart", BOX)])[0].answer
    # 150 x 100 is 140 x 112 in multiples of 28, more than 12,544 pixels; shrunk by
    # sqrt(15,000 / 12,544) and floored it is 112 x 84: x 28 and 84, y 42 and 73.5 -> 74.
    assert read_geometry(vlm.rules.coordinates).frame(150, 100).size == (112, 84)
    assert "[28, 42, 84, 74]" in answer


@pytest.mark.parametrize("name", ["tiny-llava-onevision", "tiny-paligemma", "tiny-florence"])
def test_models_of_one_image_take_no_examples(tiny, name):
    model = loaded(tiny, name)
    assert isinstance(model, Vlm)
    assert not isinstance(model, InContextGrounder)


def test_a_layout_for_one_image_says_so_when_given_more(tiny):
    vlm = loaded(tiny, "tiny-florence")
    turn = Turn(PIL.Image.new("RGB", (8, 8)), "a", "b")
    with pytest.raises(NotScorable, match="room for one image"):
        batch_inputs(vlm.processor, vlm.rules, [[turn, turn]])
