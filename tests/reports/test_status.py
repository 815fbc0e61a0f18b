import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from harness.commands import reproduce as reproduce_command
from harness.commands import status as status_command
from harness.lock import RunLock
from harness.plan import plan_cells
from harness.suite_schema import Evaluation, ModelReference, Suite
from reports.health import check_folder
from reports.plan_file import read_plan, write_plan
from reports.progress import cell_states, lock_owner
from reports.tidy import COLUMNS


def bench(module, *arguments, **environment):
    return CliRunner(env=environment).invoke(module.command, [str(a) for a in arguments])


def flip(path, at=None):
    """One bit of one byte, in the middle unless said otherwise."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(bytes(data))


def test_an_untouched_folder_is_what_was_written(toy_runs):
    health = check_folder(toy_runs)
    assert len(health.records) == 16
    assert health.files > 16
    assert health.damages == ()


def test_a_flipped_byte_in_outcomes_is_found_and_named(own_runs):
    path = sorted(own_runs.glob("cells/*/outcomes/*.parquet"))[3]
    flip(path)
    (damage,) = check_folder(own_runs).damages
    assert damage.path == path
    assert "hash" in damage.reason


@pytest.mark.parametrize("place", range(0, 1000, 37))
def test_a_flipped_byte_anywhere_in_a_record_is_found_and_named(own_runs, place):
    path = sorted(own_runs.glob("cells/*/record.json"))[0]
    flip(path, path.stat().st_size * place // 1000)
    assert path in [damage.path for damage in check_folder(own_runs).damages]


def test_a_changed_score_is_found_although_the_record_still_reads(own_runs):
    path = sorted(own_runs.glob("cells/*-sharp-*/record.json"))[0]
    path.write_text(path.read_text().replace('"value": 1.0', '"value": 0.9', 1))
    (damage,) = check_folder(own_runs).damages
    assert damage.path == path
    assert "checksum" in damage.reason


def test_a_missing_outcome_file_is_named(own_runs):
    path = sorted(own_runs.glob("cells/*/outcomes/*.parquet"))[0]
    path.unlink()
    (damage,) = check_folder(own_runs).damages
    assert (damage.path, damage.reason) == (path, "is missing")


def test_looking_changes_nothing(own_runs):
    flip(sorted(own_runs.glob("cells/*/record.json"))[0])
    before = {p: p.read_bytes() for p in own_runs.rglob("*") if p.is_file()}
    check_folder(own_runs)
    assert {p: p.read_bytes() for p in own_runs.rglob("*") if p.is_file()} == before


def test_status_exits_one_and_names_the_damaged_file(own_runs):
    path = sorted(own_runs.glob("cells/*/outcomes/*.parquet"))[0]
    flip(path)
    done = bench(status_command, own_runs)
    assert done.exit_code == 1
    assert path.name in done.output.replace("\n", "")


def test_status_of_a_sound_folder_exits_zero(toy_runs):
    done = bench(status_command, toy_runs)
    assert done.exit_code == 0
    assert "14 of 16 cells finished (2 failed, 14 ok)" in done.output
    assert "the toy is broken" in done.output.replace("\n", " ")


def test_the_environment_is_printed_without_folders_or_secrets(toy_data, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    done = bench(status_command, MIMIC_CXR="/secret/place/mimic", MANIFEST=str(toy_data))
    assert done.exit_code == 0
    assert "mimic-cxr" in done.output
    assert "numpy" in done.output
    for hidden in ("/secret", str(toy_data), "hf_verysecret", os.environ.get("HOME", "/root")):
        assert hidden not in done.output


def test_what_is_planned_and_not_begun_is_waiting(own_runs):
    suite = Suite(
        suite="s",
        models=[ModelReference(name="sharp", use="toy_models:load"), ModelReference(name="oracle")],
        evaluations=[
            Evaluation(task="grounding", dataset="manifest", split="all"),
            Evaluation(task="grounding", dataset="manifest", split="test"),
        ],
    )
    write_plan(own_runs, plan_cells(suite))
    assert len(read_plan(own_runs)) == 4
    states = {
        (s.model, s.split): s.state for s in cell_states(own_runs, check_folder(own_runs).records)
    }
    assert states[("sharp", "all")] == "ok"
    assert states[("sharp", "test")] == "waiting"


def test_what_the_run_skipped_waits_for_nothing(own_runs):
    suite = Suite(
        suite="s",
        models=[ModelReference(name=name) for name in ("biovil", "gloria")],
        evaluations=[Evaluation(task="grounding", dataset="manifest", split="all")],
    )
    write_plan(own_runs, plan_cells(suite))
    row = dict.fromkeys(COLUMNS, "")
    row |= {"model": "biovil", "family": "card", "task": "grounding", "dataset": "manifest"}
    row |= {"split": "all", "cohort": "as-given", "text_policy": "official", "phantom": "false"}
    row |= {"status": "skipped", "reason": "no weights"}
    lines = [",".join(row), ",".join(row.values())]
    (own_runs / "leaderboard.csv").write_text("\n".join(lines) + "\n")
    states = {s.model: (s.state, s.detail) for s in cell_states(own_runs, [])}
    assert states == {"biovil": ("skipped", "no weights"), "gloria": ("waiting", "")}


def test_two_cohorts_and_two_readings_of_texts_are_cells_of_their_own(record, tmp_path):
    models = [ModelReference(name="m", use="toy_models:load")]
    options = {"text_policy": ["official", "chunk-mean"]}
    cohorts = [
        Evaluation(task="retrieval", dataset="mimic-cxr", cohort=cohort, options=options)
        for cohort in ("", "findings")
    ]
    write_plan(tmp_path, plan_cells(Suite(suite="s", models=models, evaluations=cohorts)))
    done = [record("m", text_policy="chunk-mean"), record("m", data={"cohort": "impression"})]
    states = {(s.cohort, s.text_policy): s.state for s in cell_states(tmp_path, done)}
    assert states == {
        ("frontal", "official"): "waiting",
        ("frontal", "chunk-mean"): "ok",
        ("findings", "official"): "waiting",
        ("findings", "chunk-mean"): "waiting",
        ("impression", "official"): "ok",  # of an earlier plan
    }


def test_the_rows_of_a_model_whose_name_begins_alike_are_not_its_own(own_runs):
    cell = next(own_runs.glob("cells/grounding-*-blunter-*"))
    (cell / "record.json").unlink()
    names = ("blunt", "blunter")
    models = [ModelReference(name=name, use="toy_models:load") for name in names]
    suite = Suite(
        suite="s",
        models=models,
        evaluations=[Evaluation(task="grounding", dataset="manifest", split="all")],
    )
    write_plan(own_runs, plan_cells(suite))
    states = {s.model: s.state for s in cell_states(own_runs, [])}
    next(own_runs.glob("cells/grounding-*-blunt-*/record.json")).unlink()
    assert states == {"blunt": "waiting", "blunter": "started"}
    assert {s.model: s.state for s in cell_states(own_runs, [])} == dict.fromkeys(names, "started")


def test_a_begun_cell_says_how_many_rows_it_has(own_runs):
    suite = Suite(
        suite="s",
        models=[ModelReference(name="sharp", use="toy_models:load")],
        evaluations=[Evaluation(task="grounding", dataset="manifest", split="all")],
    )
    write_plan(own_runs, plan_cells(suite))
    next(own_runs.glob("cells/grounding-*-sharp-*/record.json")).unlink()
    records = [r for r in check_folder(own_runs).records if r.task == "grounding"]
    (state, *_) = cell_states(own_runs, records)
    assert (state.state, state.detail) == ("started", "48 rows kept")


def test_a_run_at_work_is_told_from_one_that_died(own_runs):
    assert lock_owner(own_runs) is None
    with RunLock(own_runs / ".lock"):
        assert lock_owner(own_runs).alive is True
    script = (
        "import os, sys; from harness.lock import RunLock;"
        "RunLock(sys.argv[1]).acquire(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(own_runs / ".lock")], check=False)
    assert lock_owner(own_runs).alive is False
    assert "the run died" in bench(status_command, own_runs).output


def test_status_as_json_is_one_line_per_folder(toy_runs):
    done = bench(status_command, toy_runs, "--log-json")
    told = json.loads(done.output.splitlines()[0])
    assert len(told["cells"]) == 16
    assert told["damages"] == []


def test_a_record_is_reproduced_to_the_bit(toy_runs, toy_data):
    cell = next(toy_runs.glob("cells/grounding-*-blunt-*"))
    done = bench(reproduce_command, cell, "--data", f"manifest={toy_data}")
    assert done.exit_code == 0, done.output
    assert "reproduced:" in done.output
    assert ", 0 moved" in done.output


def test_a_number_that_moved_fails_and_is_shown(own_runs, toy_data):
    cell = next(own_runs.glob("cells/retrieval-*-sharp-*"))
    record = cell / "record.json"
    record.write_text(record.read_text().replace('"value": 1.0', '"value": 0.25', 1))
    done = bench(reproduce_command, cell, "--data", f"manifest={toy_data}")
    assert done.exit_code == 1
    assert "NOT reproduced" in done.output
    assert "0.75" in done.output


def test_reproducing_on_other_data_says_what_differs(own_runs, toy_data, tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    (films / "images").symlink_to(toy_data / "images")
    rows = (toy_data / "manifest.csv").read_text().splitlines()
    (films / "manifest.csv").write_text("\n".join(rows[:-6]) + "\n")
    cell = next(own_runs.glob("cells/retrieval-*-sharp-*"))
    done = bench(reproduce_command, cell, "--data", f"manifest={films}")
    assert done.exit_code == 1
    assert "fingerprint was" in done.output
