"""Models of other environments: stored answers, a worker, and everything a worker does wrong."""

import hashlib
import json
import os
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from baselines import process_tree
from baselines.bridge import Worker
from baselines.cards import describe, load
from harness.errors import BenchError, WeightsAbsent
from harness.models import NotScorable, Query

WORKER = Path(__file__).parents[2] / "baselines" / "worker.py"


@pytest.fixture
def card(tmp_path) -> str:
    """A card of an external model that grounds and embeds, in a folder of its own."""
    folder = tmp_path / "my-model"
    folder.mkdir()
    content = {
        "title": "Mine",
        "family": "external",
        "source": {"url": "https://example.org/mine"},
        "licence": "MIT",
        "trained_on": [],
        "verified": "never",
        "external": {
            "serves": ["ground", "embed"],
            "setup": "Make its environment.",
            "codec": "chexagent",
            "seconds": 20.0,
        },
    }
    (folder / "card.yaml").write_text(json.dumps(content))
    return str(folder)


@pytest.fixture
def start(card, monkeypatch, tmp_path):
    """A model behind a worker whose `ground` is the given code; stopped after the test."""
    started = []

    def begin(body: str | None = None, seconds: float = 20.0):
        file = WORKER
        if body is not None:
            file = tmp_path / "worker.py"
            text = WORKER.read_text()
            head, _, tail = text.partition("        del image, phrase\n")
            end = tail.partition("\n    def embed_image")
            code = textwrap.indent(textwrap.dedent(body), " " * 8)
            file.write_text(head + code + "\n" + end[1] + end[2])
        monkeypatch.setenv("BENCH_WORKER_MY_MODEL", f"{sys.executable} {file}")
        model = load(card=card)
        model.worker.seconds = seconds
        started.append(model)
        return model

    yield begin
    for model in started:
        model.worker.stop()


def test_stored_predictions_are_boxes_of_the_film_or_read_by_the_codec(tiny, films):
    model = load(card=tiny("tiny-external"))
    asked = [(0, "left effusion"), (0, "right effusion"), (1, "left effusion"), (2, "anything")]
    answers = model.ground([Query(films[n], phrase) for n, phrase in asked])
    assert [a.status for a in answers] == ["ok", "empty", "empty", "malformed"]
    assert not any(a.heatmap is not None for a in answers)
    assert np.allclose(answers[0].boxes, [[0.5, 0.5, 0.9, 0.9]])
    assert answers[3].raw == "no answer"  # a miss, and counted
    with pytest.raises(NotScorable, match="serves ground only"):
        model.embed_texts(["a"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image_id": "film-0"}', "line 1: not an answer"),
        ("{", "line 1: not an answer"),
        ('{"image_id": "film-0", "phrase": "a", "boxes": [[10, 20, 300, 400]]}', "pixels"),
        ('{"image_id": "film-0", "phrase": "a", "boxes": [[0.5, 0, 0.1, 1]]}', "inverted"),
        ('{"image_id": "film-0", "phrase": "a", "boxes": [[0, 0, 1, 1]], "scores": []}', "scores"),
    ],
)
def test_a_wrong_line_of_predictions_is_an_error_that_names_it(card, films, line, message):
    Path(card, "predictions.jsonl").write_text(line + "\n")
    with pytest.raises(BenchError, match=message):
        load(card=card).ground([Query(films[0], "a")])


def test_two_different_answers_to_one_query_are_an_error(card, films):
    one = {"image_id": "film-0", "phrase": "a", "boxes": []}
    other = {**one, "boxes": [[0, 0, 1, 1]]}
    Path(card, "predictions.jsonl").write_text(json.dumps(one) + "\n" + json.dumps(other) + "\n")
    with pytest.raises(BenchError, match="line 2: a second, different answer"):
        load(card=card).ground([Query(films[0], "a")])


def test_stored_embeddings_are_found_by_image_and_by_hash_of_the_text(card, films):
    texts = ["left effusion", "clear"]
    np.savez(
        Path(card, "embeddings.npz"),
        image_ids=np.array([film.image_id for film in films]),
        image_vectors=np.diag([3.0, 4, 5, 6]).astype(np.float32),
        text_sha256=np.array([hashlib.sha256(text.encode()).hexdigest() for text in texts]),
        text_vectors=np.float32([[0, 2], [5, 0]]),
    )
    model = load(card=card)
    assert (model.embed_images([films[2], films[0]]) == [[0, 0, 1, 0], [1, 0, 0, 0]]).all()
    assert (model.embed_texts(texts) == [[0, 1], [1, 0]]).all()
    with pytest.raises(BenchError, match=r"has no text_sha256 .* \(1 of 1 are missing\)"):
        model.embed_texts(["another"])


def test_stored_embeddings_with_a_pickle_inside_are_refused(card, films):
    np.savez(
        Path(card, "embeddings.npz"),
        image_ids=np.array(["film-0", {"a": 1}], dtype=object),
        image_vectors=np.eye(2),
    )
    with pytest.raises(BenchError, match="not readable"):
        load(card=card).embed_images(films[:1])


def test_the_reference_worker_answers_in_order_and_is_started_once(start, films):
    model = start()
    for _ in range(2):
        answers = model.ground([Query(film, "left effusion") for film in films])
        assert all(np.allclose(a.boxes, [[0.25, 0.25, 0.75, 0.75]]) for a in answers)
        assert [a.scores.tolist() for a in answers] == [[0.5]] * 4
    vectors = model.embed_texts(["abc", "a"])
    assert np.allclose(vectors, np.float32([[1, 3], [1, 1]]) / np.sqrt([[10], [2]]))
    assert model.embed_images(films).shape == (4, 2)
    assert np.allclose(np.linalg.norm(model.embed_images(films), axis=1), 1)
    assert model.worker._count == 5


def test_a_worker_sees_16_bit_films_as_the_harness_reads_them(start, films):
    body = """
        import PIL.Image
        picture = PIL.Image.open(image)
        return {"text": f"{picture.mode} {picture.size} {picture.getpixel((3, 4))}"}
    """
    model = start(body)
    raw = model.ground([Query(films[3], "a")])[0].raw
    assert raw == f"L {films[3].size()} {films[3].read()[4, 3]}"


def test_raw_text_of_a_worker_is_read_by_the_cards_codec(start, films):
    model = start('return {"text": "<|box|>(10,62),(36,88)<|/box|>"}')
    answer = model.ground([Query(films[0], "effusion")])[0]
    assert np.allclose(answer.boxes, [[0.1, 0.62, 0.36, 0.88]])
    assert answer.raw == "<|box|>(10,62),(36,88)<|/box|>"


def test_an_answer_that_was_cut_off_is_malformed_whatever_stands_in_it(start, films):
    body = """
        text = "<|box|>(10,62),(36,88)<|/box|>"
        return {"text": text, **({} if phrase == "whole" else {"complete": phrase == "ended"})}
    """
    answers = start(body).ground([Query(films[0], p) for p in ("whole", "ended", "cut")])
    assert [(a.status, len(a.boxes)) for a in answers] == [("ok", 1), ("ok", 1), ("malformed", 0)]
    assert answers[2].raw == "<|box|>(10,62),(36,88)<|/box|>"


def test_a_stored_answer_that_was_cut_off_is_malformed(card, films):
    line = {"image_id": "film-0", "phrase": "a", "boxes": [[0, 0, 1, 1]], "complete": False}
    Path(card, "predictions.jsonl").write_text(json.dumps(line))
    [answer] = load(card=card).ground([Query(films[0], "a")])
    assert (answer.status, len(answer.boxes)) == ("malformed", 0)


def test_a_worker_that_fails_on_one_item_misses_that_item_only(start, films):
    body = """
        if phrase == "bad":
            raise RuntimeError("cannot read this")
        return {"boxes": []}
    """
    answers = start(body).ground([Query(films[0], "good"), Query(films[0], "bad")])
    assert [a.status for a in answers] == ["empty", "malformed"]
    assert answers[1].raw == "RuntimeError: cannot read this"


def test_what_a_worker_prints_besides_answers_is_passed_over(start, films):
    model = start('print("Loading checkpoint shards: 100%"); return {"boxes": []}')
    assert model.ground([Query(films[0], "a")])[0].status == "empty"


def test_a_worker_that_hangs_is_ended_and_named(start, films):
    model = start("import time; time.sleep(60)", seconds=0.5)
    with pytest.raises(TimeoutError, match=r"my-model: its worker gave no answer within 0\.5 s"):
        model.ground([Query(films[0], "a")])
    assert model.worker._process is None


def test_what_a_worker_started_is_ended_with_it(films, tmp_path):
    """The shell waits for a grandchild, which holds the pipe of answers and would write a file."""
    late = tmp_path / "late"
    worker = Worker("shell", ("sh", "-c", f"(sleep 5; touch {late}); true"), 0.2)
    with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
        worker.answers([{"task": "ground", "image": films[0], "phrase": "a"}])
    for thread in threading.enumerate():
        if thread.name == "answers of shell":
            thread.join()  # until no process holds the pipe
    assert not late.exists()


def test_ending_a_worker_does_not_wait_for_who_holds_its_pipe(monkeypatch, films, tmp_path):
    monkeypatch.setattr(process_tree, "_parents", dict)  # a process that escaped its parent
    late = tmp_path / "late"
    worker = Worker("shell", ("sh", "-c", f"(sleep 5; touch {late}); true"), 0.2)
    with pytest.raises(TimeoutError):
        worker.answers([{"task": "ground", "image": films[0], "phrase": "a"}])
    assert not late.exists()


def test_a_worker_stays_in_the_process_group_that_ends_with_a_killed_cell(start, films):
    model = start()
    model.ground([Query(films[0], "a")])
    assert os.getpgid(model.worker._process.pid) == os.getpgrp()


def test_a_worker_that_dies_is_an_error_with_its_exit_code(start, films):
    model = start("import os; os._exit(7)")
    with pytest.raises(BenchError, match=r"its worker ended \(exit code 7\)"):
        model.ground([Query(films[0], "a")])


def test_a_worker_that_cannot_be_started_is_an_error(card, films, monkeypatch):
    monkeypatch.setenv("BENCH_WORKER_MY_MODEL", "/no/such/python worker.py")
    with pytest.raises(BenchError, match="cannot be started: /no/such/python"):
        load(card=card).ground([Query(films[0], "a")])


def test_requests_and_pictures_are_gone_when_the_worker_is_stopped(start, films):
    model = start()
    model.ground([Query(films[3], "a")])
    folder = Path(model.worker._folder.name)
    assert list(folder.glob("*.png"))
    model.worker.stop()
    assert not folder.exists()


def test_without_worker_and_answers_the_card_says_how_to_get_them(card):
    with pytest.raises(WeightsAbsent) as absent:
        describe(card=card)
    assert "Make its environment." in str(absent.value)
    assert "BENCH_WORKER_MY_MODEL" in str(absent.value)


def test_another_worker_is_another_model(card, monkeypatch, tmp_path):
    file = tmp_path / "w.py"
    identities = set()
    for text in ("one", "two"):
        file.write_text(text)
        monkeypatch.setenv("BENCH_WORKER_MY_MODEL", f"python {file}")
        identities.add(describe(card=card).weights)
    assert len(identities) == 2
