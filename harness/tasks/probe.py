"""Location probes: does the model prefer the true text to one with a single thing changed?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from harness.boxes import no_boxes
from harness.metrics.bootstrap import score
from harness.metrics.overlap import union_iou
from harness.metrics.probe import PROBE_METRICS, ProbeOutcomes, probe_outcomes
from harness.metrics.ragged import ragged
from harness.models import (
    AnalyticChance,
    EmbeddingModel,
    GroundingModel,
    NotScorable,
    PairScorer,
    Query,
    Shuffled,
    TruthChooser,
)
from harness.record import Score
from harness.samples import Dataset, ProbeChoice
from harness.tasks.embedding import (
    as_image,
    embed_images_found,
    embed_texts,
    prepared_batches,
)
from harness.tasks.misses import OTHERS, one_by_one
from harness.tasks.probe_groups import probe_groups
from harness.tasks.retrieval_rows import chance_frame
from harness.tasks.shuffle import other_images
from harness.tasks.task import Asking, NonFinite, OutcomeSink, Scored, Task, as_score

KIND = "choices"
Sides = tuple[np.ndarray, np.ndarray]
R = TypeVar("R")


def ask(asking: Asking) -> dict[str, float]:
    """Score the true side and the foil of every choice and store both."""
    samples = choices_of(asking.dataset)
    if isinstance(asking.model, AnalyticChance):
        asking.sink.append("chance", chance_frame())
        return {}
    true, false = _sides(asking, samples)
    for name, values in (("true text", true), ("foil", false)):
        if not np.isfinite(values).all():
            bad = samples[int(np.flatnonzero(~np.isfinite(values))[0])].sample_id
            raise NonFinite(f"{asking.card.name}: NaN or infinity for the {name} of {bad}")
    import pandas as pd

    frame = pd.DataFrame(
        {
            "sample_id": [sample.sample_id for sample in samples],
            "patient_id": [sample.image.patient_id for sample in samples],
            "true_score": np.asarray(true, np.float64),
            "false_score": np.asarray(false, np.float64),
        }
    )
    asking.sink.append(KIND, frame)
    return {}


def choices_of(dataset: Dataset) -> list[ProbeChoice]:
    """The choices of a dataset."""
    return [sample for sample in dataset.samples if isinstance(sample, ProbeChoice)]


def _sides(asking: Asking, samples: Sequence[ProbeChoice]) -> Sides:
    model = asking.model
    if isinstance(model, TruthChooser):
        return model.choose(samples)
    if isinstance(model, Shuffled):
        images = other_images([sample.image for sample in samples], model.seed)
        samples = [replace(s, image=i) for s, i in zip(samples, images, strict=True)]
        model = model.model
    if any(sample.boxes is not None for sample in samples):
        return _by_boxes(asking, model, samples)
    if isinstance(model, EmbeddingModel):
        return _by_vectors(asking, model, samples)
    if isinstance(model, PairScorer):
        return _by_pairs(asking, model, samples)
    raise NotScorable("it scores no texts, so it cannot run 'probe' on pairs of texts")


def _by_vectors(asking: Asking, model: EmbeddingModel, samples: Sequence[ProbeChoice]) -> Sides:
    texts = list(dict.fromkeys(text for s in samples for text in (s.text, s.foil)))
    place = {text: row for row, text in enumerate(texts)}
    # An image without a vector is a row of zeros: both texts score the same, which is no choice.
    images, _ = embed_images_found(asking, model, [sample.image for sample in samples])
    vectors = embed_texts(asking, model, texts)
    true = np.einsum("nd,nd->n", images, vectors[[place[s.text] for s in samples]])
    false = np.einsum("nd,nd->n", images, vectors[[place[s.foil] for s in samples]])
    return true, false


def _by_pairs(asking: Asking, model: PairScorer, samples: Sequence[ProbeChoice]) -> Sides:
    def ask(batch: Sequence[ProbeChoice]) -> list[np.ndarray]:
        prepared = prepared_batches(model, [as_image(s.image) for s in batch], len(batch))
        images = (image for part in prepared for image in part)
        return [
            np.asarray(model.score([image], [sample.text, sample.foil]))[0]
            for sample, image in zip(batch, images, strict=True)
        ]

    rows = _in_batches(asking, ask, samples, "scoring pairs")
    scores = np.array([(0.0, 0.0) if row is None else row for row in rows], np.float64)
    return scores.reshape(-1, 2)[:, 0], scores.reshape(-1, 2)[:, 1]


def _in_batches(
    asking: Asking,
    ask: Callable[[Sequence[ProbeChoice]], Sequence[R]],
    samples: Sequence[ProbeChoice],
    doing: str,
) -> list[R | None]:
    """The answers in order, None where the model fails on the sample: no choice, so wrong."""
    answers: list[R | None] = []
    for start in range(0, len(samples), asking.batch_size):
        end = start + asking.batch_size
        others = [*samples[:start], *samples[end:]][:OTHERS]
        answers += one_by_one(ask, samples[start:end], others)
        asking.progress(doing, min(end, len(samples)), len(samples))
    return answers


def _by_boxes(asking: Asking, model: Any, samples: Sequence[ProbeChoice]) -> Sides:
    if not isinstance(model, GroundingModel):
        raise NotScorable("it locates nothing, and these probes compare boxes")

    def ask(batch: Sequence[ProbeChoice]) -> list[np.ndarray]:
        found = model.ground([Query(as_image(s.image), s.text) for s in batch])
        return [answer.boxes for answer in found]

    answers = _in_batches(asking, ask, samples, "locating lungs")
    return nearer([no_boxes() if boxes is None else boxes for boxes in answers], samples)


def nearer(answers: Sequence[np.ndarray], samples: Sequence[ProbeChoice]) -> Sides:
    """Union IoU of each answer with the asked boxes, and with those of the foil."""
    given = ragged(answers)
    own = ragged([np.asarray(sample.boxes) for sample in samples])
    other = ragged([np.asarray(sample.foil_boxes) for sample in samples])
    return union_iou(given, own), union_iou(given, other)


def chosen_sides(samples: Sequence[ProbeChoice], sink: OutcomeSink) -> ProbeOutcomes:
    """The stored scores of both sides, in the order of the samples."""
    frame = sink.read(KIND).set_index("sample_id").loc[[s.sample_id for s in samples]]
    return probe_outcomes(
        patients=list(frame["patient_id"]),
        change=[sample.change for sample in samples],
        true_score=frame["true_score"].to_numpy(),
        false_score=frame["false_score"].to_numpy(),
    )


def score_choices(
    dataset: Dataset, sink: OutcomeSink, options: Mapping[str, Any], metrics: Sequence[str]
) -> Scored:
    """Accuracy over all choices and per change, with patient-clustered intervals."""
    samples = choices_of(dataset)
    if not sink.done_ids(KIND):
        chance = Score(metric="accuracy", value=0.5, n=len(samples))
        return Scored([chance])
    outcomes = chosen_sides(samples, sink)
    chosen = {n: m for n, m in PROBE_METRICS.items() if not metrics or n in metrics}
    found = score(chosen, outcomes, groups=probe_groups(samples), draws=int(options["draws"]))
    scores = [
        as_score(name, group, interval)
        for group, values in found.items()
        for name, interval in values.items()
        if interval.n
    ]
    missing = {n: "no such probe here" for n in chosen if n not in {s.metric for s in scores}}
    return Scored(scores, missing, {"probes": float(len(samples))})


TASK = Task(
    name="probe",
    version=1,
    ask=ask,
    score=score_choices,
    kinds=(KIND, "chance"),
    metrics=PROBE_METRICS,
    defaults={"draws": 1000},
)
