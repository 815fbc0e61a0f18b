"""Text pairs of the location probe: a study's text, and the same text with one thing changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from harness.phantom.language.mention import Mention, Rates, mention
from harness.phantom.language.sentences_en import sentence
from harness.phantom.plan import DrawnFinding, StudyPlan
from harness.phantom.streams import stream
from harness.phantom.vocabulary import FINDINGS

Change = Literal["side", "zone", "finding", "negation", "severity"]

SAYS_ALL = Rates(side=1.0, zone=1.0, size=1.0, number=0.0, possible=0.0)

_OTHER_SIDE = {"left": "right", "right": "left"}
_OTHER_ZONE = {"upper": "lower", "lower": "upper", "apical": "basal", "basal": "apical"}
_OTHER_SIZE = {"small": "large", "large": "small"}
# Partners that may lie in the same places; each names the other, so neither word gives it away.
_OTHER_FINDING = {
    "consolidation": "atelectasis",
    "atelectasis": "consolidation",
    "pleural_effusion": "pneumothorax",
    "pneumothorax": "pleural_effusion",
    "nodule": "rib_fracture",
    "rib_fracture": "nodule",
    "cardiomegaly": "mediastinal_widening",
    "mediastinal_widening": "cardiomegaly",
}
_DENIED: Mapping[str, str] = {
    "pleural_effusion": "pleural effusion",
    "pneumothorax": "pneumothorax",
    "consolidation": "consolidation",
    "atelectasis": "atelectasis",
    "nodule": "nodule",
    "cardiomegaly": "cardiomegaly",
    "rib_fracture": "rib fracture",
    "calcified_granuloma": "calcified granuloma",
    "pleural_thickening": "pleural thickening",
    "mass": "mass",
}


@dataclass(frozen=True)
class TextPair:
    """A true text and a false one; `contrast` names what is true and what is false of them.

    Pairs are kept so that each contrast is as often true one way as the other: words alone are
    then worth nothing.
    """

    change: Change
    text: str
    foil: str
    contrast: tuple[str, str]
    finding: str


def say_all(m: Mention, plan: StudyPlan, place: int) -> str:
    """The mention as a sentence; the same choice of words for every change of the same finding."""
    return sentence(m, stream(plan.seed, "probe words", place))


def full_mention(drawn: DrawnFinding) -> Mention:
    """The mention that says side, zone and size."""
    return mention(drawn, SAYS_ALL, np.random.default_rng(0))


def text_pairs(plan: StudyPlan, drawn: Sequence[DrawnFinding]) -> list[TextPair]:
    """Every pair that this study's first film gives; subtle findings are left out."""
    clear = [(k, d) for k, d in enumerate(drawn) if d.visible and not d.subtle]
    said = {k: say_all(full_mention(d), plan, k) for k, d in clear}
    pairs = [_absent(plan, list(said.values()))]
    for place, d in clear:
        rest = [text for k, text in said.items() if k != place]
        names = {f.name for f in plan.findings}
        for change, (true, other), contrast in _changes(full_mention(d), names):
            foil = other if isinstance(other, str) else say_all(other, plan, place)
            pairs.append(
                TextPair(
                    change,
                    " ".join([say_all(true, plan, place), *rest]),
                    " ".join([foil, *rest]),
                    contrast,
                    d.plan.name,
                )
            )
    return pairs


_Options = list[tuple[Change, tuple[Mention, Mention | str], tuple[str, str]]]


def _changes(m: Mention, present: set[str]) -> _Options:
    """(what is changed, (the true mention, the false one), the contrast)."""
    found: _Options = []
    if m.side in _OTHER_SIDE:
        other = _OTHER_SIDE[m.side]
        contrast = (f"{m.name} {m.side}", f"{m.name} {other}")
        found.append(("side", (m, replace(m, side=other)), contrast))
    zone = _OTHER_ZONE.get(m.zone, "")
    if zone and FINDINGS[m.name].zones.get(zone):
        contrast = (f"{m.name} {m.zone}", f"{m.name} {zone}")
        found.append(("zone", (m, replace(m, zone=zone)), contrast))
    size = _OTHER_SIZE.get(m.size, "")
    if size:
        contrast = (f"{m.name} {m.size}", f"{m.name} {size}")
        found.append(("severity", (m, replace(m, size=size)), contrast))
    partner = _OTHER_FINDING.get(m.name, "")
    if partner and partner not in present:
        # Sizes and zones that only one of the two can have would give the answer away.
        bare = replace(m, size="", zone="")
        found.append(("finding", (bare, replace(bare, name=partner)), (m.name, partner)))
    if m.name in _DENIED:
        denial = f"There is no {_DENIED[m.name]}."
        found.append(("negation", (m, denial), (f"{m.name} there", f"{m.name} denied")))
    return found


def _absent(plan: StudyPlan, said: Sequence[str]) -> TextPair:
    """A true denial against the assertion of the same finding, which the patient does not have."""
    rng = stream(plan.seed, "probe absent")
    names = [name for name in _DENIED if name not in {f.name for f in plan.findings}]
    name = names[int(rng.integers(len(names)))]
    kind = FINDINGS[name]
    side = ("left", "right")[int(rng.integers(2))] if "left" in kind.sides else ""
    zones = [zone for zone in kind.zones if zone]
    zone = zones[int(rng.integers(len(zones)))] if zones else ""
    size = ("small", "large")[int(rng.integers(2))] if kind.graded else ""
    claim = say_all(Mention(name, side=side, zone=zone, size=size), plan, 9)
    return TextPair(
        "negation",
        " ".join([f"There is no {_DENIED[name]}.", *said]),
        " ".join([claim, *said]),
        (f"{name} denied", f"{name} there"),
        name,
    )


def balanced(pairs: Sequence[tuple[str, TextPair]]) -> list[tuple[str, TextPair]]:
    """The first pairs of each contrast, as many one way as the other; order is kept.

    Args:
        pairs: (id, pair).
    """
    counts: dict[tuple[str, str], int] = {}
    for _, pair in pairs:
        counts[pair.contrast] = counts.get(pair.contrast, 0) + 1
    used: dict[tuple[str, str], int] = {}
    kept = []
    for name, pair in pairs:
        used[pair.contrast] = used.get(pair.contrast, 0) + 1
        if used[pair.contrast] <= counts.get((pair.contrast[1], pair.contrast[0]), 0):
            kept.append((name, pair))
    return kept
