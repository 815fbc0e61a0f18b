"""Queries for findings that a study does not have: only an explicit "none" is right there."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from harness.text import normalize


@dataclass(frozen=True)
class _Candidate:
    name: str
    english: str
    spanish: str
    close: tuple[str, ...]  # words of labels that may mean the same on a film


_CANDIDATES = (
    _Candidate("pneumothorax", "Pneumothorax.", "Neumotórax.", ("pneumothorax",)),
    _Candidate(
        "pleural effusion",
        "Pleural effusion.",
        "Derrame pleural.",
        ("effusion", "hydropneumothorax", "empyema", "costophrenic", "fissure", "pleural"),
    ),
    _Candidate(
        "nodule",
        "Nodule.",
        "Nódulo.",
        ("nodule", "nodular", "pseudonodule", "mass", "granuloma", "nipple", "metastasis", "tumor"),
    ),
    _Candidate("rib fracture", "Rib fracture.", "Fractura costal.", ("fracture", "callus", "rib")),
)


@dataclass(frozen=True)
class AbsentFinding:
    """A finding to ask for that the study does not have."""

    name: str
    english: str
    spanish: str


def absent_finding(image_id: str, labels: Iterable[str]) -> AbsentFinding | None:
    """One well-defined finding that none of the study's labels comes near, or None.

    Which one depends on the image id alone, so that every model and language is asked the same.

    >>> absent_finding("a", ["nodule", "rib fracture", "pleural effusion"]).name
    'pneumothorax'
    """
    words = {word for label in labels for word in normalize(label).split()}
    possible = [c for c in _CANDIDATES if not words & set(c.close)]
    if not possible:
        return None
    number = int.from_bytes(sha256(image_id.encode()).digest()[:8], "big")
    chosen = possible[number % len(possible)]
    return AbsentFinding(chosen.name, chosen.english, chosen.spanish)
