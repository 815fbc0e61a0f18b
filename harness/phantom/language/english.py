"""Noun phrases in English: "two nodules in the right upper lung", "small left effusion"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.phantom.language.mention import Mention
from harness.phantom.vocabulary import FINDINGS


@dataclass(frozen=True)
class Noun:
    """A name of a finding; without a plural it takes no article ("consolidation")."""

    one: str
    many: str = ""


NOUNS: Mapping[str, tuple[Noun, ...]] = {
    "pleural_effusion": (
        Noun("pleural effusion", "pleural effusions"),
        Noun("effusion", "effusions"),
    ),
    "pneumothorax": (Noun("pneumothorax", "pneumothoraces"),),
    "consolidation": (
        Noun("consolidation"),
        Noun("focal consolidation"),
        Noun("airspace opacity", "airspace opacities"),
    ),
    "atelectasis": (
        Noun("atelectasis"),
        Noun("linear atelectasis"),
        Noun("plate-like atelectasis"),
    ),
    "nodule": (
        Noun("nodule", "nodules"),
        Noun("pulmonary nodule", "pulmonary nodules"),
        Noun("nodular opacity", "nodular opacities"),
    ),
    "mass": (
        Noun("mass", "masses"),
        Noun("pulmonary mass", "pulmonary masses"),
        Noun("mass-like opacity", "mass-like opacities"),
    ),
    "cardiomegaly": (
        Noun("cardiomegaly"),
        Noun("enlargement of the cardiac silhouette"),
        Noun("cardiac enlargement"),
    ),
    "edema": (Noun("pulmonary edema"), Noun("pulmonary vascular congestion")),
    "interstitial": (
        Noun("interstitial opacities", "interstitial opacities"),
        Noun("interstitial pattern"),
        Noun("reticular opacities", "reticular opacities"),
    ),
    "rib_fracture": (
        Noun("rib fracture", "rib fractures"),
        Noun("displaced rib fracture", "displaced rib fractures"),
    ),
    "hilar_enlargement": (Noun("hilar enlargement"), Noun("hilar prominence")),
    "mediastinal_widening": (
        Noun("mediastinal widening"),
        Noun("widening of the mediastinum"),
        Noun("mediastinal enlargement"),
    ),
    "pleural_thickening": (Noun("pleural thickening"),),
    "calcified_granuloma": (
        Noun("calcified granuloma", "calcified granulomas"),
        Noun("calcified nodule", "calcified nodules"),
    ),
    "emphysema": (
        Noun("emphysema"),
        Noun("emphysematous changes", "emphysematous changes"),
        Noun("hyperinflation"),
    ),
}

# Names that no text of the MIMIC dialect uses: the `unseen-synonym` stratum of the external twin.
UNSEEN: Mapping[str, Noun] = {
    "pleural_effusion": Noun("hydrothorax"),
    "consolidation": Noun("condensation"),
    "atelectasis": Noun("subsegmental collapse"),
    "nodule": Noun("coin lesion", "coin lesions"),
    "pleural_thickening": Noun("pachypleuritis"),
}

SIZE_WORDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "size": {"small": ("small", "tiny"), "moderate": ("moderate",), "large": ("large",)},
    "severity": {
        "small": ("mild", "slight"),
        "moderate": ("moderate",),
        "large": ("severe", "marked"),
    },
}

# Zone as an adjective before the noun, and as a place after it ("{side}" may be empty).
ADJECTIVE: Mapping[str, tuple[str, ...]] = {
    "upper": ("upper lobe", "upper lung"),
    "mid": ("mid lung",),
    "lower": ("lower lobe", "lower lung"),
    "apical": ("apical",),
    "basal": ("basilar", "basal"),
    "perihilar": ("perihilar",),
    "retrocardiac": ("retrocardiac",),
}
PLACE: Mapping[str, tuple[str, ...]] = {
    "upper": ("in the {side} upper lobe", "in the {side} upper lung", "in the {side} upper zone"),
    "mid": ("in the {side} mid lung", "in the {side} mid zone"),
    "lower": ("in the {side} lower lobe", "in the {side} lower lung", "in the {side} lower zone"),
    "apical": ("at the {side} apex",),
    "basal": ("at the {side} lung base", "at the {side} base"),
    "perihilar": ("in the {side} perihilar region",),
    "retrocardiac": ("in the {side} retrocardiac region",),
    "": ("in the {side} lung",),
}
_OUTSIDE_LUNG = {"rib_fracture", "pleural_effusion", "pneumothorax", "pleural_thickening"}
NUMBERS = {2: ("two", "2"), 3: ("three", "multiple"), 4: ("multiple",)}
_RIB_ZONE = {"upper": "upper", "mid": "mid", "lower": "lower"}


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of the options, all alike."""
    return options[int(rng.integers(len(options)))]


def choose_noun(m: Mention, rng: np.random.Generator, *, plain: bool = False) -> Noun:
    """A name of the finding; the first of its names if `plain`."""
    nouns = [n for n in NOUNS[m.name] if n.many or not m.number_said] or list(NOUNS[m.name])
    favour = 0.5 if len(nouns) > 1 else 1.0
    if plain or rng.random() < favour:
        return nouns[0]
    return nouns[1 + int(rng.integers(len(nouns) - 1))] if len(nouns) > 1 else nouns[0]


def noun_phrase(m: Mention, rng: np.random.Generator, noun: Noun | None = None) -> str:
    """The finding in words without an article, in lower case.

    >>> m = Mention("pleural_effusion", side="left", size="large")
    >>> noun_phrase(m, np.random.default_rng(0), NOUNS["pleural_effusion"][0])
    'large left pleural effusion'
    """
    noun = noun or choose_noun(m, rng)
    name = noun.many if m.plural and noun.many else noun.one
    grades = SIZE_WORDS.get(FINDINGS[m.name].graded, {})
    size = pick(rng, grades[m.size]) if m.size else ""
    number = pick(rng, NUMBERS[m.count]) if m.number_said else ""
    before, after = _where(m, rng)
    return " ".join(part for part in (number, size, before, name, after) if part)


def _where(m: Mention, rng: np.random.Generator) -> tuple[str, str]:
    """Location words before and after the noun."""
    if m.side == "both":
        return _where_both(m, rng)
    if m.name == "rib_fracture":
        side = m.side and pick(rng, (m.side, f"{m.side}-sided"))
        return f"{side} {_RIB_ZONE.get(m.zone, '')}".strip(), ""
    place_after = bool(rng.random() < 0.5) and (m.zone != "" or m.name not in _OUTSIDE_LUNG)
    if m.zone == "" and m.side == "":
        return "", ""
    if place_after and not FINDINGS[m.name].fixed:
        return "", " ".join(pick(rng, PLACE[m.zone]).format(side=m.side).split())
    zone = pick(rng, ADJECTIVE[m.zone]) if m.zone else ""
    side = m.side if zone else pick(rng, (m.side, m.side, f"{m.side}-sided")) if m.side else ""
    return f"{side} {zone}".strip(), ""


_BOTH_PLACE = {
    "upper": "in both upper lungs",
    "mid": "in both mid lungs",
    "lower": "in both lower lungs",
    "apical": "at both apices",
    "basal": "at both lung bases",
    "perihilar": "in both perihilar regions",
    "": "in both lungs",
}


def _where_both(m: Mention, rng: np.random.Generator) -> tuple[str, str]:
    can_follow = m.zone != "" or m.name not in _OUTSIDE_LUNG
    if can_follow and rng.random() < 0.4 and not FINDINGS[m.name].fixed:
        return "", _BOTH_PLACE[m.zone]
    zone = pick(rng, ADJECTIVE[m.zone]) if m.zone else ""
    return f"bilateral {zone}".strip(), ""


def with_article(phrase: str, m: Mention, noun: Noun) -> str:
    """The phrase with "a" or "an"; nothing before plurals and what cannot be counted."""
    if m.plural or not noun.many or noun.one == noun.many:
        return phrase
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase
