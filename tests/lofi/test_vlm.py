"""The small multi-image model: episodes, sequences, its parts, training, and the hub's format."""

import numpy as np
import PIL.Image
import pytest
import torch

from baselines.codecs import encode
from baselines.vlm_inputs import Turn as Shown
from baselines.vlm_inputs import conversation
from harness.errors import BenchError
from harness.geometry import read_geometry
from harness.made_up import is_held_out, made_up_names
from lofi.build import build as build_lofi
from lofi.location import boxes_answer, parse_boxes
from lofi.losses import IGNORED
from lofi.picture import to_input
from lofi.prompt import END
from lofi.vlm.build import build, fit_projector
from lofi.vlm.config import read_vlm_preset
from lofi.vlm.episodes import Shares, Turn, draw_episodes, shares_at
from lofi.vlm.pictures import box_map, rgb
from lofi.vlm.sequences import Writer
from lofi.vlm.step import HintHeads, Steps, losses
from lofi.vlm.validate import validate
from tests.lofi.conftest import settings
from tests.lofi.vlm_world import SIZE, TOWER, config_of, maps_of, pool_of


@pytest.fixture
def parts(lofi):
    """A random model of MedGemma's class and its processor."""
    return build(lofi, TOWER, extra_layers=1, seed=0)


def answers(parts, ids: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    model, processor = parts
    soft = Writer(processor).soft
    return model(input_ids=ids, token_type_ids=(ids == soft).long(), pixel_values=pixels).logits


def test_a_conversation_has_the_ids_that_the_chat_template_gives(parts) -> None:
    processor = parts[1]
    pool = pool_of()
    turns = [Turn(0, "There is a zorvit.", pool.phrases[0][0].boxes, "block", True)] * 2
    rules = type("Rules", (), {"system": ""})
    picture = PIL.Image.fromarray(pool.squares[0]).convert("RGB")
    asked = 'Detect all instances of "There is a zorvit.".'
    shown = [Shown(picture, asked, boxes_answer(turns[0].boxes)), Shown(picture, asked)]
    given = processor.apply_chat_template(
        [conversation(rules, shown)],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        processor_kwargs={"padding": True},
    )
    ids, mask = Writer(processor).asking([turns])
    assert ids.tolist() == given["input_ids"].tolist()
    assert mask.all()
    ours = rgb(to_input(pool.squares[[0, 0]]))
    assert torch.allclose(given["pixel_values"], ours, atol=1e-5)


def test_only_what_can_be_known_is_learned(parts) -> None:
    boxes = np.float32([[0.1, 0.2, 0.3, 0.4]])
    turns = [Turn(0, "zorvit", boxes, "block", False), Turn(1, "zorvit", boxes, "block", True)]
    writer = Writer(parts[1])
    written = writer.training([turns])
    answer = writer.answer(turns[0])
    kept = (written.labels[0] != IGNORED).nonzero().flatten().tolist()
    last = len(written.ids[0]) - 1
    assert kept == list(range(last - len(answer), last))  # each predicts the token after it
    assert written.labels[0][kept].tolist() == answer == written.ids[0][-len(answer) :].tolist()
    first = 1 + len(writer.question("zorvit")) + len(answer) - 1
    assert written.examples == ((0, first, "block"), (0, last, "block"))
    assert written.questions == ((0, last - len(answer), "block"),)


def test_an_answer_in_the_codec_is_the_answer_of_training() -> None:
    boxes = np.float32([[0.29, 0.1, 0.7, 0.9], [0.05, 0.9995, 0.1, 1.0]])
    frame = read_geometry("pad square").frame(100, 100)
    assert encode("lists_1000", boxes, "a", frame) == boxes_answer(boxes)
    assert encode("lists_1000", boxes[:0], "a", frame) == "```\n[]\n```"


def test_episodes_are_a_function_of_seed_and_step_and_keep_evaluation_names_apart() -> None:
    pool, config = pool_of(), config_of()
    drawn = [
        draw_episodes(
            pool, config.episodes, Shares(0.8, 0.5), count=60, draw=np.random.default_rng(3)
        )
        for _ in range(2)
    ]
    assert [[t.phrase for t in turns] for turns in drawn[0]] == [
        [t.phrase for t in turns] for turns in drawn[1]
    ]
    familiar = {phrase.text for phrases in pool.phrases for phrase in phrases}
    made_up = [t for turns in drawn[0] for t in turns if t.phrase not in familiar]
    assert made_up
    assert not any(is_held_out(turn.phrase) for turn in made_up)


def test_a_made_up_name_is_learned_once_an_example_has_explained_it() -> None:
    pool, config = pool_of(), config_of()
    drawn = draw_episodes(
        pool, config.episodes, Shares(0.8, 0.6), count=200, draw=np.random.default_rng(4)
    )
    familiar = {phrase.text for phrases in pool.phrases for phrase in phrases}
    kinds = set()
    for turns in drawn:
        assert len({turn.image for turn in turns}) == len(turns)
        meaning: dict[str, str] = {}
        for turn in turns:
            if turn.phrase in familiar:
                assert turn.learned
                continue
            assert turn.learned == (turn.phrase in meaning)
            assert meaning.setdefault(turn.phrase, turn.finding) == turn.finding
            assert np.array_equal(turn.boxes, pool.boxes_of(turn.image, turn.finding))
        kinds.add((len(meaning), len(set(meaning.values()))))
    assert kinds == {(0, 0), (1, 1), (2, 2)}  # familiar, one name, two names of two findings


def test_two_findings_per_conversation_come_after_one() -> None:
    episodes = config_of().episodes
    assert shares_at(episodes, 0.0).mixed == 0
    assert shares_at(episodes, 1.0) == Shares(episodes.made_up, episodes.mixed)


def test_names_for_evaluation_are_held_out_and_one_per_finding() -> None:
    names = made_up_names(["nodule", "mass", "edema"])
    assert len(set(names.values())) == 3
    assert all(is_held_out(name) for name in names.values())
    assert made_up_names(["mass"])["mass"] == names["mass"]
    assert made_up_names(["mass"], seed=1)["mass"] != names["mass"]


def test_without_extra_layers_it_reads_text_as_lofi_does(lofi) -> None:
    model, processor = build(lofi, TOWER, extra_layers=0)
    ids = torch.tensor([[1, *processor.tokenizer("there are bars.")["input_ids"]]])
    hidden = lofi.decoder.model(input_ids=ids, use_cache=False).last_hidden_state
    ours = model.model.language_model(input_ids=ids, use_cache=False).last_hidden_state
    assert torch.allclose(hidden, ours, atol=1e-5)


def test_its_projector_starts_near_lofis_tokens(parts) -> None:
    squares = pool_of().squares
    towers = {"image_size": SIZE, "patch_size": 8}
    other = build_lofi(settings(towers=towers, tokens={"count": 3}), ["bars."]).eval()
    assert fit_projector(parts[0], other, squares) == 0.0  # other counts: nothing to fit
    wide = build_lofi(settings(towers=towers, tokens={"count": 4}), ["bars."]).eval()
    model, _ = build(wide, TOWER, extra_layers=0)
    tower = model.model.vision_tower.train()
    with torch.no_grad():
        for _ in range(40):  # its normalization learns the scale of pictures
            tower(rgb(to_input(squares)))
    tower.eval()
    assert fit_projector(model, wide, squares) > 0.1


def test_without_the_same_pictures_the_projector_is_left_alone(lofi, parts) -> None:
    before = parts[0].model.multi_modal_projector.mm_input_projection_weight.clone()
    assert fit_projector(parts[0], lofi, pool_of().squares) == 0.0
    assert torch.equal(before, parts[0].model.multi_modal_projector.mm_input_projection_weight)


def test_shared_images_give_what_each_conversation_alone_gives(parts) -> None:
    model, processor = parts
    pool, config, writer = pool_of(), config_of(), Writer(processor)
    step = Steps(pool, config, writer)(0)
    heads = HintHeads(32, list(pool.by_finding), maps_of())
    model.train()
    found = losses(model, heads, step, hints=config.hints, soft=writer.soft)
    logits = answers(parts, step.conversations.ids, step.pixels[step.order])
    kept = step.conversations.labels != IGNORED
    alone = torch.nn.functional.cross_entropy(logits[kept], step.conversations.labels[kept])
    assert set(found) == {"answers", "maps", "examples", "questions", "where"}
    assert found["answers"].item() == pytest.approx(alone.item(), rel=1e-4)


def test_the_hint_of_where_is_the_map_of_the_answer_that_follows(parts) -> None:
    writer, config = Writer(parts[1]), config_of(changes={"shift": 0.2})
    step = Steps(pool_of(), config, writer)(0)
    assert len(step.wanted) == len(step.conversations.questions) > 2
    for (row, place, _), wanted in zip(step.conversations.questions, step.wanted, strict=True):
        text = writer.tokenizer.decode(step.conversations.ids[row, place + 1 :])
        boxes = parse_boxes(text.split(END)[0]).boxes
        assert torch.equal(wanted, torch.from_numpy(box_map(boxes, TOWER.cells)))


def test_validation_of_a_random_model_finds_nothing_and_copying_something(parts) -> None:
    found = validate(parts[0], Writer(parts[1]), pool_of(30), count=6)
    assert found["made-up/4"] < 0.3
    assert 0 < found["copy"] < 1


def test_the_preset_is_read_and_a_wrong_key_is_named() -> None:
    assert read_vlm_preset("vlm-tiny").episodes.turns == 5
    with pytest.raises(BenchError, match="stepz"):
        read_vlm_preset("vlm-tiny", {"training.stepz": 3})
