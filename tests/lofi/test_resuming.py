"""What a training may be gone on from: its schedule may change on the way, nothing else."""

import json

import pytest

from harness.errors import BenchError
from lofi.resuming import refuse_other_settings
from lofi.train import forget, train
from tests.lofi.conftest import make, settings, studies_for


def silent(_: str) -> None:
    """Says nothing."""


def run(folder, **training):
    model = make(training=training)
    studies = studies_for(model)
    progress = train(model, studies, studies_for(model, 6, 1), folder=folder, say=silent)
    return model, progress


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A checkpoint after two steps."""
    folder = tmp_path_factory.mktemp("begun")
    run(folder, steps=2)
    return folder / "checkpoint"


def test_a_checkpoint_of_other_settings_is_refused_by_name(tmp_path):
    run(tmp_path, steps=2)
    model = make(location_mode="mean", training={"steps": 4})
    with pytest.raises(BenchError, match=r"other settings: location_mode sum \(asked for: mean\)"):
        train(model, studies_for(model), studies_for(model), folder=tmp_path, say=silent)


def test_a_differing_setting_is_named_with_its_section(tmp_path):
    run(tmp_path, steps=2)
    model = make(data={"shift": 0.1}, training={"steps": 4})
    with pytest.raises(
        BenchError, match=r"other settings: data\.shift 0\.0 \(asked for: 0\.1\)\. Expected"
    ):
        train(model, studies_for(model), studies_for(model), folder=tmp_path, say=silent)


def test_a_checkpoint_written_before_a_key_existed_resumes_with_its_default(tmp_path):
    run(tmp_path / "old", steps=2)
    file = tmp_path / "old" / "checkpoint" / "config.json"
    written = json.loads(file.read_text())
    del written["settings"]["chunk"], written["settings"]["data"]["shift"]
    del written["settings"]["tokens"]["spatial_start"]
    file.write_text(json.dumps(written))
    _, progress = run(tmp_path / "old", steps=4)
    assert [one["from_step"] for one in progress.sessions] == [0, 2]
    other = make(data={"shift": 0.1}, training={"steps": 5})  # not the default: another setting
    file.write_text(json.dumps(written))
    with pytest.raises(BenchError, match=r"other settings: data\.shift"):
        train(other, studies_for(other), studies_for(other), folder=tmp_path / "old", say=silent)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 6),
        ("seed", 99),
        ("optimizer", "muon"),
        ("weight_decay", 0.5),
        ("clip", 9.0),
        ("precision", "bfloat16"),
        ("validation_studies", 7),
    ],
)
def test_what_would_make_it_another_run_is_refused(begun, name, value):
    with pytest.raises(BenchError, match=rf"training\.{name} .*asked for: {value}"):
        refuse_other_settings(begun, settings(training={"steps": 2, name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 9),
        ("learning_rate", 0.5),
        ("final_rate", 0.5),
        ("warmup", 5),
        ("micro_batch", 2),
        ("activation_checkpointing", True),
        ("checkpoint_minutes", 1.0),
        ("validate_every", 3),
    ],
)
def test_its_schedule_may_change(begun, name, value):
    refuse_other_settings(begun, settings(training={"steps": 2, name: value}))


def test_a_run_begun_anew_leaves_no_row_and_no_weights_of_the_old_one(tmp_path):
    model = make(training={"steps": 2})
    train(model, studies_for(model), studies_for(model), folder=tmp_path, say=silent, keep=(1,))
    (tmp_path / "notes.txt").write_text("mine")
    assert {"log.jsonl", "step-1", "checkpoint"} <= {one.name for one in tmp_path.iterdir()}
    forget(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]
