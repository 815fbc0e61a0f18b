"""Examples in a model's context: how many fit, and that reading them once changes no answer."""

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch

from baselines.cards import in_context_names, load, read_card, why_no_examples
from baselines.codecs import find_codec, parse
from baselines.hf_vlm import InContextVlm
from baselines.vlm_context import Reader, room_of
from harness.geometry import read_geometry
from harness.images import Image
from harness.models import Demonstration, Query

IN_CONTEXT = ["medgemma-1.5-4b", "qwen3-vl-8b", "qwen2.5-vl-7b", "internvl3-8b"]


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> list[Image]:
    folder = tmp_path_factory.mktemp("films")
    draw = np.random.default_rng(0)
    out = []
    for number in range(6):
        file = folder / f"{number}.png"
        PIL.Image.fromarray(draw.integers(0, 255, (60, 40 + 4 * number), np.uint8)).save(file)
        out.append(Image(f"film{number}", file))
    return out


def example(film: Image, phrase: str = "zorvit") -> Demonstration:
    return Demonstration(film, phrase, np.float32([[0.1, 0.2, 0.5, 0.6]]))


@pytest.fixture
def gemma(tiny) -> InContextVlm:
    """With layers that say more than the last word, so that every image changes the answer."""
    model = load("cpu", card=tiny("tiny-gemma"))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.vlm.model.named_parameters():
            parameter.normal_(0, 0.05 if "embed_tokens" in name else 0.5)
    return model


def with_rules(model: InContextVlm, **changes) -> InContextVlm:
    rules = model.vlm.rules.model_copy(update=changes)
    return replace(model, vlm=replace(model.vlm, rules=rules))


@pytest.mark.parametrize("name", IN_CONTEXT)
def test_the_models_the_paper_and_its_readers_would_take_can_be_shown_examples(name: str) -> None:
    card = read_card(name)
    assert why_no_examples(name) == ""
    assert name in in_context_names()
    assert card.vlm is not None
    assert find_codec(card.vlm.codec).write is not None


def test_an_example_is_written_in_its_own_images_frame(tiny, films) -> None:
    vlm = load("cpu", card=tiny("tiny-qwen2.5-vl")).vlm
    wide, narrow = example(films[5]), example(films[0])
    for shown in (wide, narrow):
        frame = read_geometry(vlm.rules.coordinates).frame(*shown.image.size())
        read = parse(vlm.rules.codec, vlm._solution(shown), frame)
        assert read.boxes == pytest.approx(shown.boxes, abs=0.02)
    assert vlm._solution(wide) != vlm._solution(narrow)  # pixels of two resized images


def test_the_least_similar_examples_are_left_out_where_the_context_is_full(gemma, films) -> None:
    examples = [example(film) for film in films[:3]]
    whole = gemma.ground_with([Query(films[4], "a")], [examples])[0]
    assert whole.left_out == 0
    assert whole.demonstrations == ("film0", "film1", "film2")
    two = gemma.ground_with([Query(films[4], "a")], [examples[1:]])[0]
    items = [gemma.vlm._turns(Query(films[4], "a"), examples[1:])]
    from baselines.vlm_context import lengths_of
    from baselines.vlm_inputs import batch_inputs

    length = lengths_of(batch_inputs(gemma.vlm.processor, gemma.vlm.rules, items))[0]
    short = with_rules(gemma, context=length + gemma.vlm.rules.max_new_tokens)
    cut = short.ground_with([Query(films[4], "a"), Query(films[5], "a")], [examples, []])
    assert cut[0].demonstrations == ("film1", "film2")
    assert cut[0].left_out == 1
    assert cut[0].raw == two.raw
    assert cut[1].left_out == 0


def test_a_question_that_does_not_fit_alone_is_asked_alone(gemma, films) -> None:
    narrow = with_rules(gemma, context=gemma.vlm.rules.max_new_tokens + 1)
    answer = narrow.ground_with([Query(films[4], "a")], [[example(films[0])]])[0]
    assert answer.demonstrations == ()
    assert answer.left_out == 1


def test_the_room_is_the_models_own_context_less_the_answer(gemma) -> None:
    own = gemma.vlm.model.config.get_text_config().max_position_embeddings
    limit = gemma.vlm.rules.max_new_tokens
    assert room_of(gemma.vlm.model, gemma.vlm.rules) == own - limit


def test_a_beginning_that_is_read_once_changes_no_answer(gemma, films, monkeypatch) -> None:
    examples = [example(films[0]), example(films[1], "a longer phrase")]
    queries = [Query(films[2], "a"), Query(films[3], "quite another phrase"), Query(films[4], "b")]
    kept = gemma.ground_with(queries, [examples] * 3)
    again = [gemma.ground_with([query], [examples])[0] for query in queries]
    assert gemma.vlm.reader.reused == 6
    monkeypatch.setattr(Reader, "keeps", lambda *_: False)
    whole = gemma.ground_with(queries, [examples] * 3)
    assert len({one.raw for one in whole}) > 1
    assert [one.raw for one in kept] == [one.raw for one in whole] == [one.raw for one in again]


def test_the_examples_are_read_once_for_all_batches(gemma, films, monkeypatch) -> None:
    examples = [example(films[0]), example(films[1])]
    pictures: list[int] = []
    inner = gemma.vlm.model.model.get_image_features

    def counted(pixel_values, **settings):
        pictures.append(len(pixel_values))
        return inner(pixel_values, **settings)

    monkeypatch.setattr(gemma.vlm.model.model, "get_image_features", counted)
    for film in films[2:5]:
        gemma.ground_with([Query(film, "a"), Query(film, "b")], [examples, examples])
    assert pictures == [2, 2, 2, 2]  # both examples once, then the query's image twice per batch


def test_other_examples_are_read_anew(gemma, films) -> None:
    queries = [Query(films[2], "a"), Query(films[3], "b")]
    first = gemma.ground_with(queries, [[example(films[0])]] * 2)
    other = gemma.ground_with(queries, [[example(films[1])]] * 2)
    assert [one.raw for one in first] != [one.raw for one in other]
    assert [one.demonstrations for one in other] == [("film1",)] * 2


def test_rows_with_different_examples_are_read_whole(gemma, films) -> None:
    queries = [Query(films[2], "a"), Query(films[3], "b")]
    gemma.ground_with(queries, [[example(films[0])], [example(films[1])]])
    gemma.ground_with(queries, [[], []])
    assert gemma.vlm.reader.reused == 0


def test_models_that_number_positions_by_images_read_the_whole(tiny, films) -> None:
    qwen = load("cpu", card=tiny("tiny-qwen3-vl"))
    queries = [Query(films[2], "a"), Query(films[3], "b")]
    qwen.ground_with(queries, [[example(films[0])]] * 2)
    assert qwen.vlm.reader.reused == 0
