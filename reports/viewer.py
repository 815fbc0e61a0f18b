"""`bench view`: samples in a browser, served to this machine only; no pixel is ever stored."""

import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from http.cookies import SimpleCookie
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from harness.errors import BenchError
from reports.leaderboard import template_environment
from reports.page import script_hash, template_source
from reports.viewer_data import (
    SIDES,
    Gallery,
    sample_detail,
    sample_rows,
    table_list,
)
from reports.viewer_pixels import heatmap_bytes, image_bytes

HOST = "127.0.0.1"
COOKIE = "bench-view"
Query = Mapping[str, str]
Reply = tuple[str, str, bytes]  # status, content type, body
StartResponse = Callable[..., Any]

HEADERS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]


class Application:
    """The viewer as a WSGI application.

    Only requests that name this machine as host are answered, so that no other site can reach in
    by a name of its own, and only with the token: other users of the machine do not have it.
    """

    def __init__(self, gallery: Gallery, token: str):
        self._gallery = gallery
        self._token = token

    def __call__(self, environ: Mapping[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        query = {name: found[0] for name, found in parse_qs(environ["QUERY_STRING"]).items()}
        status, kind, body = self._guarded(environ, query)
        headers = [*HEADERS, ("Content-Type", kind), ("Content-Length", str(len(body)))]
        if kind.startswith("text/html"):
            headers += [("Content-Security-Policy", _policy())]
            headers += [("Set-Cookie", f"{COOKIE}={self._token}; HttpOnly; SameSite=Strict")]
        start(status, headers)
        return [body]

    def _guarded(self, environ: Mapping[str, Any], query: Query) -> Reply:
        host = environ.get("HTTP_HOST", "").rpartition(":")[0] or environ.get("HTTP_HOST", "")
        if host not in (HOST, "localhost"):
            return _text("403 Forbidden", "This viewer answers to this machine only.")
        if environ["REQUEST_METHOD"] != "GET":
            return _text("405 Method Not Allowed", "Only GET.")
        if not self._known(environ, query):
            return _text("403 Forbidden", "Open the address that `bench view` printed.")
        try:
            return self._routed(environ["PATH_INFO"], query)
        except BenchError as error:
            return _json("409 Conflict", {"error": str(error)})
        except (KeyError, IndexError, ValueError) as error:
            return _json("404 Not Found", {"error": f"not found: {error}"})

    def _known(self, environ: Mapping[str, Any], query: Query) -> bool:
        cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(COOKIE)
        given = query.get("token") or (cookie.value if cookie else "")
        return hmac.compare_digest(given.encode(), self._token.encode())

    def _routed(self, path: str, query: Query) -> Reply:
        gallery = self._gallery
        if path == "/":
            return "200 OK", "text/html; charset=utf-8", _page().encode()
        if path == "/api/tables":
            return _json("200 OK", table_list(gallery))
        table = int(query["table"])
        if path == "/api/samples":
            way = query.get("direction", "")
            return _json("200 OK", sample_rows(gallery, table, _keys(query), way))
        if path == "/api/sample":
            what = (query["id"], query.get("direction", ""))
            return _json("200 OK", sample_detail(gallery, table, _keys(query), what))
        if path == "/image":
            side = min(SIDES, key=lambda s: abs(s - int(query.get("side", SIDES[-1]))))
            return "200 OK", "image/jpeg", image_bytes(gallery, table, query["id"], side)
        if path == "/heatmap":
            record = gallery.record(table, query["model"])
            return "200 OK", "image/png", heatmap_bytes(gallery, record, query["id"])
        raise KeyError(path)


def _keys(query: Query) -> list[str]:
    return [key for key in (query.get("a", ""), query.get("b", "")) if key]


def _text(status: str, text: str) -> Reply:
    return status, "text/plain; charset=utf-8", text.encode()


def _json(status: str, data: Any) -> Reply:
    return status, "application/json", json.dumps(data, allow_nan=False).encode()


def _script() -> str:
    return template_source("viewer.js")


def _policy() -> str:
    rules = ["default-src 'none'", "img-src 'self' data:", "connect-src 'self'"]
    rules += ["style-src 'unsafe-inline'", f"script-src '{script_hash(_script())}'"]
    return "; ".join([*rules, "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"])


def _page() -> str:
    return template_environment().get_template("viewer.html.j2").render(script=_script())


class _Server(ThreadingMixIn, WSGIServer):
    """Threads, because a browser opens connections ahead on which it says nothing."""

    daemon_threads = True


class _Silent(WSGIRequestHandler):
    """No line per request: ids of restricted data would fill the terminal."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def open_server(gallery: Gallery, port: int = 0) -> tuple[WSGIServer, str]:
    """A server on the loopback interface and the address to open; port 0 takes a free one.

    Raises:
        BenchError: the port is taken.
    """
    token = secrets.token_urlsafe(16)
    try:
        server = make_server(
            HOST,
            port,
            Application(gallery, token),  # type: ignore[arg-type]
            server_class=_Server,
            handler_class=_Silent,
        )
    except OSError as error:
        raise BenchError(
            f"port {port}: cannot be opened ({error.strerror}). Choose another with --port."
        ) from error
    return server, f"http://{HOST}:{server.server_port}/?token={token}"
