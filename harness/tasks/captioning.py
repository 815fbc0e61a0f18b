"""Captioning: what is in this image, and what is in these boxes? Scored on phantoms, by rules.

Only what is read from an answer is stored (`harness.tasks.caption_findings`), so a change of the
reader's rules is a new version of the task. In dense captioning side and zone can be told from
the boxes alone: a claim about the image is one about ``dense/finding_accuracy``.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import BenchError
from harness.images import Image
from harness.metrics.bootstrap import score
from harness.metrics.captioning import CAPTION_METRICS, CaptionOutcomes, caption_outcomes
from harness.models import Captioner, NotScorable, Shuffled, TruthCaptioner
from harness.samples import Dataset, ImageText, Located, PhraseBoxes
from harness.tasks.caption_findings import read_findings
from harness.tasks.caption_samples import boxed_of, caption_groups, reports_of
from harness.tasks.misses import OTHERS, one_by_one
from harness.tasks.shuffle import other_images
from harness.tasks.task import Asking, OutcomeSink, Scored, Task, as_score

if TYPE_CHECKING:
    import pandas as pd

KIND = "mentions"
SILENT = "silent"  # one row per part of the task a model cannot do: which, and why
SHARD = 256  # answers that are stored at a time
_NOT_ENGLISH = ("spanish",)

Asked = ImageText | PhraseBoxes
Answer = Callable[[Sequence[Asked]], list[str]]


@dataclass(frozen=True)
class _Part:
    """Reports or boxes: their samples, and how a batch of them is answered."""

    name: str
    doing: str
    samples: Sequence[Asked]
    answer: Answer


def ask(asking: Asking) -> dict[str, float]:
    """Have every image reported and every boxed finding described; stores what was read.

    Raises:
        NotScorable: real data, texts that are not English, or a model that does neither.
    """
    _refuse(asking.dataset)
    parts = [part for part in _parts(asking) if part.samples]
    reasons = {}
    for part in parts:
        try:
            _ask_part(asking, part)
        except NotScorable as reason:
            reasons[part.name] = str(reason)
    if len(reasons) == len(parts):
        raise NotScorable("; ".join(dict.fromkeys(reasons.values())) or "nothing to describe")
    if reasons:
        import pandas as pd

        rows = {"sample_id": list(reasons), "reason": list(reasons.values())}
        asking.sink.append(SILENT, pd.DataFrame(rows))
    return {}


def _refuse(dataset: Dataset) -> None:
    if not dataset.phantom:
        raise NotScorable("needs the true findings of each image, which only phantoms have")
    if dataset.cohort in _NOT_ENGLISH:
        raise NotScorable("the reader of findings reads English only")


def _parts(asking: Asking) -> list[_Part]:
    reports, boxed = reports_of(asking.dataset), boxed_of(asking.dataset)
    model = asking.model
    inner = model.model if isinstance(model, Shuffled) else model
    if isinstance(inner, TruthCaptioner):
        report, describe = _from_truth(inner, _strangers(model, reports), _strangers(model, boxed))
    elif isinstance(inner, Captioner):
        report, describe = _from_images(inner, _images(model, reports), _images(model, boxed))
    else:
        raise NotScorable("it writes no text: no caption(images), so it cannot run 'captioning'")
    return [
        _Part("report", "writing reports", reports, report),
        _Part("dense", "describing boxes", boxed, describe),
    ]


def _from_images(
    model: Captioner, reports: Mapping[str, Image], boxed: Mapping[str, Image]
) -> tuple[Answer, Answer]:
    def report(batch: Sequence[Any]) -> list[str]:
        return model.caption([reports[s.sample_id] for s in batch])

    def describe(batch: Sequence[Any]) -> list[str]:
        return model.describe([boxed[s.sample_id] for s in batch], [s.boxes for s in batch])

    return report, describe


def _images(model: Any, samples: Sequence[Asked]) -> dict[str, Image]:
    images = [sample.image for sample in samples]
    if isinstance(model, Shuffled) and images:
        images = other_images(images, model.seed)
    return {
        sample.sample_id: Image(image.image_id, image.file)
        for sample, image in zip(samples, images, strict=True)
    }


def _from_truth(
    model: TruthCaptioner, reports: Mapping[str, Any], boxed: Mapping[str, Any]
) -> tuple[Answer, Answer]:
    """A control is asked once about everything, since it may look at the whole evaluation."""
    told: dict[str, dict[str, str]] = {}

    def answer(name: str, samples: Mapping[str, Any], write: Answer) -> Answer:
        def look_up(batch: Sequence[Asked]) -> list[str]:
            if name not in told:
                texts = write(list(samples.values()))
                told[name] = dict(zip(samples, texts, strict=True))
            return [told[name][sample.sample_id] for sample in batch]

        return look_up

    return (
        answer("report", reports, model.caption_samples),  # type: ignore[arg-type]
        answer("dense", boxed, model.describe_samples),  # type: ignore[arg-type]
    )


def _strangers(model: Any, samples: Sequence[Asked]) -> dict[str, Asked]:
    """The sample a control is asked about: itself or, shuffled, the other image's first one."""
    if not isinstance(model, Shuffled) or not samples:
        return {sample.sample_id: sample for sample in samples}
    first: dict[str, Asked] = {}
    for sample in samples:
        first.setdefault(sample.image.image_id, sample)
    others = other_images([sample.image for sample in samples], model.seed)
    return {s.sample_id: first[o.image_id] for s, o in zip(samples, others, strict=True)}


def _ask_part(asking: Asking, part: _Part) -> None:
    import pandas as pd

    done = asking.sink.done_ids(KIND)
    todo = [sample for sample in part.samples if sample.sample_id not in done]
    for start in range(0, len(todo), SHARD):
        shard = todo[start : start + SHARD]
        rows = list(_rows(asking, part, shard))
        asking.sink.append(KIND, pd.DataFrame(rows))
        asking.progress(part.doing, start + len(shard), len(todo))


def _rows(asking: Asking, part: _Part, shard: Sequence[Asked]) -> Iterator[dict[str, Any]]:
    for first in range(0, len(shard), asking.batch_size):
        batch = shard[first : first + asking.batch_size]
        inside = {sample.sample_id for sample in batch}
        outside = (s for s in part.samples if s.sample_id not in inside)
        others = list(islice(outside, OTHERS))
        started = time.perf_counter()
        texts = one_by_one(partial(_written, asking, part), batch, others)
        seconds = (time.perf_counter() - started) / len(batch)
        for sample, text in zip(batch, texts, strict=True):
            # Where the model fails it has said nothing, which misses all that is there.
            yield _row(sample, text or "", seconds, store_text=asking.store_text)


def _written(asking: Asking, part: _Part, batch: Sequence[Asked]) -> list[str]:
    texts = part.answer(batch)
    if len(texts) != len(batch):
        raise BenchError(
            f"{asking.card.name}: {len(texts)} texts for {len(batch)} images. Its caption() and "
            "describe() owe one to each."
        )
    return texts


def _row(sample: Asked, text: str, seconds: float, *, store_text: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "sample_id": sample.sample_id,
        "patient_id": sample.image.patient_id,
        "image_id": sample.image.image_id,
        "mentions": pack_mentions(read_findings(text)),
        "words": len(text.split()),
        "seconds": seconds,
    }
    return {**row, "raw": text} if store_text else row


def pack_mentions(findings: Sequence[Located]) -> str:
    """Findings as one string; an empty list is the empty string.

    >>> pack_mentions([("nodule", "left", "upper"), ("edema", "", "")])
    'nodule/left/upper; edema//'
    """
    return "; ".join("/".join(finding) for finding in findings)


def unpack_mentions(packed: str) -> list[Located]:
    """The inverse of `pack_mentions`."""
    parts = [one.split("/") for one in packed.split("; ") if one]
    return [(name, side, zone) for name, side, zone in parts]


def captioned(dataset: Dataset, frame: "pd.DataFrame") -> tuple[list[Asked], CaptionOutcomes]:
    """The samples that were answered, reports first, and their outcomes from the stored rows."""
    stored = dict(zip(frame["sample_id"], frame["mentions"], strict=True))
    asked: list[Asked] = [*reports_of(dataset), *boxed_of(dataset)]
    samples = [sample for sample in asked if sample.sample_id in stored]
    outcomes = caption_outcomes(
        patients=[sample.image.patient_id for sample in samples],
        dense=[isinstance(sample, PhraseBoxes) for sample in samples],
        truth=[sample.findings for sample in samples],
        said=[unpack_mentions(stored[sample.sample_id]) for sample in samples],
    )
    return samples, outcomes


def score_mentions(
    dataset: Dataset, sink: OutcomeSink, options: Mapping[str, Any], metrics: Sequence[str]
) -> Scored:
    """Every metric in every group, with patient-clustered intervals."""
    frame = sink.read(KIND)
    samples, outcomes = captioned(dataset, frame)
    groups = caption_groups(
        [s for s in samples if isinstance(s, ImageText)],
        [s for s in samples if isinstance(s, PhraseBoxes)],
    )
    chosen = {n: m for n, m in CAPTION_METRICS.items() if not metrics or n in metrics}
    found = score(chosen, outcomes, groups=groups, draws=int(options["draws"]))
    scores = [
        as_score(name, group, interval)
        for group, values in found.items()
        for name, interval in values.items()
        if interval.n and not np.isnan(interval.value)
    ]
    missing = _missing(chosen, {s.metric for s in scores if s.group == "all"}, sink)
    said = outcomes.said.any(axis=1)
    counts = {
        "reports": float((~outcomes.dense).sum()),
        "boxes": float(outcomes.dense.sum()),
        "empty": float((frame["words"] == 0).sum()),
        "unread": float((outcomes.dense & ~said).sum()),
    }
    return Scored(scores, missing, counts)


def _missing(chosen: Mapping[str, Any], present: set[str], sink: OutcomeSink) -> dict[str, str]:
    reasons: dict[str, str] = {}
    if sink.done_ids(SILENT):
        frame = sink.read(SILENT)
        reasons = dict(zip(frame["sample_id"], frame["reason"], strict=True))
    return {
        name: reasons.get("dense" if name.startswith("dense/") else "report", f"needs {m.needs}")
        for name, m in chosen.items()
        if name not in present
    }


TASK = Task(
    name="captioning",
    version=1,
    ask=ask,
    score=score_mentions,
    kinds=(KIND, SILENT),
    metrics=CAPTION_METRICS,
    defaults={"draws": 1000},
)
