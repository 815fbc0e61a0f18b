"""Stored files that are not what was written: set aside, said, and computed again."""

import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path

LOG = logging.getLogger(__name__)


class CorruptFile(Exception):
    """A stored file is not what was written; caught by the stores, never shown to a user."""


def quarantine(path: Path, folder: Path, reason: str) -> None:
    """Move `path` into `folder`/quarantine under a new name and say so in the log.

    A file that is already gone (another process was first) is no error; in a folder that cannot be
    written to, the file stays where it is and is still not used.
    """
    LOG.warning("%s: %s. It is set aside and computed again.", path, reason)
    target = folder / "quarantine" / f"{path.name[:180]}.{secrets.token_hex(3)}"
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
