"""PadChest-GR studies in words: one sentence per finding, in English and Spanish, and denials."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.phantom.language import sentences_en, spanish
from harness.phantom.language.mention import PHRASE, Mention, change_since, mention
from harness.phantom.plan import DrawnFinding, FindingPlan, Rendering, StudyPlan
from harness.phantom.streams import stream
from harness.phantom.vocabulary import FINDINGS

CHANGE_SAID = 0.35
UNSEEN_SHARE = 0.08  # of the findings that have an unseen synonym

_NORMAL = (
    ("The lungs are clear.", "Pulmones sin alteraciones."),
    ("No evidence of acute disease.", "Sin evidencia de enfermedad aguda."),
    ("No significant abnormality.", "Sin alteraciones significativas."),
    ("Normal chest radiograph.", "Radiografía de tórax normal."),
)
_SILENT_NORMALS = 0.05  # normal studies without any sentence, as the real set has


@dataclass(frozen=True)
class Sentence:
    """One finding of the PadChest-GR JSON; `drawn` is its place among the study's findings."""

    english: str
    spanish: str
    mention: Mention | None
    drawn: int | None
    unseen_word: bool = False

    @property
    def locations(self) -> list[str]:
        """Location strings as in `locations`: the side, then the zone, as far as they are said."""
        if self.mention is None:
            return []
        side = {"both": "bilateral"}.get(self.mention.side, self.mention.side)
        return [word for word in (side, self.mention.zone) if word]


def write_sentences(
    plan: StudyPlan,
    drawn: Sequence[DrawnFinding],
    earlier: Sequence[FindingPlan] | None,
    wording: Rendering = "padchest",
) -> tuple[Sentence, ...]:
    """The sentences of a study, visible findings first, then denials.

    Args:
        plan: the study.
        drawn: what became of its findings in its film.
        earlier: the visible findings of the prior study, None where there is no prior.
        wording: the dialect of the English sentences (the crossed cell `mimic-wording`).
    """
    rng = stream(plan.seed, "words", "padchest")
    words = stream(plan.seed, "wording", wording)
    said = [
        _say(place, d, earlier, (rng, words), wording) for place, d in enumerate(drawn) if d.visible
    ]
    absent = {name for name in FINDINGS if name not in {f.name for f in plan.findings}}
    if not said:
        return tuple(_normal(rng, absent))
    return tuple(said + _denials(rng, absent, int(rng.integers(0, 3))))


def _say(
    place: int,
    drawn: DrawnFinding,
    earlier: Sequence[FindingPlan] | None,
    streams: tuple[np.random.Generator, np.random.Generator],
    wording: Rendering,
) -> Sentence:
    rng, words = streams
    told = rng.random() < CHANGE_SAID and earlier is not None
    change = change_since(drawn.plan, earlier) if told and earlier is not None else ""
    m = mention(drawn, PHRASE, rng, change)
    if wording == "mimic":
        english, unseen = sentences_en.sentence(m, words), False
    else:
        english, unseen = sentences_en.terse_sentence(m, words, UNSEEN_SHARE)
    return Sentence(english, spanish.sentence(m, rng), m, place, unseen)


def _denials(rng: np.random.Generator, absent: set[str], wanted: int) -> list[Sentence]:
    names = [name for name in spanish.DENIALS if name in absent]
    chosen = [names[k] for k in rng.permutation(len(names))[:wanted]]
    pairs = [
        tuple(zip(sentences_en.DENIALS[name], spanish.DENIALS[name], strict=True))
        for name in chosen
    ]
    return [Sentence(*options[int(rng.integers(len(options)))], None, None) for options in pairs]


def _normal(rng: np.random.Generator, absent: set[str]) -> list[Sentence]:
    if rng.random() < _SILENT_NORMALS:
        return []
    pair = _NORMAL[int(rng.integers(len(_NORMAL)))]
    return [
        Sentence(*pair, None, None),
        *_denials(rng, absent, int(rng.choice(3, p=(0.45, 0.35, 0.2)))),
    ]
