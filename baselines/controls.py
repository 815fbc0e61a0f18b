"""Models with known answers: every leaderboard shows them, and a claim has to beat them.

Definitions: protocol, sections 2 and 3. Controls may look at the truth, which is why they are asked
through protocols of their own (`PoolScorer`, `TruthGrounder`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from baselines import caption_controls
from baselines.wording import score_wording
from harness.box_tables import BoxTable, build_box_table, clipped, tables_by_patient
from harness.boxes import Boxes, boxes_from_unit
from harness.exposure import TARGET
from harness.models import (
    AnalyticChance,
    Grounding,
    ModelCard,
    NotScorable,
    Shuffled,
    TrainedOn,
)
from harness.registry import find_model
from harness.samples import ImageText, PhraseBoxes, ProbeChoice
from harness.suite_schema import ModelReference
from harness.text import is_negated, normalize

VERSIONS = {"text-only": 2}  # others 1; 2: a phrase that opens with a denial has no boxes
CENTRE_BOX = ((0.25, 0.25, 0.75, 0.75),)  # the middle quarter of the area

BlockScores = Callable[[slice, slice], Float32[np.ndarray, "n m"]]
Table = Callable[[], BoxTable | None]


def describe(name: str) -> ModelCard:
    """The card of a control."""
    boxes = (TrainedOn(TARGET, "train", "boxes"),) if name in ("mean-box", "text-only") else ()
    version = VERSIONS.get(name, 1)
    card = ModelCard(name=name, family="control", preprocessing="none", version=version)
    return replace(card, trained_on=boxes)


def load(device: str = "cpu", *, name: str) -> Any:
    """The control of that name; controls need no device."""
    del device
    return _CONTROLS[name](describe(name))


def describe_shuffled(model: str | dict[str, Any], seed: int = 0) -> ModelCard:
    """The inner model's card under the family "control", so that it can never be a winner."""
    inner = find_model(_reference(model)).card()
    return replace(
        inner,
        name=f"{inner.name}-shuffled",
        family="control",
        preprocessing=f"{inner.preprocessing}; {inner.family}; shuffled images, seed {seed}",
    )


def load_shuffled(device: str = "cpu", *, model: str | dict[str, Any], seed: int = 0) -> Shuffled:
    """Any model, asked about a different patient's image of the same view."""
    inner = find_model(_reference(model)).load(device)
    return Shuffled(inner, describe_shuffled(model, seed), seed)


def _reference(model: str | dict[str, Any]) -> ModelReference:
    if isinstance(model, str):
        return ModelReference(name=model)
    return ModelReference.model_validate(model)


@dataclass(frozen=True)
class _Pairs:
    """A control that scores pairs by comparing codes of images with codes of texts."""

    card: ModelCard
    codes: Callable[[Sequence[ImageText]], tuple[np.ndarray, np.ndarray]]
    tells_texts_apart: bool = False

    def score_pool(self, samples: Sequence[ImageText]) -> BlockScores:
        """1 where the codes agree, else 0."""
        images, texts = self.codes(samples)

        def block(rows: slice, columns: slice) -> Float32[np.ndarray, "n m"]:
            return (images[rows, None] == texts[None, columns]).astype(np.float32)

        return block


def _codes(values: Sequence[object]) -> np.ndarray:
    """Equal values get equal codes; the empty string equals nothing, not even itself."""
    table: dict[object, int] = {}
    codes = [table.setdefault(v, len(table)) if v != "" else -1 - i for i, v in enumerate(values)]
    return np.asarray(codes, np.int64)


def _asked(samples: Sequence[ImageText]) -> np.ndarray:
    return np.flatnonzero([sample.asked for sample in samples])


def _same_text(samples: Sequence[ImageText]) -> tuple[np.ndarray, np.ndarray]:
    codes = _codes([sample.text_group or normalize(sample.text) for sample in samples])
    return codes, codes[_asked(samples)]


def _same_masked_text(samples: Sequence[ImageText]) -> tuple[np.ndarray, np.ndarray]:
    if not any(sample.masked_text for sample in samples):
        raise NotScorable("needs texts with location words masked, which only phantoms have")
    codes = _codes([normalize(sample.masked_text) for sample in samples])
    return codes, codes[_asked(samples)]


@dataclass(frozen=True)
class _Collapsed:
    """Every image and every text is the same vector."""

    card: ModelCard
    tells_texts_apart: bool = False

    def score_pool(self, samples: Sequence[ImageText]) -> BlockScores:
        """1 everywhere."""
        n, m = len(samples), len(_asked(samples))
        return lambda rows, columns: np.ones(
            (len(range(n)[rows]), len(range(m)[columns])), np.float32
        )

    def choose(self, samples: Sequence[ProbeChoice]) -> tuple[np.ndarray, np.ndarray]:
        """No difference, which is no choice."""
        return np.ones(len(samples)), np.ones(len(samples))


@dataclass(frozen=True)
class _CommonestText:
    """Every image is answered with the texts in order of how common they are."""

    card: ModelCard
    tells_texts_apart: bool = False

    def score_pool(self, samples: Sequence[ImageText]) -> BlockScores:
        """The number of asked texts with the candidate's wording, the same for all images."""
        _, texts = _same_text(samples)
        frequency = Counter(texts.tolist())
        common = np.asarray([frequency[code] for code in texts.tolist()], np.float32)
        n = len(samples)
        return lambda rows, columns: np.tile(common[columns], (len(range(n)[rows]), 1))

    def caption_samples(self, samples: Sequence[ImageText]) -> list[str]:
        """The commonest report of the other patients."""
        return caption_controls.commonest_reports(samples)

    def describe_samples(self, samples: Sequence[PhraseBoxes]) -> list[str]:
        """The commonest phrase of the other patients."""
        return caption_controls.commonest_phrases(samples)


@dataclass(frozen=True)
class _Oracle:
    """The truth itself, in every task."""

    card: ModelCard
    tells_texts_apart: bool = True

    def score_pool(self, samples: Sequence[ImageText]) -> BlockScores:
        """3 for the own pair, 2 for the same study, 1 for the same text, 0 else.

        One score serves all conventions: under each, what is relevant lies above what is not.
        """
        asked = _asked(samples)
        studies = _codes([sample.image.study_id for sample in samples])
        groups, _ = _same_text(samples)
        own = np.arange(len(samples))

        def block(rows: slice, columns: slice) -> Float32[np.ndarray, "n m"]:
            texts = asked[columns]
            score = (groups[rows, None] == groups[texts]).astype(np.float32)
            score[studies[rows, None] == studies[texts]] = 2
            score[own[rows, None] == texts] = 3
            return score

        return block

    def ground_samples(self, samples: Sequence[PhraseBoxes], table: Table) -> list[Grounding]:
        """The true boxes, with score 1 each."""
        del table
        return [_answer(sample.boxes) for sample in samples]

    def choose(self, samples: Sequence[ProbeChoice]) -> tuple[np.ndarray, np.ndarray]:
        """1 for what is true, 0 for the foil."""
        return np.ones(len(samples)), np.zeros(len(samples))

    def caption_samples(self, samples: Sequence[ImageText]) -> list[str]:
        """The true reports."""
        return caption_controls.true_reports(samples)

    def describe_samples(self, samples: Sequence[PhraseBoxes]) -> list[str]:
        """The true phrases."""
        return caption_controls.true_phrases(samples)


def _answer(boxes: Boxes) -> Grounding:
    if not len(boxes):
        return Grounding(status="empty")
    return Grounding(boxes, np.ones(len(boxes), np.float32))


@dataclass(frozen=True)
class _Fixed:
    """The same boxes for every phrase; none is an explicit "none"."""

    card: ModelCard
    boxes: tuple[tuple[float, float, float, float], ...] = ()

    def ground_samples(self, samples: Sequence[PhraseBoxes], table: Table) -> list[Grounding]:
        """The fixed boxes."""
        del table
        boxes = boxes_from_unit(self.boxes)
        return [replace(_answer(boxes), scores=None) for _ in samples]


@dataclass(frozen=True)
class _MeanBox:
    """Training mean boxes; leave-one-patient-out over the test phrases where no train split is.

    With `words` it reads the phrase: one that opens with a denial ("No effusion.") has no boxes. It
    goes by the words, not by what the data say, so "The lungs are clear." gets boxes.
    """

    card: ModelCard
    words: bool

    def ground_samples(self, samples: Sequence[PhraseBoxes], table: Table) -> list[Grounding]:
        """The mean boxes of the sample's finding (and of its location words)."""
        trained = table()
        own = {} if trained else tables_by_patient(samples)
        whole = trained or build_box_table(samples, "leave one patient out")
        return [self._one(sample, whole, own.get(sample.image.patient_id)) for sample in samples]

    def choose(self, samples: Sequence[ProbeChoice]) -> tuple[np.ndarray, np.ndarray]:
        """What the wording alone gives away: see `baselines.wording`."""
        if not self.words or any(sample.boxes is not None for sample in samples):
            raise NotScorable("it reads words, and these probes compare boxes")
        return score_wording(samples)

    def _one(self, sample: PhraseBoxes, whole: BoxTable, own: BoxTable | None) -> Grounding:
        if self.words and is_negated(sample.phrase):
            return Grounding(status="empty")
        boxes = whole.answer(sample, words=self.words, leave_out=own)
        return replace(_answer(clipped(boxes)), scores=None)


@dataclass(frozen=True)
class _Known:
    """Boxes that only the data know: the ceilings of human readers and of region supervision."""

    card: ModelCard
    boxes: Callable[[PhraseBoxes], Boxes | None]
    lack: str

    def ground_samples(self, samples: Sequence[PhraseBoxes], table: Table) -> list[Grounding]:
        """Those boxes, and none where the data have none for the sample."""
        del table
        known = [self.boxes(sample) for sample in samples]
        if all(boxes is None for boxes in known):
            raise NotScorable(self.lack)
        return [
            Grounding(status="empty") if boxes is None or not len(boxes) else Grounding(boxes)
            for boxes in known
        ]


_CONTROLS: dict[str, Callable[[ModelCard], Any]] = {
    "chance": AnalyticChance,
    "collapsed": _Collapsed,
    "oracle": _Oracle,
    "content-ceiling": lambda card: _Pairs(card, _same_text),
    "findings-only": lambda card: _Pairs(card, _same_masked_text),
    "commonest-text": _CommonestText,
    "nothing": _Fixed,
    "centre-box": lambda card: _Fixed(card, CENTRE_BOX),
    "mean-box": lambda card: _MeanBox(card, words=False),
    "text-only": lambda card: _MeanBox(card, words=True),
    "second-reader": lambda card: _Known(
        card, lambda sample: sample.second_reader, "the dataset has no second reader"
    ),
    "region-oracle": lambda card: _Known(
        card,
        lambda sample: sample.region_boxes,
        "needs the true region of each finding, which only phantoms have",
    ),
}
