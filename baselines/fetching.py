"""Weights from the hub: the only code of the package that opens a connection, when told to."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from baselines.card_schema import Card
from baselines.revisions import meant, remember, repository_of
from baselines.weights import Weights, absence, locate
from harness.errors import BenchError
from harness.file_hash import file_sha256

# Copies of the weights for other libraries.
_OTHERS = ("*.h5", "*.msgpack", "*.onnx", "*.onnx_data", "*.tflite", "*.gguf", "*.ot")


def fetch(card: Card) -> Weights:
    """The weights after a download from the hub, every file verified against the hub's own hash.

    A card that names a branch gets the commit fetched here before, or else the newest, which is
    kept as the one that is meant (`baselines.revisions`).

    Raises:
        BenchError: no hub has them, the licence was not accepted, the hub cannot be reached, or a
            file is not what the hub says it is.
    """
    if not card.source.hub:
        raise BenchError(absence(card))
    for repository, revision in _wanted(card):
        folder = _download(card, repository, meant(repository, revision))
        for file, found, expected in mismatches(folder):
            raise BenchError(
                f"{card.name}: {file.name} of {repository} has hash {found[:12]}..., the hub says "
                f"{expected[:12]}.... It was damaged on the way: remove {folder.parent.parent} "
                "and fetch again."
            )
        remember(repository, revision, folder.name)
    return locate(card)


def _wanted(card: Card) -> Iterator[tuple[str, str]]:
    yield card.source.hub, card.source.revision
    yield from map(repository_of, card.source.also)


def _download(card: Card, repository: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RevisionNotFoundError

    try:
        folder = snapshot_download(repository, revision=revision, ignore_patterns=list(_OTHERS))
    except GatedRepoError as error:
        raise BenchError(
            f"{card.name}: {repository} is gated. {card.gate} Then: hf auth login"
        ) from error
    except RevisionNotFoundError as error:
        raise BenchError(
            f"{card.name}: {repository} has no revision {revision}. Name another one in a card of "
            "your own."
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise BenchError(f"{card.name}: {repository} cannot be fetched: {error}") from error
    return Path(folder)


def mismatches(snapshot: Path) -> Iterator[tuple[Path, str, str]]:
    """Files of a snapshot whose content does not have the hash the hub gave, found and expected.

    The hub's cache names a file's content by its hash: SHA-256 of large files, git's SHA-1 of
    others. A file that is a copy and no link carries none and is passed over.
    """
    for file in sorted(path for path in snapshot.rglob("*") if path.is_file()):
        expected = file.resolve().name
        if not file.is_symlink() or len(expected) not in (40, 64):
            continue
        found = file_sha256(file) if len(expected) == 64 else _git_hash(file)
        if found != expected:
            yield file, found, expected


def _git_hash(file: Path) -> str:
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
