"""What a grounding run leaves behind, in columns: boxes answered and true boxes of every phrase."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from harness.metrics.box_numbers import BoxNumbers, box_numbers
from harness.metrics.coco import detection_rows
from harness.metrics.pixels import NAMES, map_numbers
from harness.metrics.ragged import Ragged, ragged
from harness.models import Grounding
from harness.samples import PhraseBoxes

STATUS = ("ok", "empty", "malformed")


@dataclass(frozen=True)
class Phrases:
    """What each phrase is: the facts that decide populations and macro averages."""

    patients: Int[np.ndarray, " n"]
    finding: Int[np.ndarray, " n"]  # code into `findings`
    findings: tuple[str, ...]
    negated: Bool[np.ndarray, " n"]


@dataclass(frozen=True)
class GroundingOutcomes:
    """The answers to all phrases of a cell beside the truth.

    Attributes:
        phrases: what each phrase is.
        truth: true boxes, none for a negated or absent finding.
        predicted: boxes answered; a malformed answer has none.
        status: index into `STATUS` per phrase.
        has_boxes: False where the model gave a heat map and no boxes, which box metrics skip.
        scores: one per predicted box, or None where the model gives none.
        heatmaps: (h, w) over the original image, NaN where unseen; None without heat maps.
    """

    phrases: Phrases
    truth: Ragged
    predicted: Ragged
    status: Int[np.ndarray, " n"]
    has_boxes: Bool[np.ndarray, " n"]
    scores: Float[np.ndarray, " total"] | None = None
    heatmaps: tuple[np.ndarray | None, ...] | None = None

    @property
    def patients(self) -> np.ndarray:
        """Patient code per phrase, (n,)."""
        return self.phrases.patients

    @cached_property
    def boxed(self) -> np.ndarray:
        """Which phrases have a true box, (n,) bool."""
        return self.truth.counts > 0

    @property
    def malformed(self) -> np.ndarray:
        """Which answers could not be read, (n,) bool."""
        return np.asarray(self.status == STATUS.index("malformed"))

    @cached_property
    def box_numbers(self) -> BoxNumbers:
        """Overlap, matches and RoDeO's sums per phrase, computed once for all box metrics."""
        return box_numbers(self.predicted, self.truth, self.malformed, self.scores)

    @cached_property
    def count_rows(self) -> Float[np.ndarray, "n 3"]:
        """(matched greedily, predicted, true) boxes; NaN where not answered in boxes.

        A malformed answer has no boxes; where there is no truth it counts as one, else it would
        go unpunished.
        """
        predicted = self.predicted.counts + (self.malformed & ~self.boxed)
        rows = np.stack([self.box_numbers.greedy, predicted, self.truth.counts], axis=1)
        return np.where(self.has_boxes[:, None], rows, np.nan)

    @cached_property
    def boxed_count_rows(self) -> Float[np.ndarray, "n 3"]:
        """`count_rows` of phrases with a true box, NaN elsewhere."""
        return np.where(self.boxed[:, None], self.count_rows, np.nan)

    @cached_property
    def rodeo_rows(self) -> Float[np.ndarray, "n 4"]:
        """`rodeo.rodeo_rows` of phrases answered in boxes, NaN elsewhere."""
        return np.where(self.has_boxes[:, None], self.box_numbers.rodeo, np.nan)

    @cached_property
    def boxed_rodeo_rows(self) -> Float[np.ndarray, "n 4"]:
        """`rodeo_rows` of phrases with a true box, NaN elsewhere."""
        return np.where(self.boxed[:, None], self.rodeo_rows, np.nan)

    @cached_property
    def map_numbers(self) -> Float[np.ndarray, "n 10"]:
        """`pixels.map_numbers` of every boxed phrase that has a heat map, NaN elsewhere.

        A malformed answer of a model that draws maps is a miss: no contrast, no hit, no overlap.
        """
        table = np.full((len(self), 2 * len(NAMES)), np.nan)
        if self.heatmaps:
            table[self.malformed & self.boxed] = 0.0
        for phrase, heatmap in enumerate(self.heatmaps or ()):
            if heatmap is not None and self.boxed[phrase]:
                table[phrase] = map_numbers(heatmap, self.truth[phrase])
        return table

    @cached_property
    def detections(self) -> Float[np.ndarray, "n k"]:
        """`coco.detection_rows` of every phrase answered in boxes; NaN without scores."""
        if self.scores is None:
            return np.full((len(self), 1), np.nan)
        rows = detection_rows(self.predicted, self.truth, self.scores)
        return np.where(self.has_boxes[:, None], rows, np.nan)

    def __len__(self) -> int:
        return len(self.truth)


def codes_of(values: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Integer codes and the sorted names they point to."""
    names, codes = np.unique(np.array(values, dtype=object).astype(str), return_inverse=True)
    return codes.astype(np.int64), tuple(names.tolist())


def phrases_of(samples: Sequence[PhraseBoxes]) -> Phrases:
    """What each sample's phrase is, in columns."""
    finding, findings = codes_of([s.finding for s in samples])
    return Phrases(
        patients=codes_of([s.image.patient_id for s in samples])[0],
        finding=finding,
        findings=findings,
        negated=np.array([s.negated for s in samples], bool),
    )


def _refuse(where: str, why: str) -> ValueError:
    return ValueError(f"grounding outcome {where}: {why}")


def _check_answer(where: str, answer: Grounding) -> None:
    boxes = np.asarray(answer.boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise _refuse(where, f"boxes have shape {boxes.shape}, expected (n, 4)")
    if not np.isfinite(boxes).all():
        raise _refuse(where, "a predicted box is not finite")
    if answer.scores is not None and len(answer.scores) != len(boxes):
        raise _refuse(where, f"{len(answer.scores)} scores for {len(boxes)} boxes")
    if answer.scores is not None and not np.isfinite(answer.scores).all():
        raise _refuse(where, "a score is not finite")
    if answer.status == "empty" and len(boxes):
        raise _refuse(where, f"status 'empty' with {len(boxes)} boxes")
    if answer.status == "ok" and not len(boxes) and answer.heatmap is None:
        raise _refuse(where, "status 'ok' without a box; an explicit none is 'empty'")
    heatmap = answer.heatmap
    if heatmap is not None and (np.isinf(heatmap).any() or np.isnan(heatmap).all()):
        raise _refuse(where, "the heat map holds an infinity or no number at all")


def _check_truth(where: str, boxes: np.ndarray) -> None:
    sides = boxes[:, 2:] - boxes[:, :2]
    if not np.isfinite(boxes).all() or (sides <= 0).any():
        raise _refuse(where, f"a true box is not finite or has no area: {boxes.tolist()}")


def _scores_of(answers: Sequence[Grounding], kept: Sequence[int]) -> np.ndarray | None:
    with_boxes = [a for a, n in zip(answers, kept, strict=True) if n]
    if not with_boxes or any(a.scores is None for a in with_boxes):
        return None
    return np.concatenate([np.asarray(a.scores, np.float64) for a in with_boxes])


def _given_in_boxes(answers: Sequence[Grounding], *, with_map: bool) -> np.ndarray:
    """Which answers speak in boxes; a malformed one does where the model's other answers do."""
    malformed = np.array([a.status == "malformed" for a in answers], bool)
    given = np.array([bool(len(a.boxes)) or a.status == "empty" for a in answers], bool)
    return np.where(malformed, not with_map or given[~malformed].any(), given)


def from_samples(samples: Sequence[PhraseBoxes], answers: Sequence[Grounding]) -> GroundingOutcomes:
    """The outcomes of a cell; `answers[i]` belongs to `samples[i]`.

    Boxes of a malformed answer are dropped: such an answer is wrong on every phrase.

    Raises:
        ValueError: other numbers of answers than samples, a true box without area, scores of
            another length than boxes, a value that is not finite, a status that contradicts the
            boxes, a heat map without a number.
    """
    if len(samples) != len(answers):
        raise ValueError(f"{len(answers)} answers for {len(samples)} samples")
    for sample, answer in zip(samples, answers, strict=True):
        _check_answer(sample.sample_id, answer)
        _check_truth(sample.sample_id, np.asarray(sample.boxes, np.float64).reshape(-1, 4))
    none = np.zeros((0, 4))
    kept = [none if a.status == "malformed" else np.asarray(a.boxes) for a in answers]
    with_map = any(a.heatmap is not None for a in answers)
    return GroundingOutcomes(
        phrases=phrases_of(samples),
        truth=ragged([np.asarray(s.boxes).reshape(-1, 4) for s in samples]),
        predicted=ragged(kept),
        status=np.array([STATUS.index(a.status) for a in answers], np.int64),
        has_boxes=_given_in_boxes(answers, with_map=with_map),
        scores=_scores_of(answers, [len(boxes) for boxes in kept]),
        heatmaps=tuple(a.heatmap for a in answers) if with_map else None,
    )
