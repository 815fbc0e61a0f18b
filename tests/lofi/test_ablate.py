"""The arms of an ablation: what they share, how they differ, and what is refused."""

import numpy as np
import pytest
import torch
import yaml

from harness.ablation import FULL
from harness.ablation_suite import AblationSuite, Change, read_ablation
from harness.errors import BenchError
from lofi.ablate import CLI_LOSSES, pick, plan, step_at
from lofi.ablate_budget import Speed, seconds_of, steps_within
from lofi.ablate_memory import Memory
from lofi.build import build
from lofi.config import read_preset
from lofi.data import Batches
from tests.lofi.conftest import TINY, studies_for, world


@pytest.fixture
def preset(tmp_path):
    """A preset file with all four losses."""
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({**TINY, "data": {**TINY["data"], "brightness": 0.1}}))
    return str(file)


def planned(preset, **asked):
    return plan(AblationSuite(ablation="test", preset=preset, **{"seeds": [0], **asked}))


def by_name(ablation):
    return {arm.name: arm for arm in ablation.arms if arm.seed == ablation.arms[0].seed}


def model_of(arm):
    return build(arm.config, [text for _, text, _ in world()] * 3)


def test_arms_of_one_seed_start_from_the_same_weights_and_other_seeds_do_not(preset):
    ablation = planned(preset, losses=["location", "sigmoid"], seeds=[3, 4])
    states = [model_of(arm).state_dict() for arm in ablation.arms]
    for arm, state in zip(ablation.arms, states, strict=True):
        same = all(torch.equal(value, states[0][name]) for name, value in state.items())
        assert same == (arm.seed == 3)


def test_arms_see_the_same_pictures_texts_and_questions_at_every_step(preset):
    arms = by_name(planned(preset, losses=["captioning", "grounding"]))
    models = {name: model_of(arm) for name, arm in arms.items()}
    studies = studies_for(models[FULL])
    batches = {
        name: Batches(studies, model.config, tokenizers=(model.prompts, model.text_tokenizer))
        for name, model in models.items()
    }
    for step in range(4):
        full, other = (batches[name](step) for name in (FULL, "without-captioning"))
        assert torch.equal(full.pixels, other.pixels)
        assert torch.equal(full.texts, other.texts)
        assert set(full.rows) - set(other.rows) == {"captioning"}
        for name in other.rows:
            assert torch.equal(full.rows[name].image, other.rows[name].image)
            assert torch.equal(full.rows[name].sequences.ids, other.rows[name].sequences.ids)


def test_an_arm_holds_the_exact_difference_from_the_full_one_and_no_other(preset):
    arms = by_name(
        planned(
            preset,
            losses=["location"],
            changes=[Change(set={"tokens.kind": "heads", "lofi.tokens.pool": 1})],
        )
    )
    assert arms[FULL].difference == {}
    assert arms["without-location"].difference == {
        "losses.dense_captioning": (5.0, 0.0),
        "losses.grounding": (5.0, 0.0),
    }
    changed = arms["tokens.kind=heads,lofi.tokens.pool=1"]
    assert changed.difference == {"tokens.kind": ("probes", "heads"), "tokens.pool": (2, 1)}


def test_all_leaves_each_loss_out_once(preset):
    names = list(by_name(planned(preset, losses=["all"])))
    assert names == [FULL, *(f"without-{loss}" for loss in CLI_LOSSES)]
    # Without dense captioning, leaving out location and leaving out grounding are one arm.
    fewer = planned(preset, losses=["all"], set={"losses.dense_captioning": 0})
    assert list(by_name(fewer)) == [
        FULL,
        "without-sigmoid",
        "without-captioning",
        "without-location",
    ]


def test_overrides_and_steps_reach_every_arm(preset):
    ablation = planned(preset, losses=["sigmoid"], set={"location_mode": "mean"}, steps=40)
    assert {arm.config.location_mode for arm in ablation.arms} == {"mean"}
    assert {arm.config.training.steps for arm in ablation.arms} == {40}
    # Validated eight times, so that a quarter and a half of the steps are points of the curve.
    assert {arm.config.training.validate_every for arm in ablation.arms} == {5}
    assert {arm.config.training.warmup for arm in ablation.arms} == {2}


def test_the_word_of_the_method_is_understood_for_the_setting(preset):
    with pytest.raises(BenchError, match="has this value already"):
        planned(preset, changes=[Change(set={"lofi.pooling": "shared"})])
    arms = by_name(planned(preset, changes=[Change(set={"pooling": "independent"})]))
    assert arms["pooling=independent"].config.tokens.kind == "heads"


def test_an_unknown_loss_is_answered_with_the_valid_ones(preset):
    with pytest.raises(
        BenchError, match=r"unknown loss 'locaton'. Did you mean 'location'"
    ) as told:
        planned(preset, losses=["locaton"])
    assert all(loss in str(told.value) for loss in CLI_LOSSES)


REFUSED = [
    ({"losses": []}, "nothing to ablate"),
    ({"losses": ["sigmoid"], "preset": "siglip-tiny"}, "every loss is 0"),
    ({"losses": ["captioning"], "preset": "siglip-tiny"}, "weight is 0 in siglip-tiny already"),
    ({"losses": ["sigmoid"], "set": {f"losses.{n}": 0 for n in ("sigmoid", "captioning",
      "grounding", "dense_captioning")}}, "every loss is 0"),
    ({"changes": [{"set": {"tokens.kin": "heads"}}]}, "Did you mean 'kind'"),
    ({"changes": [{"set": {"tokens.kind": "both"}}]}, "tokens.kind"),
    ({"changes": [{"set": {"training.steps": 9}}]}, "same steps"),
    ({"changes": [{"set": {"data.dataset": "padchest-gr"}}]}, "other data are not compared"),
    ({"changes": [{"set": {"data.boxes": "region"}}]}, "other data are not compared"),
    ({"changes": [{"set": {"init": "runs/a"}}]}, "all arms with -o init=runs/a"),
    ({"changes": [{"set": {"towers.pretrained": "runs/a"}}]}, "with -o towers.pretrained=runs/a"),
    ({"changes": [{"set": {"data.stream": 80}}]}, "with -o data.stream=80"),
    ({"changes": [{"set": {"data.passes": 2}}]}, "with -o data.passes=2"),
    ({"changes": [{"set": {"training.validation_studies": 8}}]}, "validation_studies=8"),
    ({"changes": [{"set": {"training": {"steps": 9}}}]}, "same steps"),
    ({"changes": [{"set": {"data": {"dataset": "padchest-gr"}}}]}, "other data are not compared"),
    ({"changes": [{"set": {"lofi": {"data": {"boxes": "region"}}}}]}, "are not compared"),
    ({"changes": [{"set": {"training": {1: 2}}}]}, "unknown key '1'"),
    ({"changes": [{"set": {"tokens.kind": "heads"}}], "set": {"init": "lofi-tiny"}},
     "tokens.kind=heads has no effect: with init=lofi-tiny its towers, tokens"),
    ({"changes": [{"set": {"training.seed": 7}}]}, "Use --seeds 7"),
    ({"losses": ["sigmoid"], "set": {"training.seed": 7}}, "-o training.seed=7: .* --seeds 7"),
    ({"losses": ["sigmoid"], "set": {"training": {"seed": 7}}}, "-o training.seed=7: .*--seeds 7"),
    ({"losses": ["sigmoid"], "representation": {"set": {"towers": {"pretrained": "siglip-tiny"}}}},
     r"representation: set: towers.pretrained=siglip-tiny: .* each arm's own"),
    ({"losses": ["sigmoid"], "representation": {"set": {"training.batchsize": 4}}}, "batch_size"),
    ({"changes": [{"name": "a", "set": {"chunk": 1}}, {"name": "a", "set": {"chunk": 2}}]},
     "two arms are called 'a'"),
    ({"losses": ["location"], "evaluations": [{"task": "grunding", "dataset": "ms-cxr"}]},
     "grounding"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "message"), REFUSED)
def test_what_makes_no_ablation_is_refused_by_name(preset, asked, message):
    with pytest.raises(BenchError, match=message):
        planned(asked.get("preset", preset), **{k: v for k, v in asked.items() if k != "preset"})


@pytest.mark.parametrize("start", [("runs/a", ""), ("", "runs/b")])
def test_the_start_and_the_data_may_be_set_for_all_arms(preset, start):
    starts = {"init": start[0]} if start[0] else {"towers.pretrained": start[1]}
    shared = {**starts, "data": {"stream": 80}, "training.validation_studies": 8}
    for arm in planned(preset, losses=["location"], set=shared).arms:
        config = arm.config
        assert (config.init, config.towers.pretrained) == start
        assert (config.data.stream, config.training.validation_studies) == (80, 8)
        assert not {*shared, "data.stream"} & set(arm.difference)


def test_settings_in_a_mapping_leave_the_others_of_their_section_as_they_are(preset):
    changes = [Change(set={"tokens": {"kind": "heads"}}), Change(set={"lofi": {"chunk": 1}})]
    arms = by_name(planned(preset, changes=changes, set={"data": {"boxes": "region"}}))
    assert arms["tokens.kind=heads"].difference == {"tokens.kind": ("probes", "heads")}
    assert arms["lofi.chunk=1"].difference == {"chunk": (4096, 1)}
    for arm in arms.values():
        assert (arm.config.data.boxes, arm.config.data.vocabulary) == ("region", 400)
    own = {"set": {"training": {"batch_size": 4}}}
    told = planned(preset, losses=["sigmoid"], representation=own).shared["representation"]["set"]
    assert told["training.batch_size"] == 4
    assert "training" not in told


def test_arms_are_picked_by_name_and_the_full_one_stays(preset):
    ablation = planned(preset, losses=["all"], seeds=[0, 1])
    few = pick(ablation, ["without-location"])
    assert [arm.title for arm in few.arms] == [
        f"{name} seed {seed}" for seed in (0, 1) for name in (FULL, "without-location")
    ]
    with pytest.raises(BenchError, match="Did you mean 'without-location'"):
        pick(ablation, ["without-locaton"])


def test_the_decoder_on_frozen_encoders_runs_a_part_of_its_steps_with_short_arms():
    def steps(asked, **representation):
        suite = AblationSuite(
            ablation="t", losses=["location"], seeds=[0], steps=asked, representation=representation
        )
        return plan(suite).shared["representation"]

    usual = read_preset("lofi-tiny").training.steps
    own = read_preset("representation").training.steps
    assert steps(usual // 10)["set"]["training.steps"] == own // 10
    assert steps(2 * usual)["set"]["training.steps"] == own  # never more than its preset's
    assert steps(400, steps=70)["set"]["training.steps"] == 70
    assert steps(400, steps=0) == {}


def test_what_arms_share_does_not_hold_what_they_differ_in(preset):
    one = planned(preset, losses=["location"], seeds=[0])
    other = planned(preset, losses=["sigmoid"], seeds=[5, 6])
    assert one.shared == other.shared
    assert planned(preset, losses=["location"], limit=24).shared != one.shared


def test_a_share_of_the_steps_is_rounded_up():
    assert [step_at(share, 60) for share in (25, 50, 100)] == [15, 30, 60]
    assert [step_at(share, 2) for share in (25, 50, 100)] == [1, 1, 2]


def test_the_budget_is_divided_among_the_arms_with_room_for_questions():
    # 600 s for two arms: 300 each, 20 of them to start, half of the rest for steps of 0.5 s.
    speed = Speed(per_step=0.5, start=20.0)
    assert steps_within(600, speed, arms=2) == 280
    assert steps_within(600, speed, arms=2, at_a_time=2) == 580
    with pytest.raises(BenchError, match="longer budget"):
        steps_within(30, speed, arms=2)


@pytest.mark.parametrize("text", ["", "20", "m", "-5m", "0s", "nanm", "infh", "5 minutes"])
def test_a_budget_that_is_no_time_is_refused(text):
    with pytest.raises(BenchError, match="expected a time"):
        seconds_of(text)


def test_the_shipped_ablation_has_every_loss_and_lambda_among_values():
    suite, path = read_ablation("suites/ablation.yaml")
    assert path.name == "ablation.yaml"
    arms = by_name(plan(suite))
    assert {f"without-{loss}" for loss in CLI_LOSSES} <= set(arms)
    lambdas = {name: arm.config.losses for name, arm in arms.items() if name.startswith("lambda")}
    assert len(lambdas) >= 4
    for name, weights in lambdas.items():
        value = float(name.removeprefix("lambda-"))
        others = (weights.captioning, weights.grounding, weights.dense_captioning)
        assert np.array_equal(others, (value, value, value))
        assert weights.sigmoid == 1


def test_the_peak_of_a_stopped_session_stays_with_the_arm(tmp_path, monkeypatch):
    def now(value):
        monkeypatch.setattr("lofi.ablate_memory.peak_memory", lambda: ("resident", value))

    now(700)
    first = Memory(tmp_path)
    said = []
    first.watching(said.append)("step 1")
    assert said == ["step 1"]
    assert first.kind(sessions=1) == "resident"
    (tmp_path / "checkpoint").mkdir()
    now(300)  # the session that goes on needs less
    second = Memory(tmp_path)
    assert second.peak() == 700
    assert second.kind(sessions=2) == "resident, all sessions"


def test_a_session_that_left_no_peak_is_not_made_up_for(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    memory = Memory(tmp_path)
    memory.watching(lambda _: None)("step 9")
    assert Memory(tmp_path).kind(sessions=3) in ("resident", "cuda")
