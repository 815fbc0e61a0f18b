"""English sentences: a finding that is there, may be there, has changed, or is denied."""

from collections.abc import Mapping

import numpy as np

from harness.phantom.language.english import (
    UNSEEN,
    Noun,
    choose_noun,
    noun_phrase,
    pick,
    with_article,
)
from harness.phantom.language.mention import Mention

_PRESENT = (
    "there {is} {a}",
    "there {is} {a}",
    "{np} {is} present",
    "{np} {is} seen",
    "{np} {is} noted",
    "{np}",
)
_POSSIBLE = (
    "possible {np}",
    "probable {np}",
    "findings may represent {np}",
    "{np} cannot be excluded",
    "{np} {is} suspected",
)
_CHANGED: Mapping[str, tuple[str, ...]] = {
    "stable": ("unchanged {np}", "{np} {is} unchanged", "{np} {is} stable", "stable {np}"),
    "improving": ("{np} {has} improved", "{np} {has} decreased", "interval decrease in {np}"),
    "worsening": ("{np} {has} worsened", "{np} {has} increased", "interval increase in {np}"),
    "new": ("new {np}", "{np} {is} new", "{np} {is} new since the prior study"),
    "resolved": ("previously seen {np} {has} resolved", "interval resolution of {np}"),
}
_TERSE = ("{np}", "{np}", "{np}", "{np}", "there {is} {a}", "{np} {is} seen")


def capital(text: str) -> str:
    """The text with its first letter raised."""
    return text[:1].upper() + text[1:]


def _fill(frame: str, m: Mention, rng: np.random.Generator, noun: Noun) -> str:
    phrase = noun_phrase(m, rng, noun)
    many = (m.plural and bool(noun.many)) or noun.one == noun.many
    words = {
        "np": phrase,
        "a": with_article(phrase, m, noun),
        "is": "are" if many else "is",
        "has": "have" if many else "has",
    }
    return capital(frame.format(**words)) + "."


def _frames(m: Mention, terse: bool) -> tuple[str, ...]:
    if m.change:
        return _CHANGED[m.change]
    if m.possible:
        return _POSSIBLE[:2] if terse else _POSSIBLE
    return _TERSE if terse else _PRESENT


def sentence(m: Mention, rng: np.random.Generator) -> str:
    """The mention as a sentence of the MIMIC dialect."""
    return _fill(pick(rng, _frames(m, terse=False)), m, rng, choose_noun(m, rng))


def terse_sentence(m: Mention, rng: np.random.Generator, unseen: float = 0.0) -> tuple[str, bool]:
    """The mention as a sentence of the PadChest dialect, and whether its noun is unseen in MIMIC.

    Args:
        m: what is said.
        rng: the study's stream of words.
        unseen: how often a synonym that the MIMIC dialect does not know is used.
    """
    synonym = UNSEEN.get(m.name)
    use = rng.random() < unseen and synonym is not None
    noun = synonym if use and synonym else choose_noun(m, rng)
    return _fill(pick(rng, _frames(m, terse=True)), m, rng, noun), bool(use)


def describe(m: Mention, rng: np.random.Generator) -> str:
    """The mention as an MS-CXR phrase: a noun phrase, sometimes with "there is"."""
    noun = choose_noun(m, rng)
    if m.possible:
        return _fill("possible {np}", m, rng, noun).rstrip(".")
    frame = pick(rng, ("{np}", "{np}", "{np}", "there {is} {a}"))
    text = _fill(frame, m, rng, noun).rstrip(".")
    return text if rng.random() < 0.5 else text[0].lower() + text[1:]


# What is denied, by the finding it denies; the key "" denies no finding of the vocabulary.
DENIALS: Mapping[str, tuple[str, ...]] = {
    "pleural_effusion": ("No pleural effusion.", "There is no pleural effusion."),
    "pneumothorax": (
        "No pneumothorax.",
        "There is no pneumothorax.",
        "No evidence of pneumothorax.",
    ),
    "consolidation": ("No focal consolidation.", "There is no focal consolidation."),
    "edema": ("No pulmonary edema.", "There is no pulmonary edema."),
    "nodule": ("No pulmonary nodules.", "No suspicious pulmonary nodule is seen."),
    "cardiomegaly": ("Heart size is normal.", "The heart is normal in size.", "No cardiomegaly."),
    "mediastinal_widening": ("The mediastinal contours are normal.", "No mediastinal widening."),
    "hilar_enlargement": ("The hilar contours are normal.",),
    "rib_fracture": ("No displaced rib fracture.", "No acute osseous abnormality."),
}
