"""A stream of phantoms: new patients, the harness's own loaders, batches of (seed, step) alone."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from harness.datasets.training import load_training
from harness.errors import BenchError
from harness.phantom.cache import ensure_phantom
from harness.phantom.version import VERSION
from harness.phantom.world import space
from lofi.ahead import Ahead, in_background
from lofi.config import Data, read_preset
from lofi.drawn import Chunks, draw_chunk, forget_chunk
from lofi.fit import Fit, fit
from lofi.stream import KEPT, Phantoms, Stream, StreamedBatches, open_phantoms, steps_of
from lofi.train import train
from tests.lofi.conftest import make, studies_for

SIZE = 64  # pixels of the films here


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Chunks:
    """Two chunks of 12 studies."""
    chunks = Chunks(tmp_path_factory.mktemp("stream"), 12, "lesion", SIZE)
    for number in range(2):
        draw_chunk(chunks, number, workers=1)
    return chunks


def said(studies) -> list:
    return [
        (
            one.image.image_id,
            one.image.study_id,
            one.image.patient_id,
            one.text,
            one.labels,
            [(phrase, np.asarray(boxes).round(5).tolist()) for phrase, boxes in one.regions],
            one.image.file.read_bytes(),
        )
        for one in studies
    ]


def test_a_chunk_is_what_the_twin_has_for_the_same_studies(drawn, tmp_path):
    streamed = [x for k in range(2) for x in Phantoms(drawn, workers=1).training_set(k)]
    roots = ensure_phantom("cxr-qba", "large", tmp_path, workers=1, limit=1, size=SIZE)
    found = {**roots, "cxr-qba": roots["cxr-qba-lesion"]}
    twin = load_training("mimic-cxr", "train", found, variant="lesion", phantom=True)
    assert len(streamed) == 24
    assert said(streamed) == said(twin)[:24]
    assert any(study.regions for study in streamed)


def test_its_patients_are_in_no_split_that_anything_is_judged_on(drawn):
    streamed = {one.image.patient_id for one in Phantoms(drawn, workers=1).training_set(1)}
    for name in ("train", "validation", "test"):
        first, capacity = space(name).first_patient, space(name).capacity
        own = range(10_000_000 + first, 10_000_000 + first + capacity)
        assert not any(int(patient) in own for patient in streamed), name
    assert len(streamed) == 8  # whole patients: 12 studies of 8


def test_a_chunk_says_which_generator_drew_it_and_that_it_is_for_training(drawn):
    found = Phantoms(drawn, workers=1).training_set(0)
    assert found.split == "train"
    assert found.phantom
    assert found.version.startswith(f"phantom {VERSION}-")


def test_past_the_end_of_the_range_a_stream_begins_anew(tmp_path):
    chunks = Chunks(tmp_path, 12_000, "lesion")
    assert chunks.first(1) == 12_000
    assert chunks.first(space("large").capacity // 12_000) == 0


def test_a_chunk_broken_off_is_drawn_again_and_one_that_is_there_is_not(drawn, tmp_path):
    chunks = Chunks(tmp_path, 12, "lesion", SIZE)
    part = chunks.folder(0) / "mimic-cxr" / "left-behind.txt"
    part.parent.mkdir(parents=True)
    part.write_text("half")
    told = []
    draw_chunk(chunks, 0, workers=1, progress=lambda done, of: told.append((done, of)))
    assert not part.exists()
    draw_chunk(chunks, 0, workers=1, progress=lambda done, of: told.append((done, of)))
    assert told == [(12, 12)]
    files = (one.relative_to(chunks.top) for one in chunks.top.rglob("*.jpg"))
    assert all((drawn.top / one).read_bytes() == (chunks.top / one).read_bytes() for one in files)


def test_the_next_chunk_is_drawn_by_another_process_and_old_ones_are_removed(drawn, monkeypatch):
    phantoms, begun = Phantoms(drawn, workers=1), []
    monkeypatch.setattr(subprocess, "Popen", lambda command, env: begun.append((command, env)))
    phantoms.draw_ahead(1)  # it is there
    assert not begun
    phantoms.draw_ahead(7)
    phantoms.draw_ahead(7)
    [(command, env)] = begun
    assert command[1:5] == ["-m", "lofi.drawn", str(drawn.top), "7"]
    assert str(Path(__file__).parents[2]) in env["PYTHONPATH"]
    gone = []
    monkeypatch.setattr("lofi.stream.forget_chunk", lambda _, number: gone.append(number))
    for number in range(1, 7):
        Phantoms(drawn).draw_ahead(number)
    assert gone == [number - 2 - KEPT for number in range(1, 7) if number - 2 - KEPT > 0]
    Phantoms(drawn, leads=False).draw_ahead(9)
    assert len(begun) == 6  # 2 to 6 and one before; another process draws 9


def test_the_command_that_runs_ahead_draws_the_chunk_it_names(tmp_path):
    what = (tmp_path, 3, 12, "region", SIZE, 1)
    command = [sys.executable, "-m", "lofi.drawn", *map(str, what)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    chunks = Chunks(tmp_path, 12, "region", SIZE)
    assert chunks.is_drawn(3)
    forget_chunk(chunks, 3)
    assert not list(chunks.folder(3).parent.iterdir())


def stream_for(model, asked=None) -> Stream:
    """Chunks of the small world, four steps each."""
    log = asked if asked is not None else []

    def read(number: int):
        log.append(("read", number))
        return studies_for(model, 12, seed=number)

    return Stream(read, 4, lambda number: log.append(("ahead", number)))


def same(one, other) -> bool:
    rows = all(
        torch.equal(one.rows[k].sequences.ids, other.rows[k].sequences.ids) for k in one.rows
    )
    return rows and all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("pixels", "texts", "row", "study", "key", "known")
    )


def test_the_batch_of_a_step_hangs_on_seed_and_step_alone():
    model = make(training={"steps": 12}, data={"brightness": 0.2, "shift": 0.1})
    tools = (model.prompts, model.text_tokenizer)
    walked = StreamedBatches(stream_for(model), model.config, tokenizers=tools)
    through = [walked(step) for step in range(12)]
    for step in (0, 3, 4, 11):
        direct = StreamedBatches(stream_for(model), model.config, tokenizers=tools)
        assert same(direct(step), through[step]), step
    assert not same(through[0], through[3])
    assert not torch.equal(through[3].pixels, through[4].pixels)


def test_each_chunk_is_asked_for_once_and_the_next_one_while_it_is_used():
    model, asked = make(training={"steps": 10}), []
    tools = (model.prompts, model.text_tokenizer)
    batches = StreamedBatches(stream_for(model, asked), model.config, tokenizers=tools)
    for step in range(10):
        batches(step)
    assert [one for one in asked if one[0] == "ahead"] == [("ahead", 1), ("ahead", 2)]  # 3 is none
    assert sorted(one[1] for one in asked if one[0] == "read") == [0, 1, 2]
    assert batches.stream.chunk(2) is batches.stream.chunk(2)  # the one in use is not read again


def test_a_streamed_training_that_was_stopped_ends_in_the_same_bits(tmp_path):
    def run(folder, steps):
        model = make(training={"steps": steps, "warmup": 0, "final_rate": 1.0})
        held_out = studies_for(model, 6, 1)
        train(model, stream_for(model), held_out, folder=folder, say=lambda _: None)

    run(tmp_path / "stopped", 6)  # in the midst of the second chunk
    run(tmp_path / "stopped", 10)
    run(tmp_path / "whole", 10)
    one, other = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("stopped", "whole")
    )
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_bench_train_streams_what_the_settings_ask_for(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("lofi.stream.usable_cores", lambda: 1)
    held_out = Phantoms(Chunks(tmp_path / "other", 24, "lesion", SIZE), workers=1).training_set(9)
    monkeypatch.setattr("lofi.fit.training_set", lambda *_, **__: held_out)
    monkeypatch.setattr("lofi.stream.Chunks", lambda *given: Chunks(*given, size=SIZE))
    small = {
        "data.stream": 12,
        "data.passes": 1,
        "training.steps": 6,
        "training.batch_size": 4,
        "training.warmup": 0,
        "training.precision": "float32",
        "towers.image_size": 64,
        "towers.hidden_size": 32,
    }
    lines = []
    progress = fit(Fit("lofi-tiny", tmp_path / "run", small, device="cpu"), say=lines.append)
    assert progress.step == 6
    record = json.loads((tmp_path / "run" / "model" / "training.json").read_text())
    assert record["data"]["source"]["stream"] == {"studies": 12, "passes": 1, "shown": 24}
    assert {one["split"] for one in record["trained_on"]} == {"train"}
    assert sum(line.startswith("drawing chunk") for line in lines) >= 1
    chunks = Chunks(tmp_path / "cache" / "phantom-stream", 12, "lesion", SIZE)
    assert chunks.is_drawn(0)
    assert chunks.is_drawn(1)
    assert not chunks.is_drawn(2)  # six batches of four are two chunks


@pytest.mark.parametrize(
    ("data", "roots", "limit", "words"),
    [
        ({}, {"mimic-cxr": Path("a"), "mimic-cxr-jpg": Path("b")}, None, "real"),
        ({"dataset": "padchest-gr"}, {}, None, "padchest-gr"),
        ({}, {}, 5, "--limit 5"),
        ({"stream": 100}, {}, None, "multiple of 12"),
    ],
)
def test_what_a_stream_cannot_be_drawn_from_is_said(data, roots, limit, words):
    with pytest.raises(BenchError, match=words):
        open_phantoms(Data(**{"stream": 24, **data}), roots, limit=limit)


def test_lofi_small_streams_far_more_than_the_fixed_split():
    config = read_preset("lofi-small")
    steps = steps_of(config)
    assert steps * config.training.batch_size == config.data.stream * config.data.passes
    assert config.training.steps // steps * config.data.stream > 100 * 10_000


def test_the_next_batch_is_made_by_a_thread_and_none_after_the_last():
    by = {}

    def batches(step):
        by[step] = threading.current_thread()
        return step

    ahead = Ahead(batches, stop=3)
    assert [ahead(step) for step in range(3)] == [0, 1, 2]
    ahead.settle()
    assert sorted(by) == [0, 1, 2]
    assert [by[step] is threading.main_thread() for step in range(3)] == [True, False, False]
    assert Ahead(batches, stop=9)(5) == 5


def test_an_error_of_the_thread_is_raised_where_the_batch_is_asked_for():
    def fail():
        raise BenchError("no such chunk")

    with pytest.raises(BenchError, match="no such chunk"):
        in_background(fail).result()
