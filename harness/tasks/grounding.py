"""Phrase grounding: where in this image is what the phrase says?"""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.boxes import no_boxes
from harness.errors import BenchError
from harness.exposure import tuned_on
from harness.images import Image
from harness.made_up import finding_of
from harness.metrics.bootstrap import Interval, score
from harness.metrics.calibration import with_boxes
from harness.metrics.grounding import from_samples
from harness.metrics.grounding_metrics import GROUNDING_METRICS
from harness.models import (
    Grounding,
    GroundingModel,
    NotScorable,
    Query,
    Shuffled,
    TruthGrounder,
)
from harness.record import Exposure
from harness.samples import Dataset, PhraseBoxes
from harness.tasks import calibration
from harness.tasks.calibration import (
    lost_to_crop,
    only_heatmaps,
    read_threshold,
    store_threshold,
)
from harness.tasks.grounding_context import generated, nearness_groups, shown
from harness.tasks.grounding_groups import grounding_groups
from harness.tasks.misses import OTHERS, one_by_one
from harness.tasks.shuffle import other_images
from harness.tasks.supply import BankedGrounder, Supply
from harness.tasks.task import Asking, NonFinite, OutcomeSink, Scored, Task, as_score

if TYPE_CHECKING:
    import pandas as pd

KIND = "boxes"
SHARD = 256  # answers that are stored at a time,
SECONDS = 20.0  # or as many as this long takes: a slow model loses no more when it is killed
EDGE = 1e-3  # how far a box may stand out of the image by rounding


def ask(asking: Asking) -> dict[str, float]:
    """Have every phrase located, storing answers as they come; counts of how they were answered."""
    import pandas as pd

    samples = [s for s in asking.dataset.samples if isinstance(s, PhraseBoxes)]
    done = asking.sink.done_ids(KIND)
    todo = [s for s in asking.ranks.share(samples) if s.sample_id not in done]
    for shard in _answers(asking, samples, todo):
        asking.sink.append(KIND, pd.DataFrame(shard))
    asking.ranks.meet()
    if not asking.ranks.first:
        return {}
    if isinstance(asking.model, TruthGrounder):
        return {}
    model = asking.model.model if isinstance(asking.model, Shuffled) else asking.model
    counts = lost_to_crop(model, samples)
    if only_heatmaps(read_answers(asking.sink.read(KIND))):
        counts |= store_threshold(asking, model)
    return counts


def _answers(
    asking: Asking, samples: Sequence[PhraseBoxes], todo: Sequence[PhraseBoxes]
) -> Iterator[list[dict[str, Any]]]:
    model = asking.model
    if isinstance(model, TruthGrounder):
        wanted = {sample.sample_id for sample in todo}
        answers = model.ground_samples(samples, asking.table)
        pairs = zip(samples, answers, strict=True)
        yield [_row(s, a, 0.0, asking) for s, a in pairs if s.sample_id in wanted]
        return
    inner = model.model if isinstance(model, Shuffled) else model
    if not isinstance(inner, GroundingModel):
        raise NotScorable("it locates nothing: no ground(queries), so it cannot run 'grounding'")
    asked = _queries(samples, model)
    # Of all queries, whatever is left to do: processes share the embedding of one list, and what
    # is refused does not depend on where an earlier run was stopped.
    if isinstance(inner, BankedGrounder) and any(asking.ranks.gather(bool(todo))):
        inner.equip(list(asked.values()), Supply(asking))
    rows: list[dict[str, Any]] = []
    stored = time.monotonic()
    for first in range(0, len(todo), asking.batch_size):
        batch = todo[first : first + asking.batch_size]
        rows += _batch(inner, batch, asked, asking)
        asking.progress("locating phrases", first + len(batch), len(todo))
        if len(rows) >= SHARD or time.monotonic() - stored > SECONDS:
            yield rows
            rows, stored = [], time.monotonic()
    if rows:
        yield rows


def _queries(samples: Sequence[PhraseBoxes], model: Any) -> dict[str, Query]:
    images = [sample.image for sample in samples]
    if isinstance(model, Shuffled):
        images = other_images(images, model.seed)
    return {
        sample.sample_id: Query(
            Image(image.image_id, image.file),
            sample.phrase,
            image.patient_id,
            finding_of(sample),
        )
        for sample, image in zip(samples, images, strict=True)
    }


def _batch(
    model: GroundingModel,
    batch: Sequence[PhraseBoxes],
    asked: Mapping[str, Query],
    asking: Asking,
) -> list[dict[str, Any]]:
    def ask(queries: Sequence[Query]) -> list[Grounding]:
        answers = model.ground(queries)
        if len(answers) != len(queries):
            found = f"{len(answers)} answers to {len(queries)} queries"
            raise BenchError(f"{asking.card.name}: {found}. Its ground() owes one to each.")
        return answers

    inside = {sample.sample_id for sample in batch}
    others = list(islice((q for name, q in asked.items() if name not in inside), OTHERS))
    started = time.perf_counter()
    answers = one_by_one(ask, [asked[s.sample_id] for s in batch], others)
    seconds = (time.perf_counter() - started) / len(batch)
    failed = Grounding(status="malformed", raw="the model failed")
    return [_row(s, a or failed, seconds, asking) for s, a in zip(batch, answers, strict=True)]


def _row(sample: PhraseBoxes, answer: Grounding, seconds: float, asking: Asking) -> dict[str, Any]:
    where = f"{asking.card.name} on {sample.sample_id}"
    _refuse_non_finite(where, answer)
    _refuse_other_units(where, np.asarray(answer.boxes, np.float64).reshape(-1, 4))
    row: dict[str, Any] = {
        "sample_id": sample.sample_id,
        "patient_id": sample.image.patient_id,
        "image_id": sample.image.image_id,
        "boxes": np.asarray(answer.boxes, np.float32).reshape(-1),
        "scores": None if answer.scores is None else np.asarray(answer.scores, np.float32),
        "status": answer.status,
        "demonstrations": list(answer.demonstrations),
        "similarities": np.asarray(answer.similarities, np.float32),
        "left_out": answer.left_out,
        "seconds": seconds,
        "tokens": answer.tokens,
    }
    from harness.outcomes_store import pack_heatmap

    row |= pack_heatmap(answer.heatmap)
    if asking.store_text:
        row["raw"] = answer.raw
    return row


def _refuse_non_finite(where: str, answer: Grounding) -> None:
    if not np.isfinite(answer.boxes).all():
        raise NonFinite(f"{where}: a box has NaN or infinity")
    if answer.scores is not None and not np.isfinite(answer.scores).all():
        raise NonFinite(f"{where}: a score is NaN or infinity")
    if answer.heatmap is not None and np.isinf(answer.heatmap).any():
        raise NonFinite(f"{where}: the heat map has an infinity")


def _refuse_other_units(where: str, boxes: np.ndarray) -> None:
    """Do nothing if all are xyxy in [0, 1]; pixels or xywh would else be scored, as misses.

    Raises:
        BenchError: a box is not.
    """
    outside = ((boxes < -EDGE) | (boxes > 1 + EDGE)).any(axis=1)
    wrong = outside | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if wrong.any():
        raise BenchError(
            f"{where}: box {boxes[wrong][0].round(4).tolist()} is not x1, y1, x2, y2 in fractions "
            "of the original image. Convert once in the adapter: harness.boxes takes pixels and "
            "xywh, harness.geometry the model's frame."
        )


def read_answers(frame: "pd.DataFrame") -> dict[str, Grounding]:
    """Sample id to the stored answer."""
    return {str(row["sample_id"]): _grounding(row) for row in frame.to_dict("records")}


def _grounding(row: Mapping[Any, Any]) -> Grounding:
    from harness.outcomes_store import unpack_heatmap

    flat = np.asarray(row["boxes"], np.float32)
    scores = row["scores"]
    return Grounding(
        boxes=flat.reshape(-1, 4) if flat.size else no_boxes(),
        scores=None if scores is None else np.asarray(scores, np.float32),
        heatmap=unpack_heatmap(row),
        status=row["status"],
        raw=str(row.get("raw") or ""),
        demonstrations=tuple(row["demonstrations"]),
        similarities=tuple(row.get("similarities", ())),
    )


def stored_answers(sink: OutcomeSink) -> dict[str, Grounding]:
    """Sample id to the stored answer; heat maps have become boxes by the cell's threshold."""
    found = read_answers(sink.read(KIND))
    threshold = read_threshold(sink)
    if threshold is None:
        return found
    return dict(zip(found, with_boxes(list(found.values()), threshold), strict=True))


def answered(dataset: Dataset, sink: OutcomeSink) -> tuple[list[PhraseBoxes], list[Grounding]]:
    """The phrases and their stored answers; heat maps have become boxes by the cell's threshold.

    Raises:
        BenchError: a phrase has no stored answer.
    """
    samples = [s for s in dataset.samples if isinstance(s, PhraseBoxes)]
    stored = stored_answers(sink)
    missing = [s.sample_id for s in samples if s.sample_id not in stored]
    if missing:
        raise BenchError(
            f"{len(missing)} of {len(samples)} phrases have no answer, the first is "
            f"{missing[0]!r}. Run the suite again: it computes what is missing."
        )
    return samples, [stored[s.sample_id] for s in samples]


def score_answers(
    dataset: Dataset, sink: OutcomeSink, options: Mapping[str, Any], metrics: Sequence[str]
) -> Scored:
    """Every metric in every group, with patient-clustered intervals, from the stored answers."""
    samples, answers = answered(dataset, sink)
    outcomes = from_samples(samples, answers)
    chosen = {n: m for n, m in GROUNDING_METRICS.items() if not metrics or n in metrics}
    groups = grounding_groups(samples)
    groups |= nearness_groups(answers, groups["all"])
    found = score(chosen, outcomes, groups=groups, draws=int(options["draws"]))
    scores, missing = [], {}
    for group, values in found.items():
        for name, interval in values.items():
            if interval.n and not np.isnan(interval.value):
                scores.append(as_score(name, group, interval))
            elif group == "all":
                missing[name] = _reason(chosen[name].needs, interval)
    counts = {
        "malformed": float(outcomes.malformed.sum()),
        "empty": float(sum(a.status == "empty" for a in answers)),
        "phrases": float(len(samples)),
        **generated(sink.read(KIND)),
        **shown(sink.read(KIND)),
    }
    threshold = read_threshold(sink)
    mark: Exposure = tuned_on(threshold.dataset, dataset) if threshold else "external"
    return Scored(scores, missing, counts, mark)


def _reason(needs: str, interval: Interval) -> str:
    return f"needs {needs}" if needs else interval.note or "no phrase it speaks of"


TASK = Task(
    name="grounding",
    version=1,
    ask=ask,
    score=score_answers,
    kinds=(KIND, calibration.KIND),
    metrics=GROUNDING_METRICS,
    defaults={"draws": 1000, "calibrate": "ms-cxr", "calibration_phrases": 500},
)
