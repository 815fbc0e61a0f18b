"""Made-up finding names: words that no model has read, so that only examples can explain them."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from harness.samples import Dataset, PhraseBoxes
from harness.text import normalize

MADE_UP = "made-up"  # the cohort of a grounding dataset whose findings have such names

_Parts = tuple[str, ...]
_ONSETS: _Parts = ("b", "br", "d", "dr", "f", "fl", "g", "gr", "k", "kl", "m", "n", "p", "pl")
_ONSETS += ("qu", "r", "s", "sk", "t", "tr", "v", "vl", "w", "z")
_VOWELS: _Parts = ("a", "e", "i", "o", "u", "oo", "ai", "ei")
_CODAS: _Parts = ("", "b", "d", "g", "k", "l", "m", "n", "p", "r", "s", "sk", "t", "v", "x", "z")
_HELD_OUT_SHARE = 4  # every fourth name is kept for evaluation


def draw_name(draw: np.random.Generator, *, held_out: bool) -> str:
    """A pronounceable word of two or three syllables; those for evaluation are never trained on.

    >>> draw_name(np.random.default_rng(0), held_out=True) == draw_name(
    ...     np.random.default_rng(0), held_out=True
    ... )
    True
    """
    while True:
        syllables = [_syllable(draw) for _ in range(int(draw.integers(2, 4)))]
        name = "".join(syllables)
        if is_held_out(name) == held_out:
            return name


def _syllable(draw: np.random.Generator) -> str:
    parts = (_ONSETS, _VOWELS, _CODAS)
    return "".join(part[int(draw.integers(len(part)))] for part in parts)


def is_held_out(name: str) -> bool:
    """Whether a name is for evaluation only, decided by its letters alone."""
    return hashlib.sha256(name.lower().encode()).digest()[0] % _HELD_OUT_SHARE == 0


def made_up_names(findings: Iterable[str], seed: int = 0) -> dict[str, str]:
    """A held-out name for each finding, all different; each depends on its finding and `seed` only.

    >>> names = made_up_names(["nodule", "mass"])
    >>> names["mass"] == made_up_names(["mass"])["mass"] != names["nodule"]
    True
    """
    names: dict[str, str] = {}
    for finding in sorted(set(findings)):
        digest = hashlib.sha256(f"{seed} {finding}".encode()).digest()
        draw = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        names[finding] = draw_name(draw, held_out=True)
    if len(set(names.values())) < len(names):
        raise ValueError(f"seed {seed} gives two findings one name")
    return names


def finding_of(sample: PhraseBoxes) -> str:
    """What the phrase speaks of, under one name in all data sets; "" where it is not known.

    On phantoms the generator's own name, because the data sets call findings differently.
    """
    if sample.findings:
        return normalize(sample.findings[0][0].replace("_", " "))
    return normalize(sample.finding)


def with_made_up_names(dataset: Dataset) -> Dataset:
    """The dataset asked by made-up names: one sample per image and finding, with all its boxes.

    A finding has the same name in every dataset and split. Phrases without boxes or of no known
    finding are left out, with a count; so are the words for side, zone and size, which would tell
    where to look.
    """
    groups: dict[tuple[str, str], list[PhraseBoxes]] = {}
    for sample in dataset.samples:
        if isinstance(sample, PhraseBoxes) and len(sample.boxes) and finding_of(sample):
            groups.setdefault((sample.image.image_id, finding_of(sample)), []).append(sample)
    names = made_up_names(finding for _, finding in groups)
    renamed = tuple(_renamed(group, names[finding]) for (_, finding), group in groups.items())
    left_out = {
        **dataset.excluded,
        "no made-up name": dataset.n_total - sum(dataset.excluded.values()) - len(renamed),
    }
    return replace(dataset, cohort=MADE_UP, samples=renamed, excluded=left_out)


def _renamed(group: list[PhraseBoxes], name: str) -> PhraseBoxes:
    first = group[0]
    second = [s.second_reader for s in group if s.second_reader is not None]
    return replace(
        first,
        sample_id=f"{first.image.image_id}/{name}",
        phrase=name,
        finding=finding_of(first),
        boxes=np.unique(np.concatenate([sample.boxes for sample in group]), axis=0),
        comparison=False,
        second_reader=np.unique(np.concatenate(second), axis=0) if second else None,
        region_boxes=None,
        groups={key: value for key, value in first.groups.items() if key != "words"},
    )
