"""What captioning asks about: images of the retrieval cohort, boxes of the grounding cohort."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.samples import Dataset, PhraseBoxes, Sample

KINDS = ("retrieval", "grounding")
_NO_BOX = "phrase without a box to describe"


def load_captioned(load: Callable[[str], Dataset], tasks: Sequence[str]) -> Dataset:
    """One dataset of both kinds of samples, as far as the dataset offers them.

    Args:
        load: gives the samples of a task.
        tasks: what the dataset offers.

    Raises:
        BenchError: the dataset has neither images with texts nor phrases with boxes.
    """
    kinds = [kind for kind in KINDS if kind in tasks] or ["captioning"]
    parts = [_without_empty(load(kind)) for kind in kinds]
    excluded: Counter[str] = Counter()
    for part in parts:
        excluded.update(part.excluded)
    return replace(
        parts[0],
        task="captioning",
        samples=tuple(sample for part in parts for sample in part.samples),
        n_total=sum(part.n_total for part in parts),
        excluded=dict(excluded),
    )


def _without_empty(dataset: Dataset) -> Dataset:
    kept = tuple(sample for sample in dataset.samples if not _is_empty(sample))
    lost = len(dataset.samples) - len(kept)
    excluded = {**dataset.excluded, **({_NO_BOX: lost} if lost else {})}
    return replace(dataset, samples=kept, excluded=excluded)


def _is_empty(sample: Sample) -> bool:
    return isinstance(sample, PhraseBoxes) and not len(sample.boxes)
