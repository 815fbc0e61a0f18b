import io
import json
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image as PilImage

from harness.images import Image
from reports.runs import dataset_source, read_runs
from reports.viewer import Application
from reports.viewer_data import Gallery, table_list

TOKEN = "t0ken"


@pytest.fixture
def ask(gallery):
    """One request to the application; (status, headers, body)."""
    application = Application(gallery, TOKEN)

    def request(path, host="127.0.0.1:8000", method="GET", token=TOKEN, **query):
        environ = {
            "PATH_INFO": path,
            "QUERY_STRING": urlencode({**query, **({"token": token} if token else {})}),
            "REQUEST_METHOD": method,
            "HTTP_HOST": host,
        }
        seen = []
        body = b"".join(application(environ, lambda *found: seen.extend(found)))
        return seen[0], dict(seen[1]), body

    return request


def keys_of(ask, table=0):
    tables = json.loads(ask("/api/tables")[2])
    return {model["name"]: model["key"] for model in tables[table]["models"]}


def test_tables_list_what_can_be_looked_at_models_first(ask):
    tables = json.loads(ask("/api/tables")[2])
    assert [table["task"] for table in tables] == ["grounding", "retrieval"]
    names = [model["name"] for model in tables[1]["models"]]
    assert names[:4] == ["blunt", "blunter", "leaky", "sharp"]
    assert "chance" not in names  # computed, so it has no samples
    assert "wreck" not in names


def test_every_phrase_has_the_iou_of_both_models(ask):
    keys = keys_of(ask)
    data = json.loads(ask("/api/samples", table=0, a=keys["sharp"], b=keys["blunt"])[2])
    assert data["scores"][0] == [1.0] * 48
    right = [0.0 if zone in (0, 3, 6, 9, 12, 15) else 1.0 for zone in range(16)] * 3
    assert data["scores"][1] == right
    assert data["answers"][1].count("malformed") == 3


def test_every_query_has_the_rank_of_both_directions(ask):
    keys = keys_of(ask, 1)
    for direction in ("image_to_text", "text_to_image"):
        reply = ask("/api/samples", table=1, a=keys["sharp"], direction=direction)
        data = json.loads(reply[2])
        assert data["scores"] == [[3] * 48]  # three films share a zone: the tie counts against


def test_a_phrase_is_shown_with_truth_and_answers(ask):
    keys = keys_of(ask)
    reply = ask("/api/sample", table=0, a=keys["sharp"], b=keys["blunt"], id="i03#1")
    detail = json.loads(reply[2])
    assert detail["phrase"] == "Zebrafinch opacity in zone 3"
    assert detail["truth"] == [[0.75, 0.0, 1.0, 0.25]]
    assert detail["answers"][0]["boxes"] == detail["truth"]
    assert (detail["answers"][0]["iou"], detail["answers"][1]["iou"]) == (1.0, 0.0)


def test_a_query_is_shown_with_its_ten_best_and_which_are_relevant(ask):
    keys = keys_of(ask, 1)
    detail = json.loads(
        ask("/api/sample", table=1, a=keys["sharp"], id="i05", direction="image_to_text")[2]
    )
    top = detail["answers"][0]["top"]
    assert len(top) == 10
    assert [one["id"] for one in top if one["relevant"]] == ["i05"]
    assert top[0]["text"].startswith("Zebrafinch opacity in zone 5")


def test_demonstrations_are_shown_with_boxes_or_by_id_where_absent(gallery, ask, monkeypatch):
    keys = keys_of(ask)
    record = gallery.record(0, keys["sharp"])
    frame = gallery.frame(record).copy()
    frame["demonstrations"] = [["i07#1", "elsewhere"]] * len(frame)
    monkeypatch.setitem(gallery._memory, ("frame", record.key), frame)
    detail = json.loads(ask("/api/sample", table=0, a=keys["sharp"], id="i03#1")[2])
    near, far = detail["answers"][0]["demonstrations"]
    assert near["phrase"] == "Zebrafinch opacity in zone 7"
    assert near["boxes"] == [[0.75, 0.25, 1.0, 0.5]]
    assert far == {"id": "elsewhere"}


def test_a_film_is_a_jpeg_of_the_users_file(ask, toy_data):
    status, headers, body = ask("/image", table=0, id="i03#1", side=1200)
    assert (status, headers["Content-Type"]) == ("200 OK", "image/jpeg")
    shown = np.asarray(PilImage.open(io.BytesIO(body)), int)
    stored = np.asarray(PilImage.open(toy_data / "images" / "i03.png"), int)
    assert shown.shape == stored.shape
    assert np.abs(shown - stored).mean() < 5


def test_a_heat_map_is_clear_where_the_model_did_not_look(gallery, ask, monkeypatch):
    keys = keys_of(ask)
    record = gallery.record(0, keys["sharp"])
    frame = gallery.frame(record).copy()
    heat = np.float16([[np.nan, 1.0], [0.0, 0.5]])
    frame["heatmap"] = [heat.tobytes()] * len(frame)
    frame["heatmap_h"], frame["heatmap_w"] = 2, 2
    monkeypatch.setitem(gallery._memory, ("frame", record.key), frame)
    body = ask("/heatmap", table=0, model=keys["sharp"], id="i03#1")[2]
    alpha = np.asarray(PilImage.open(io.BytesIO(body)))[..., 3]
    assert alpha.tolist() == [[0, 190], [0, 95]]


def test_opening_a_table_reads_no_pixel(ask, monkeypatch):
    keys = keys_of(ask)  # the table is loaded by now
    ask("/api/samples", table=0, a=keys["sharp"])
    monkeypatch.setattr(Image, "read", lambda *_: pytest.fail("a film was read"))
    assert ask("/api/samples", table=0, a=keys["sharp"], b=keys["blunt"])[0] == "200 OK"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"token": ""}, "403 Forbidden"),
        ({"token": "guess"}, "403 Forbidden"),
        ({"host": "evil.example"}, "403 Forbidden"),
        ({"host": "evil.example:8000"}, "403 Forbidden"),
        ({"method": "POST"}, "405 Method Not Allowed"),
    ],
)
def test_strangers_get_nothing(ask, change, status):
    found, _, body = ask("/api/tables", **change)
    assert found == status
    assert b"manifest" not in body


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/image", {"table": 0, "id": "../../etc/passwd"}),
        ("/image", {"table": 99, "id": "i03#1"}),
        ("/api/sample", {"table": 0, "a": "0" * 64, "id": "i03#1"}),
        ("/../../etc/passwd", {"table": 0}),
        ("/api/samples", {}),
        ("/api/samples", {"table": "x"}),
    ],
)
def test_what_is_not_there_is_not_found(ask, path, query):
    assert ask(path, **query)[0] == "404 Not Found"


def test_nothing_is_kept_by_the_browser_and_no_other_address_is_allowed(ask):
    _, headers, _ = ask("/")
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "http" not in headers["Content-Security-Policy"]
    assert "HttpOnly; SameSite=Strict" in headers["Set-Cookie"]


def test_missing_data_are_said_not_hidden(toy_runs):
    elsewhere = Gallery(read_runs([toy_runs]), dataset_source({}))
    key = table_list(elsewhere)[0]["models"][0]["key"]
    application = Application(elsewhere, TOKEN)
    environ = {
        "PATH_INFO": "/api/samples",
        "QUERY_STRING": urlencode({"token": TOKEN, "table": 0, "a": key}),
        "REQUEST_METHOD": "GET",
        "HTTP_HOST": "localhost:1",
    }
    seen = []
    body = b"".join(application(environ, lambda *found: seen.extend(found)))
    assert seen[0] == "409 Conflict"
    assert "manifest" in json.loads(body)["error"]
