"""Where a card's weights lie on this machine; nothing is ever downloaded here.

Looked for, in order: the folder that was named (or the card's own), `$BENCH_WEIGHTS/NAME`, and the
Hugging Face cache. An external model has a worker or stored answers instead.
"""

import hashlib
import json
import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from baselines.card_schema import Card
from baselines.revisions import meant, repository_of
from baselines.stored_answers import ANSWER_FILES
from harness.errors import BenchError, WeightsAbsent
from harness.file_hash import file_sha256, file_sha256s

_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".npz", ".ckpt", ".tar")
_OF_TRAINING = ("training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt")
_SHARD = re.compile(r"-\d+-of-\d+\.")  # a part, useless without the others and their index


@dataclass(frozen=True)
class Weights:
    """Files on this machine and what identifies them.

    `identity` is REPOSITORY@COMMIT for a snapshot of a hub, else a hash of the files; `also` maps
    further repositories to their folders.
    """

    folder: Path
    identity: str
    also: dict[str, Path] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """A file of the card's `source.files`."""
        return self.folder / name


def locate(card: Card, path: str = "") -> Weights:
    """The weights of a card.

    Raises:
        WeightsAbsent: they are not here; says what is missing, the licence, and how to get it.
        BenchError: `path` names no folder, or a file's hash is not the card's.
    """
    if path and not Path(path).is_dir():
        raise BenchError(f"{card.name}: {path} is no folder. Expected the folder of its weights.")
    command = worker_command(card)
    if command:
        return Weights(Path(path or "."), _command_identity(command))
    candidates = [Path(path)] if path else [_own_folder(card), _snapshot(card)]
    folder = next((found for found in candidates if found and _complete(card, found)), None)
    if folder is None:
        raise WeightsAbsent(absence(card))
    also = {entry: _other(entry, folder) for entry in card.source.also}
    known = {repository_of(entry)[0]: found for entry, found in also.items() if found is not None}
    if len(known) < len(also):
        raise WeightsAbsent(absence(card))
    _verify(card, folder)
    return Weights(folder, _identity(card, folder), known)


def worker_command(card: Card) -> list[str]:
    """The command of an external model's worker, from `$BENCH_WORKER_NAME`; empty without one.

    It is never read from a card or a model's folder: naming a program to run is the user's.
    """
    if card.external is None:
        return []
    return shlex.split(os.environ.get(f"BENCH_WORKER_{_variable(card)}", ""))


def _variable(card: Card) -> str:
    return re.sub(r"[^A-Z0-9]", "_", card.name.upper())


def _command_identity(command: list[str]) -> str:
    """A hash of the command and of every file it names: another worker is another model."""
    digest = hashlib.sha256()
    for word in command:
        content = file_sha256(word) if Path(word).is_file() else ""
        digest.update(f"{word} {content}\n".encode())
    return f"worker:{digest.hexdigest()}"


def _other(entry: str, folder: Path) -> Path | None:
    """A further repository: a folder of its name beside the weights, or its own snapshot."""
    repository, revision = repository_of(entry)
    beside = folder / repository.rpartition("/")[2]
    return beside if beside.is_dir() else _hub_folder(repository, revision)


def _own_folder(card: Card) -> Path | None:
    root = os.environ.get("BENCH_WEIGHTS", "").strip()
    return Path(root).expanduser() / card.name if root else None


def _snapshot(card: Card) -> Path | None:
    return _hub_folder(card.source.hub, card.source.revision) if card.source.hub else None


def _hub_folder(repository: str, revision: str) -> Path | None:
    """The snapshot of a repository in the Hugging Face cache, or None."""
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    root = Path(os.environ.get("HF_HUB_CACHE", f"{home}/hub")).expanduser()
    folder = root / ("models--" + repository.replace("/", "--"))
    revision = meant(repository, revision)
    reference = folder / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    snapshot = folder / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def _complete(card: Card, folder: Path) -> bool:
    if card.external is not None:
        return any((folder / name).is_file() for name in ANSWER_FILES)
    named = (folder / name for name in card.source.files)
    return all(file.is_file() for file in named) and _has_weights(folder)


def _has_weights(folder: Path) -> bool:
    """Whether there is a whole file of weights, or every part that an index names.

    One whole set is enough: a repository often has the index of a second format whose parts nobody
    downloads.
    """
    found = (file for file in folder.glob("*") if _is_weight(file.name) and file.is_file())
    if any(not _SHARD.search(file.name) for file in found):
        return True
    parts = [_parts(index) for index in folder.glob("*.index.json")]
    return any(names and all((folder / n).is_file() for n in names) for names in parts)


def _is_weight(name: str) -> bool:
    return name.endswith(_SUFFIXES) and name not in _OF_TRAINING


def _parts(index: Path) -> set[str]:
    """The files that an index of weights names; none if it cannot be read."""
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _verify(card: Card, folder: Path) -> None:
    for name, expected in zip(card.source.files, card.source.sha256, strict=False):
        found = file_sha256(folder / name)
        if found != expected:
            raise BenchError(
                f"{card.name}: {name} has SHA-256 {found[:12]}..., the card says "
                f"{expected[:12]}.... It is another file, or was damaged: fetch it again."
            )


def _identity(card: Card, folder: Path) -> str:
    if folder.parent.name == "snapshots":
        return f"{card.source.hub}@{folder.name}"
    files = sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and (file.suffix != ".json" or "card" not in file.name)
    )
    digest = hashlib.sha256()
    for file, content in zip(files, file_sha256s(files), strict=True):
        digest.update(f"{file.name} {content}\n".encode())
    return digest.hexdigest()


def absence(card: Card) -> str:
    """What is missing, its licence and gate, and the one command that gets it."""
    source = card.source
    wanted = ", ".join(source.files)
    if not any(map(_is_weight, source.files)):
        wanted = f"{wanted} and weights" if wanted else "weights"
    licence = f"Licence: {card.licence}." + (f" {card.gate}" if card.gate else "")
    if card.external is not None:
        return (
            f"{card.name}: no worker and no stored answers on this machine. {licence} "
            f"{card.external.setup} Then: export BENCH_WORKER_{_variable(card)}='PYTHON FILE', or "
            f"put {' or '.join(ANSWER_FILES)} in FOLDER/{card.name} and export BENCH_WEIGHTS=FOLDER"
        )
    if source.hub:
        names = (source.hub, *(repository_of(entry)[0] for entry in source.also))
        return (
            f"{card.name}: {wanted} of {' and '.join(names)} (revision {source.revision}) not on "
            f"this machine. {licence} Get them: bench fetch {card.name} --allow-download"
        )
    return (
        f"{card.name}: {wanted} not on this machine. {licence} Get them from {source.url} and put "
        f"them in a folder: export BENCH_WEIGHTS=FOLDER; expected in FOLDER/{card.name}"
    )
