"""Whether a model has seen the data it is asked about (protocol, section 5)."""

from collections.abc import Iterable

from harness.datasets.table import DATASETS
from harness.models import ModelCard, TrainedOn
from harness.record import Exposure
from harness.samples import Dataset

TARGET = "(the data asked about)"  # in `trained_on`: fitted to whatever is asked about
UNDISCLOSED = "undisclosed"  # in `trained_on`: further data that were never named
PHANTOM = "-phantom"  # suffix of a synthetic twin's name in `trained_on`
_ORDER: tuple[Exposure, ...] = ("external", "unknown", "internal", "contaminated")


def exposure(card: ModelCard, dataset: Dataset) -> Exposure:
    """The mark of a row: the worst over everything the card says the model was trained on.

    `contaminated`: the asked patients were seen; `internal`: others of the same source were, or
    something was tuned there; `unknown`: undisclosed; `external` otherwise. Two datasets are of one
    source if their patients are (MS-CXR and CXR-QBA lie in MIMIC-CXR).
    """
    if card.trained_on is None:
        return "unknown"
    return worst(_mark(seen, dataset) for seen in card.trained_on)


def tuned_on(name: str, dataset: Dataset) -> Exposure:
    """The mark of a row whose threshold was chosen on the validation split of `name`."""
    twin = PHANTOM if dataset.phantom else ""
    return _mark(TrainedOn(f"{name}{twin}", "validation", "boxes"), dataset)


def worst(marks: Iterable[Exposure]) -> Exposure:
    """The gravest of several marks; `external` if there is none.

    >>> worst(["external", "internal", "unknown"])
    'internal'
    """
    return max(marks, key=_ORDER.index, default="external")


def _source(name: str, *, phantom: bool) -> tuple[str, bool]:
    plain = name.removesuffix(PHANTOM)
    spec = DATASETS.get(plain)
    return (spec.patients if spec and spec.patients else plain, phantom or plain != name)


def _mark(seen: TrainedOn, dataset: Dataset) -> Exposure:
    if seen.dataset == TARGET:
        return "internal"
    if seen.dataset == UNDISCLOSED:
        return "unknown"
    if _source(seen.dataset, phantom=False) != _source(dataset.name, phantom=dataset.phantom):
        return "external"
    parts = {"pooled-eval": {"validation", "test"}, "all": {"train", "validation", "test"}}
    asked = parts.get(dataset.split, {dataset.split})
    known = parts.get(seen.split, {seen.split})
    return "contaminated" if asked & known else "internal"
