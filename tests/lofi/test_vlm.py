"""The small multi-image model: episodes, sequences, its parts, training, and the hub's format."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from baselines.codecs import encode
from baselines.vlm_inputs import Turn as Shown
from baselines.vlm_inputs import conversation
from harness.errors import BenchError
from harness.geometry import read_geometry
from harness.images import Image
from harness.made_up import is_held_out, made_up_names
from harness.models import Demonstration, InContextGrounder, Query
from harness.registry import find_model
from harness.suite_schema import ModelReference
from lofi.build import build as build_lofi
from lofi.location import boxes_answer
from lofi.losses import IGNORED
from lofi.picture import to_input
from lofi.vlm.build import build, fit_projector
from lofi.vlm.config import Tower, VlmConfig, read_vlm_preset
from lofi.vlm.episodes import Shares, Turn, draw_episodes, shares_at
from lofi.vlm.pictures import rgb
from lofi.vlm.read import Phrase, Pool, with_embeddings
from lofi.vlm.save import export_vlm, load_vlm
from lofi.vlm.sequences import Writer
from lofi.vlm.step import HintHeads, Steps, losses
from lofi.vlm.tower import MapHead
from lofi.vlm.train import VlmRun
from lofi.vlm.validate import validate
from tests.lofi.conftest import settings

FINDINGS = ("block", "bars")
SIZE = 64
TOWER = Tower(side=SIZE, widths=(32, 32), layers=(1, 1), heads=(2, 2), cells=4, steps=3)


def pool_of(count: int = 24, seed: int = 0) -> Pool:
    """Pictures with a bright block, with dark bars, or both; each is one finding."""
    draw = np.random.default_rng(seed)
    squares, phrases = [], []
    for number in range(count):
        square = draw.integers(80, 120, (SIZE, SIZE)).astype(np.uint8)
        said = []
        for which, finding in enumerate(FINDINGS):
            if number % 3 in (which, 2):
                x, y = which * 32 + int(draw.integers(0, 16)), int(draw.integers(0, 48))
                square[y : y + 16, x : x + 16] = 255
                if which:
                    square[y : y + 16 : 4, x : x + 16] = 0
                box = np.float32([[x, y, x + 16, y + 16]]) / SIZE
                said.append(Phrase(f"There are {finding}.", finding, box))
        squares.append(square)
        phrases.append(tuple(said))
    patients = tuple(f"p{number}" for number in range(count))
    return Pool(np.stack(squares), np.arange(count), tuple(phrases), patients)


def config_of(**changes) -> VlmConfig:
    """Small settings that train in a second."""
    values = {
        "extra_layers": 1,
        "episodes": {"turns": 3, "images": 12, "groups": 2},
        "hints": {"example_layer": 1, "question_layer": 2, "where_layer": 2},
        "tower": TOWER.model_dump(),
        "training": {
            "steps": 4,
            "batch_size": 4,
            "warmup": 1,
            "validate_every": 100,
            "checkpoint_minutes": 100.0,
        },
    }
    return VlmConfig.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def lofi():
    """A LoFi with random weights."""
    texts = [phrase.text for phrases in pool_of().phrases for phrase in phrases]
    return build_lofi(settings(), texts).eval()


@pytest.fixture
def parts(lofi):
    """A random model of MedGemma's class and its processor."""
    return build(lofi, TOWER, extra_layers=1, seed=0)


def maps_of() -> MapHead:
    torch.manual_seed(0)
    return MapHead(32, len(FINDINGS), tokens=4, cells=4)


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
    heads = HintHeads(32, list(pool.by_finding), maps_of(), cells=4)
    model.train()
    found = losses(model, heads, step, hints=config.hints, soft=writer.soft)
    logits = answers(parts, step.conversations.ids, step.pixels[step.order])
    kept = step.conversations.labels != IGNORED
    alone = torch.nn.functional.cross_entropy(logits[kept], step.conversations.labels[kept])
    assert set(found) == {"answers", "maps", "examples", "questions", "where"}
    assert found["answers"].item() == pytest.approx(alone.item(), rel=1e-4)


def run_in(folder: Path, lofi, *, steps: int) -> VlmRun:
    config = config_of()
    training = config.training.model_copy(update={"steps": 4})
    config = config.model_copy(update={"training": training})
    run = VlmRun(
        build(lofi, TOWER, extra_layers=1),
        config,
        (pool_of(), pool_of(15, 1)),
        folder=folder,
        maps=maps_of(),
        say=lambda _: None,
    )
    run._resume()
    while run.progress.step < steps:
        run._step()
        run.progress.step += 1
    run._save()
    return run


def test_a_training_that_was_stopped_ends_with_the_same_bits(tmp_path, lofi) -> None:
    whole = run_in(tmp_path / "whole", lofi, steps=4)
    run_in(tmp_path / "parts", lofi, steps=2)
    resumed = run_in(tmp_path / "parts", lofi, steps=4)
    assert [one["from_step"] for one in resumed.progress.sessions] == [0, 2]
    for ours, theirs in zip(
        whole.trained.state_dict().values(), resumed.trained.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_other_settings_do_not_take_up_a_training(tmp_path, lofi) -> None:
    run_in(tmp_path, lofi, steps=1)
    run = VlmRun(
        build(lofi, TOWER, extra_layers=1),
        config_of(hints={"weight": 0.0}),
        (pool_of(), pool_of()),
        folder=tmp_path,
        maps=maps_of(),
    )
    with pytest.raises(BenchError, match="other settings: hints"):
        run._resume()


def test_training_writes_best_model_and_log(tmp_path, lofi) -> None:
    run = VlmRun(
        build(lofi, TOWER, extra_layers=1),
        config_of(training={**config_of().training.model_dump(), "steps": 2}),
        (pool_of(), pool_of(15, 1)),
        folder=tmp_path,
        maps=maps_of(),
        say=lambda _: None,
    )
    progress = run.to_the_end()
    wanted = {"made-up/0", "made-up/1", "made-up/4", "made-up/other", "familiar/0", "copy"}
    assert wanted <= set(progress.history[-1])
    assert {"best", "model", "checkpoint", "log.jsonl"} <= {f.name for f in tmp_path.iterdir()}
    record = json.loads((tmp_path / "best/training.json").read_text())
    assert record["step"] == 2


def test_the_shipped_form_is_small_and_runs_through_the_family_of_medgemma(tmp_path, lofi) -> None:
    run_in(tmp_path, lofi, steps=1)
    export_vlm(tmp_path / "checkpoint", tmp_path / "shipped")
    assert load_vlm(tmp_path / "shipped")[0].config.model_type == "gemma3"
    model = find_model(ModelReference(name=str(tmp_path / "shipped"))).load("cpu")
    assert isinstance(model, InContextGrounder)
    assert model.vlm.rules.trained_examples == 2  # conversations of three turns
    file = tmp_path / "film.png"
    PIL.Image.fromarray(np.full((40, 60), 90, np.uint8)).save(file)
    film = Image("film", file)
    example = Demonstration(film, "zorvit", np.float32([[0.1, 0.1, 0.5, 0.5]]))
    alone, after = model.ground([Query(film, "zorvit")])[0], None
    after = model.ground_with([Query(film, "zorvit")], [[example, example]])[0]
    assert alone.demonstrations == ()
    assert after.demonstrations == ("film", "film")


def alike_pool(count: int = 40) -> Pool:
    """Two films of each patient; embeddings are angles, so that neighbors in number are alike."""
    pool = pool_of(count)
    angles = np.linspace(0, 3, count)
    return replace(
        pool,
        patients=tuple(str(number // 2) for number in range(count)),
        embeddings=np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32),
    )


def test_like_images_show_the_finding_and_are_of_different_patients_nearest_first() -> None:
    pool = alike_pool()
    image = int(pool.by_finding["block"][9])
    found = pool.alike(image, "block", 4)
    assert found[0] == image
    assert len({pool.patients[one] for one in found}) == 4
    shown = [one for one in pool.by_finding["block"] if pool.patients[one] != pool.patients[image]]
    nearest = {}
    for one in sorted(shown, key=lambda one: abs(one - image)):
        nearest.setdefault(pool.patients[one], one)
    distance = sorted(abs(one - image) for one in nearest.values())[:3]
    assert [abs(one - image) for one in found[1:]] == distance
    with pytest.raises(ValueError, match="no embeddings"):
        pool_of().alike(0, "block", 4)


def test_near_conversations_hold_images_that_are_alike_and_never_a_patient_twice() -> None:
    pool = alike_pool(300)

    def spread(near: float) -> float:
        config = config_of().episodes.model_copy(update={"near": near, "groups": 1})
        drawn = draw_episodes(
            pool, config, Shares(1.0, 0.0), count=30, draw=np.random.default_rng(2)
        )
        if near:
            for turns in drawn:
                assert len({pool.patients[turn.image] for turn in turns}) == len(turns)
        return float(np.mean([np.ptp([turn.image for turn in turns]) for turns in drawn]))

    assert spread(1.0) < 60 < 100 < spread(0.0)


def test_a_lofi_says_which_training_images_are_alike(lofi) -> None:
    small = replace(pool_of(5), squares=pool_of(5).squares[:, ::2, ::2])
    pool = with_embeddings(small, lofi, batch=2)
    assert pool.embeddings.shape[0] == 5
    np.testing.assert_allclose(np.linalg.norm(pool.embeddings, axis=1), 1, atol=1e-5)
    whole = with_embeddings(small, lofi)
    with pytest.raises(BenchError, match="near_by: this LoFi takes pictures of 32 pixels"):
        with_embeddings(pool_of(5), lofi)
    np.testing.assert_allclose(pool.embeddings, whole.embeddings, atol=1e-5)


def test_the_shipped_record_names_no_folder_of_a_machine(tmp_path, lofi, monkeypatch) -> None:
    run_in(tmp_path, lofi, steps=1)
    record = json.loads((tmp_path / "checkpoint/training.json").read_text())
    for start, shown in {
        str(tmp_path / "runs/a/checkpoint"): "runs/a/checkpoint",
        "/home/ada/lofi/best": "lofi/best",
        "lofi/checkpoints/lofi-tiny": "lofi/checkpoints/lofi-tiny",
        "": "",
    }.items():
        record["settings"]["init"] = start
        (tmp_path / "checkpoint/training.json").write_text(json.dumps(record))
        monkeypatch.chdir(tmp_path)
        export_vlm(tmp_path / "checkpoint", tmp_path / "shipped")
        shipped = json.loads((tmp_path / "shipped/training.json").read_text())
        assert shipped["settings"]["init"] == shown


def test_validation_of_a_random_model_finds_nothing_and_copying_something(parts) -> None:
    found = validate(parts[0], Writer(parts[1]), pool_of(30), count=6)
    assert found["made-up/4"] < 0.3
    assert 0 < found["copy"] < 1


def test_the_preset_is_read_and_a_wrong_key_is_named() -> None:
    assert read_vlm_preset("vlm-tiny").episodes.turns == 5
    with pytest.raises(BenchError, match="stepz"):
        read_vlm_preset("vlm-tiny", {"training.stepz": 3})
