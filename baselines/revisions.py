"""Which commit of a hub repository is meant: what a card pins, or what was fetched here first.

A card that names a branch (``main``) means the commit that `bench fetch` got on this machine; it is
kept in ``revisions.json`` in the cache folder, so that every later run and fetch means the same.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from harness import atomic
from harness.cache_root import cache_root
from harness.errors import BenchError

_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit, which no one can move."""
    return _COMMIT.fullmatch(revision) is not None


def repository_of(entry: str) -> tuple[str, str]:
    """Repository and revision of an entry of `source.also`.

    >>> repository_of("me/bert@0000000000000000000000000000000000000000")[1][:4]
    '0000'
    >>> repository_of("me/bert")
    ('me/bert', 'main')
    """
    repository, _, revision = entry.partition("@")
    return repository, revision or "main"


def meant(repository: str, revision: str) -> str:
    """The commit that is meant on this machine, or the revision itself if none was fetched."""
    return revision if is_commit(revision) else _fetched().get(f"{repository}@{revision}", revision)


def remember(repository: str, revision: str, commit: str) -> None:
    """From now on this revision means that commit on this machine."""
    if not is_commit(revision):
        atomic.write_json(record_file(), {**_fetched(), f"{repository}@{revision}": commit})


def record_file() -> Path:
    """Where fetched commits are kept; who wants a newer one removes its line."""
    return cache_root() / "revisions.json"


def _fetched() -> Mapping[str, str]:
    file = record_file()
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{file}: not readable as JSON: {error}. Remove it: bench fetch writes it anew."
        ) from error
    if not isinstance(found, dict):
        raise BenchError(f"{file}: expected an object of repository@revision to commit.")
    return {str(key): str(value) for key, value in found.items()}
