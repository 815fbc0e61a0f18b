"""Records made by hand: every report is tested on numbers a reader can check."""

import base64
import contextlib
import hashlib
import json
import select
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from harness.data_access import DataAccess
from harness.plan import plan_cells
from harness.record import DatasetInfo, ModelInfo, RunRecord, Score
from harness.run import Settings, run_cells
from harness.suite_schema import Evaluation, ModelReference, Suite

sys.path.append(str(Path(__file__).parent))  # suites here name models as toy_models:load

from toy_models import SIDE, cell_box


def build_record(model: str = "alpha", **changes) -> RunRecord:
    """A retrieval record of 200 queries; `data` and `card` change the dataset and the model."""
    data = {
        "name": "mimic-cxr",
        "split": "test",
        "cohort": "frontal",
        "n_total": 210,
        "n_used": 200,
        "patients": 150,
        "fingerprint": "f" * 64,
        "excluded": {"unreadable": 10},
    }
    card = {"name": model, "family": "open_clip", "licence": "MIT", "trained_on": []}
    data.update(changes.pop("data", {}))
    card.update(changes.pop("card", {}))
    fields = {
        "task": "retrieval",
        "suite": "retrieval",
        "status": "ok",
        "exposure": "external",
        "created": "2026-11-23T10:00:00Z",
        "command": f"bench run suites/retrieval.yaml --models {model}",
        "seed": 0,
        "scores": recall_scores(0.4),
    }
    fields.update(changes)
    identity = {"model": card, "data": data, "seed": fields["seed"], "task": fields["task"]}
    identity["policy"] = fields.get("text_policy", "official")
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    parts = {"model": ModelInfo(**card), "dataset": DatasetInfo(**data)}
    return RunRecord(**{"key": key, "identity": identity, **parts, **fields})


def recall_scores(value: float, pool: int = 200) -> list[Score]:
    """R@1, R@5 and R@10 in both directions, `value` at R@10 and less above it."""
    return [
        Score(
            metric=f"recall@{k}",
            direction=direction,
            relevance="same_study",
            value=value * share,
            low=value * share - 0.03,
            high=value * share + 0.03,
            n=200,
            patients=150,
            pool=pool,
        )
        for direction in ("image_to_text", "text_to_image")
        for k, share in ((1, 0.3), (5, 0.75), (10, 1.0))
    ]


def miou_scores(value: float, group: str = "all") -> list[Score]:
    """mIoU, Acc@0.5 and F1@0.5 of 120 phrases."""
    return [
        Score(metric=metric, group=group, value=value * share, low=None, high=None, n=120)
        for metric, share in (("miou", 1.0), ("acc@0.5", 0.8), ("f1@0.5", 0.7))
    ]


@pytest.fixture
def record() -> Callable[..., RunRecord]:
    """The function that makes a record."""
    return build_record


@pytest.fixture
def recalls() -> Callable[..., list[Score]]:
    """The function that makes retrieval scores."""
    return recall_scores


@pytest.fixture
def mious() -> Callable[..., list[Score]]:
    """The function that makes grounding scores."""
    return miou_scores


@pytest.fixture
def film() -> np.ndarray:
    """A grey image whose left half is darker than its right, 60 high and 80 wide."""
    pixels = np.full((60, 80), 60, np.uint8)
    pixels[:, 40:] = 120
    return pixels


SECRET = "Zebrafinch opacity"  # stands in every report text and phrase of the toy data
PATIENTS = 48


def write_toy_data(folder: Path) -> Path:
    """A manifest of 48 films, one bright square each; text and phrase name the square's zone."""
    (folder / "images").mkdir(parents=True)
    rows = ["image_id,file,patient_id,view,text_findings,sex"]
    phrases = []
    for index in range(PATIENTS):
        cell = index % SIDE**2
        pixels = np.random.default_rng(index).integers(40, 60, (96, 96)).astype(np.uint8)
        row, column = divmod(cell, SIDE)
        pixels[24 * row : 24 * (row + 1), 24 * column : 24 * (column + 1)] = 210
        PilImage.fromarray(pixels).save(folder / "images" / f"i{index:02}.png")
        view, sex = ("PA", "AP")[index % 2], "FM"[index % 3 == 0]
        text = f"{SECRET} in zone {cell} of film {index}."
        rows.append(f"i{index:02},images/i{index:02}.png,p{index:02},{view},{text},{sex}")
        phrase = f"{SECRET} in zone {cell}"
        line = {"image_id": f"i{index:02}", "phrase": phrase, "kind": "finding"}
        phrases.append(json.dumps({**line, "boxes": [cell_box(cell)]}))
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    (folder / "phrases.jsonl").write_text("\n".join(phrases) + "\n")
    return folder


TOY_MODELS = (
    ModelReference(name="sharp", use="toy_models:load"),
    ModelReference(name="blunt", use="toy_models:load", options={"every": 3, "shy": True}),
    ModelReference(name="blunter", use="toy_models:load", options={"every": 2}),
    ModelReference(name="leaky", use="toy_models:load", options={"seen": True, "every": 4}),
    ModelReference(name="wreck", use="toy_models:broken"),
    *(ModelReference(name=n) for n in ("chance", "oracle", "centre-box", "text-only", "nothing")),
)


def run_toy_suite(data: Path, out: Path, **options: Any) -> None:
    """Both tasks on the toy data with all toy models, through the harness's own runner."""
    evaluations = [
        Evaluation(
            task="retrieval",
            dataset="manifest",
            split="all",
            options={"relevance": ["same_study", "same_text"]},
        ),
        Evaluation(task="grounding", dataset="manifest", split="all"),
    ]
    suite = Suite(suite="toy", models=list(TOY_MODELS), evaluations=evaluations)
    access = DataAccess({"manifest": data})
    settings = Settings(out, "toy", "cpu", command="bench run toy --data manifest=/home/x/films")
    list(run_cells(plan_cells(suite), access, replace(settings, **options)))


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy manifest; read only."""
    return write_toy_data(tmp_path_factory.mktemp("toy") / "films")


@pytest.fixture(scope="session")
def toy_runs(toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder on the toy data; read only."""
    out = tmp_path_factory.mktemp("runs") / "toy"
    run_toy_suite(toy_data, out)
    return out


@pytest.fixture
def own_runs(toy_runs: Path, tmp_path: Path) -> Path:
    """A copy of the runs folder that a test may change."""
    shutil.copytree(toy_runs, tmp_path / "runs")
    return tmp_path / "runs"


class Browser:
    """Headless Chromium through chromedriver's own HTTP interface (W3C WebDriver).

    Names other than loopback do not resolve, so a page that asks for anything else fails.
    """

    def __init__(self, driver: str, port: int):
        self._process = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._root = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        arguments += ["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
        arguments += ["--window-size=1280,1000", "--disable-dev-shm-usage"]
        wanted = {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        body = {"capabilities": {"alwaysMatch": wanted}}
        self._session = self._wait_for_session(body)

    def _wait_for_session(self, body: dict) -> str:
        for _ in range(200):
            try:
                reply = self._post("/session", body)
                return f"/session/{reply['sessionId']}"
            except urllib.error.URLError:
                select.select([], [], [], 0.05)  # the driver is not listening yet
        raise RuntimeError("chromedriver does not answer")

    def _post(self, path: str, body: dict) -> Any:
        request = urllib.request.Request(
            self._root + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)["value"]

    def open(self, address: str) -> None:
        self.console()
        self._post(f"{self._session}/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the script returns in the page; `arguments[0]` is the first argument."""
        body = {"script": script, "args": list(arguments)}
        return self._post(f"{self._session}/execute/sync", body)

    def wait(self, condition: str, *arguments: Any) -> Any:
        """What the expression gives once it is true; an error after ten seconds."""
        script = (
            "const done = arguments[arguments.length - 1]; const begun = performance.now();"
            "const look = () => { let found; try { found = (" + condition + "); } catch (e) {}"
            "if (found || performance.now() - begun > 10000) done(found);"
            "else setTimeout(look, 20); }; look();"
        )
        body = {"script": script, "args": list(arguments)}
        found = self._post(f"{self._session}/execute/async", body)
        assert found, f"never true: {condition}"
        return found

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        body = {"cmd": name, "params": parameters}
        return self._post(f"{self._session}/goog/cdp/execute", body)

    def size(self, width: int, height: int) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def scheme(self, name: str) -> None:
        """`light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": name}
        self.command("Emulation.setEmulatedMedia", features=[feature])

    def hover(self, selector: str) -> None:
        box = self.run(
            "const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center'});"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2];",
            selector,
        )
        self.command("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])

    def click(self, selector: str) -> None:
        self.run("document.querySelector(arguments[0]).click()", selector)

    def key(self, name: str) -> None:
        """A real key press; `name` as in KeyboardEvent.key."""
        codes = {"Escape": 27, "Enter": 13, "Tab": 9, "ArrowRight": 39, "ArrowLeft": 37}
        event = {"key": name, "windowsVirtualKeyCode": codes.get(name, ord(name[0].upper()))}
        text = "\r" if name == "Enter" else name if len(name) == 1 else ""
        typed = {"text": text} if text else {}
        self.command("Input.dispatchKeyEvent", type="keyDown", **event, **typed)
        self.command("Input.dispatchKeyEvent", type="keyUp", **event)

    def console(self) -> list[str]:
        """What the page wrote to the console since the last call."""
        logged = self._post(f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in logged]

    def screenshot(self, path: Path) -> None:
        found = self.command("Page.captureScreenshot", captureBeyondViewport=False)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        request = urllib.request.Request(self._root + self._session, method="DELETE")
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=20):
            pass
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests; skipped where there is none."""
    driver = shutil.which("chromedriver")
    if driver is None or not any(map(shutil.which, ("chromium", "google-chrome", "chrome"))):
        pytest.skip("no Chromium with chromedriver here (Debian: chromium, chromium-driver)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    browser = Browser(driver, port)
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser at desktop size in light colors; a console error fails the test."""
    chromium.size(1280, 1000)
    chromium.scheme("light")
    yield chromium
    assert chromium.console() == []
