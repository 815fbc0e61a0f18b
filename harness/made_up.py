"""Made-up finding names: words that no model has read, so that only examples can explain them."""

import hashlib
from collections.abc import Iterable

import numpy as np

_ONSETS = ("b", "br", "d", "dr", "f", "fl", "g", "gr", "k", "kl", "m", "n", "p", "pl", "qu", "r")
_ONSETS += ("s", "sk", "t", "tr", "v", "vl", "w", "z")
_VOWELS = ("a", "e", "i", "o", "u", "oo", "ai", "ei")
_CODAS = ("", "b", "d", "g", "k", "l", "m", "n", "p", "r", "s", "sk", "t", "v", "x", "z")
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
