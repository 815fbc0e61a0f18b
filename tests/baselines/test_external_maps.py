"""Maps and pair scores from other environments: on the film, NaN where nobody looked."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from baselines.cards import load
from baselines.external import ExternalScorer
from harness.errors import BenchError
from harness.models import EmbeddingModel, GroundingModel, NotScorable, PairScorer, Query

WORKER = Path(__file__).parents[2] / "baselines" / "worker.py"


def card_of(folder: Path, **external) -> str:
    content = {
        "title": "Mine",
        "family": "external",
        "source": {"url": "https://example.org/mine"},
        "licence": "MIT",
        "trained_on": [],
        "verified": "never",
        "patches": {"projection": "trained", "interpolation": "nearest"},
        "external": {"serves": ["ground", "score"], "setup": "Make it.", **external},
    }
    folder.mkdir(exist_ok=True)
    (folder / "card.yaml").write_text(json.dumps(content))
    return str(folder)


def stored(folder: Path, grid, *, coordinates: str = "crop square floor", **line) -> None:
    card_of(folder, coordinates=coordinates)
    answer = {"image_id": "film-0", "phrase": "a", "map": "m", **line}
    (folder / "predictions.jsonl").write_text(json.dumps(answer) + "\n")
    np.savez(folder / "maps.npz", m=np.asarray(grid))


def asked(folder: Path, film):
    [answer] = load(card=str(folder)).ground([Query(film, "a")])
    return answer


def test_a_stored_map_lies_on_the_film_and_is_nan_outside_the_crop(tmp_path, films):
    """Film 0 is 90 x 120; its middle square begins at row 15. Quarters of it: 45 pixels."""
    stored(tmp_path / "m", np.float32([[1, 2], [3, 4]]))
    answer = asked(tmp_path / "m", films[0])
    shown = answer.heatmap
    assert (answer.status, shown.shape) == ("ok", (120, 90))
    assert np.isnan(shown[:15]).all()
    assert np.isnan(shown[105:]).all()
    corners = shown[15:60, :45], shown[15:60, 45:], shown[60:105, :45], shown[60:105, 45:]
    assert [set(part.ravel().tolist()) for part in corners] == [{1.0}, {2.0}, {3.0}, {4.0}]


def test_cells_where_the_model_did_not_look_stay_nan_and_leave_the_others_as_they_are(
    tmp_path, films
):
    stored(tmp_path / "m", [[1.0, np.nan], [3.0, 4.0]])
    shown = asked(tmp_path / "m", films[0]).heatmap
    assert np.isnan(shown[15:60, 45:]).all()
    assert set(shown[15:60, :45].ravel().tolist()) == {1.0}
    assert set(shown[60:105, 45:].ravel().tolist()) == {4.0}


def test_boxes_beside_a_map_are_kept(tmp_path, films):
    stored(tmp_path / "m", [[0.5]], boxes=[[0.1, 0.2, 0.3, 0.4]], scores=[0.7])
    answer = asked(tmp_path / "m", films[0])
    assert np.allclose(answer.boxes, [[0.1, 0.2, 0.3, 0.4]])
    assert answer.scores.tolist() == pytest.approx([0.7])
    assert np.nanmax(answer.heatmap) == 0.5


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([1.0, 2.0], r"is float64 \(2,\)"),
        ([[1, 2]], "is int64"),
        (np.zeros((0, 3)), r"\(0, 3\)"),
        ([[np.inf, 0.0]], "an infinity"),
        ([[np.nan, np.nan]], "nothing but NaN"),
    ],
)
def test_what_is_no_map_is_an_error_that_says_what_it_is(tmp_path, films, grid, message):
    stored(tmp_path / "m", grid)
    with pytest.raises(BenchError, match=message):
        asked(tmp_path / "m", films[0])


def test_a_map_that_is_not_there_is_an_error(tmp_path, films):
    stored(tmp_path / "m", [[1.0]], map="another")
    with pytest.raises(BenchError, match=r"maps\.npz: not readable: .*another"):
        asked(tmp_path / "m", films[0])


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """A model behind the reference worker with another class of model in it."""
    models = []

    def start(body: str, **external):
        file = tmp_path / "w.py"
        text = WORKER.read_text()
        file.write_text(
            text.replace("serve(CentreBox())", "serve(Mine())").replace(
                "def answer(model", f"class Mine(CentreBox):\n{body}\n\n\ndef answer(model"
            )
        )
        monkeypatch.setenv("BENCH_WORKER_MINE", f"{sys.executable} {file}")
        model = load(card=card_of(tmp_path / "mine", seconds=60.0, **external))
        models.append(model)
        return model

    yield start
    for model in models:
        getattr(model, "outside", model).worker.stop()


def test_maps_of_a_worker_reach_the_film_each_its_own(worker, films):
    body = """
    def ground(self, image, phrase):
        if phrase == "none":
            return {"boxes": []}
        rows = [[float(phrase), float("nan")], [0.0, 0.5]]
        return {"map": rows}
"""
    model = worker(body, coordinates="crop square floor")
    answers = model.ground([Query(films[0], p) for p in ("0.25", "none", "0.75")])
    assert [a.status for a in answers] == ["ok", "empty", "ok"]
    assert answers[1].heatmap is None
    for answer, value in ((answers[0], 0.25), (answers[2], 0.75)):
        assert set(answer.heatmap[15:60, :45].ravel().tolist()) == {value}
        assert np.isnan(answer.heatmap[15:60, 45:]).all()
        assert np.isnan(answer.heatmap[:15]).all()


# --- pairs


def test_a_model_that_scores_pairs_has_no_vectors(worker, films):
    body = """
    def score(self, images, texts):
        return [[len(text) + 10 * row for text in texts] for row, _ in enumerate(images)]
"""
    model = worker(body)
    assert isinstance(model, ExternalScorer)
    assert isinstance(model, PairScorer)
    assert isinstance(model, GroundingModel)
    assert not isinstance(model, EmbeddingModel)
    assert model.score(films[:2], ["a", "abc"]).tolist() == [[1, 3], [11, 13]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("        return [[1.0]]", r"gave scores \(1, 1\) for 2 images and 3 texts"),
        ("        raise ValueError('no such film')", "ValueError: no such film"),
    ],
)
def test_scores_of_another_shape_or_none_are_an_error(worker, films, body, message):
    model = worker(f"    def score(self, images, texts):\n{body}\n")
    with pytest.raises(BenchError, match=message):
        model.score(films[:2], ["a", "b", "c"])


def test_stored_scores_are_found_by_image_and_by_hash_of_the_text(tmp_path, films):
    card = card_of(tmp_path / "m")
    texts = ["left effusion", "clear", "line"]
    np.savez(
        tmp_path / "m" / "scores.npz",
        image_ids=np.array([film.image_id for film in films]),
        text_sha256=np.array([hashlib.sha256(text.encode()).hexdigest() for text in texts]),
        scores=np.arange(12.0).reshape(4, 3),
    )
    model = load(card=card)
    assert model.score([films[2], films[0]], ["line", "left effusion"]).tolist() == [[8, 6], [2, 0]]
    with pytest.raises(BenchError, match=r"has no text_sha256 .* \(1 of 2 are missing\)"):
        model.score(films[:1], ["line", "new"])
    with pytest.raises(NotScorable, match=r"no worker and no stored predictions\.jsonl"):
        model.ground([Query(films[0], "a")])


def test_a_card_that_embeds_and_scores_pairs_is_refused(tmp_path):
    with pytest.raises(BenchError, match="either embeds or scores pairs"):
        load(card=card_of(tmp_path / "m", serves=["embed", "score"]))
