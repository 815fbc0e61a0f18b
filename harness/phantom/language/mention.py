"""What a text says of a finding, before it is put into words; what is unsaid stays unsaid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.phantom.plan import DrawnFinding, FindingPlan
from harness.phantom.vocabulary import FINDINGS, SIZES

Change = Literal["", "stable", "improving", "worsening", "new", "resolved"]


# Scars: they are not said to grow or shrink.
_LASTING = {"rib_fracture", "calcified_granuloma", "pleural_thickening", "emphysema"}


@dataclass(frozen=True)
class Rates:
    """How often a text says what it could say, and how often it hedges.

    A subtle finding is hedged three times as often.
    """

    side: float
    zone: float
    size: float
    number: float = 0.5
    possible: float = 0.06


FULL = Rates(side=0.95, zone=0.8, size=0.8, number=0.7)  # the findings section of a report
SHORT = Rates(side=0.75, zone=0.35, size=0.5, number=0.3)  # its impression
PHRASE = Rates(side=0.68, zone=0.4, size=0.55)  # MS-CXR phrases, PadChest-GR sentences


@dataclass(frozen=True)
class Mention:
    """What is said of one finding; "" or False is unsaid. Sides are the patient's.

    `count` is the number of foci that show: it decides the plural even where it is unsaid.
    """

    name: str
    side: str = ""
    zone: str = ""
    size: str = ""
    count: int = 1
    number_said: bool = False
    possible: bool = False
    change: Change = ""

    @property
    def plural(self) -> bool:
        """Whether there are several foci to speak of (several spots, or both sides)."""
        return self.count > 1 or (self.side == "both" and not FINDINGS[self.name].fixed)


def seen_side(drawn: DrawnFinding) -> str:
    """The side on which the finding shows: a bilateral one may show on one side only."""
    if drawn.plan.side != "both" or not len(drawn.exact):
        return drawn.plan.side
    on_left = (drawn.exact[:, 0] + drawn.exact[:, 2]) / 2 > 0.5  # of the picture's middle
    return "both" if on_left.any() and not on_left.all() else "left" if on_left.all() else "right"


def seen_count(drawn: DrawnFinding) -> int:
    """How many foci show; those that run together on the film are one."""
    return max(1, min(drawn.plan.count, len(drawn.exact)))


def mention(
    drawn: DrawnFinding, rates: Rates, rng: np.random.Generator, change: Change = ""
) -> Mention:
    """What one text says of a drawn finding. Draws are used up whether or not they are needed."""
    plan, kind = drawn.plan, FINDINGS[drawn.plan.name]
    shown, count = seen_side(drawn), seen_count(drawn)
    side, zone, size, number, possible = rng.random(5)
    hedge = rates.possible * (3.0 if drawn.subtle else 1.0)
    sided = shown != "none" and not (kind.fixed and shown == "both")
    return Mention(
        name=plan.name,
        side=shown if sided and side < rates.side else "",
        zone=plan.zone if zone < rates.zone else "",
        size=plan.size if kind.graded and size < rates.size else "",
        count=count,
        number_said=count > 1 and bool(number < rates.number),
        possible=bool(possible < hedge) and not change,
        change=change,
    )


def change_since(plan: FindingPlan, earlier: Sequence[FindingPlan]) -> Change:
    """How a finding stands against the visible findings of the prior study."""
    for other in earlier:
        if other.name == plan.name:
            if plan.name in _LASTING and plan.side == other.side:
                return "stable"
            step = list(SIZES).index(plan.size) - list(SIZES).index(other.size)
            if (plan.side, plan.zone, plan.count) != (other.side, other.zone, other.count):
                return "new"
            return "stable" if step == 0 else "worsening" if step > 0 else "improving"
    return "new"


def key(mention: Mention, *, located: bool = True) -> str:
    """The content in canonical words: what two wordings of one mention share.

    With `located=False` side, zone and number are masked (protocol.md §8.1, `findings-only`).

    >>> key(Mention("nodule", side="left", zone="upper", count=2, number_said=True))
    'nodule left upper 2'
    >>> key(Mention("pleural_effusion", side="left", size="small"), located=False)
    'small pleural effusion'
    """
    said = [mention.size, mention.name.replace("_", " ")]
    if located:
        count = mention.count if mention.number_said else ("several" if mention.count > 1 else "")
        said += [mention.side, mention.zone, str(count)]
    return " ".join(part for part in said if part)


def masked(mentions: Sequence[Mention]) -> str:
    """A study's text with every location word masked; "normal" where nothing is found."""
    return "; ".join(sorted(key(m, located=False) for m in mentions)) or "normal"


def content(mentions: Sequence[Mention]) -> str:
    """A study's text in canonical words, locations included; "normal" where nothing is found."""
    return "; ".join(sorted(key(m) for m in mentions)) or "normal"
