"""Where a number was made: versions, commit, device; nothing of it enters a key."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.record import Environment

PACKAGES = (
    "cxr-bench",
    "numpy",
    "torch",
    "torchvision",
    "transformers",
    "open_clip_torch",
    "pillow",
    "pandas",
    "scipy",
    "faiss-cpu",
    "pydicom",
)


def environment(device: str) -> Environment:
    """This process's environment, without host name, user or paths."""
    commit, dirty = _git()
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        device=device,
        packages=_versions(),
        commit=commit,
        dirty=dirty,
        threads=int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
    )


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def _git() -> tuple[str, bool]:
    """Commit and dirtiness of the harness's own checkout, never of the working folder."""
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():
        return "", False
    try:
        run = ["git", "-C", str(here)]
        head = subprocess.run(
            [*run, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5
        )
        status = subprocess.run(
            [*run, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "", False
    return head.stdout.strip(), bool(status.stdout.strip())


def pick_device(wanted: str) -> str:
    """The device meant by "auto", or `wanted` itself.

    "auto" asks torch only when a model is about to be loaded, never for a finished suite.
    """
    if wanted != "auto":
        return wanted
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
