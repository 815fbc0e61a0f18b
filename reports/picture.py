"""A picture of the report page, taken by a browser that is there anyway and reaches no network."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.errors import BenchError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 120


def find_browser() -> str | None:
    """The first Chromium on the path, or None."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def take_picture(page: Path, target: Path, *, width: int = 1280, height: int = 1500) -> Path:
    """The top of a page as a PNG of that many pixels, written to `target`.

    Raises:
        BenchError: there is no Chromium, or it gave no picture.
    """
    browser = find_browser()
    if browser is None:
        raise BenchError(
            "--picture needs Chromium or Chrome on the path (Debian: apt-get install chromium)."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-picture-") as scratch:
        taken = Path(scratch) / "page.png"
        arguments = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={scratch}/profile",
            f"--window-size={width},{height}",
            f"--screenshot={taken}",
            page.resolve().as_uri(),
        ]
        try:
            done = subprocess.run([browser, *arguments], capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{page}: the browser took more than {SECONDS} s.") from error
        if not taken.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise BenchError(f"{page}: the browser gave no picture: {' '.join(said)}")
        shutil.copyfile(taken, target)
    return target
