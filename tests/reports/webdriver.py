"""A browser for tests, driven through chromedriver's own HTTP interface."""

import base64
import contextlib
import json
import select
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


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
