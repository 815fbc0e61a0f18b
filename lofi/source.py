"""Where LoFi's studies come from: the user's MIMIC-CXR or PadChest-GR, or the phantom twin."""

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.cache_root import cache_root
from harness.datasets.table import DATASETS, dataset_spec, load_dataset
from harness.datasets.training import TrainingSet, load_training
from harness.errors import BenchError
from harness.samples import Dataset
from lofi.config import Data

Report = Callable[[str, int, int], None]  # what, done, of
JUDGED_ON = ("mimic-cxr", "ms-cxr", "padchest-gr")  # data sets of the suites


def training_set(
    data: Data,
    split: str,
    roots: Mapping[str, Path],
    *,
    limit: int | None = None,
    report: Report | None = None,
) -> TrainingSet:
    """The studies of a split ("train" or "validation") with the boxes that the settings name.

    With no tree set, the phantom twin is rendered on first use. On real data the patients of the
    test splits of the suites are left out, with a count; a phantom's are disjoint by construction.

    Raises:
        BenchError: real data with `boxes: lesion`, which only the phantom has; a missing tree.
    """
    spec = dataset_spec(data.dataset)
    if spec.is_phantom(roots):
        return _phantom(data, split, limit=limit, report=report)
    if data.dataset == "mimic-cxr" and data.boxes == "lesion":
        raise BenchError(
            "data.boxes is 'lesion' on real mimic-cxr, where CXR-QBA has region boxes only. "
            "Expected 'region'. Train lofi-tiny-region, or add -o data.boxes=region."
        )
    return load_training(
        data.dataset,
        split,
        roots,
        variant="region",
        limit=limit,
        keep_out=_judged_on(roots) if split == "train" else (),
    )


def _phantom(data: Data, split: str, *, limit: int | None, report: Report | None) -> TrainingSet:
    from harness.phantom.cache import ensure_phantom

    progress = None
    if report is not None:
        progress = lambda done, total: report("rendering phantoms", done, total)  # noqa: E731
    cache = cache_root() / "phantom"
    found = dict(ensure_phantom(data.dataset, split, cache, limit=limit, progress=progress))
    lesion = data.dataset == "mimic-cxr" and data.boxes == "lesion"
    if lesion:
        found["cxr-qba"] = found["cxr-qba-lesion"]
    truth = found.pop("truth", None)
    return load_training(
        data.dataset,
        split,
        found,
        variant="lesion" if lesion else "region",
        limit=limit,
        phantom=True,
        truth=truth,
    )


def _judged_on(roots: Mapping[str, Path]) -> list[Dataset]:
    """The test splits whose trees are set: their patients are kept out of training."""
    out = []
    for name in JUDGED_ON:
        spec = DATASETS[name]
        if spec.is_phantom(roots) or spec.missing(roots):
            continue
        task = "grounding" if name == "ms-cxr" else "retrieval"
        out.append(load_dataset(name, task=task, split="test", roots=roots))
    return out


def training_roots(
    data: Data, split: str, roots: Mapping[str, Path], *, limit: int | None = None
) -> tuple[dict[str, Path], bool]:
    """The folders `training_set` reads, without the truth, and whether they are a phantom's."""
    from harness.phantom.cache import ensure_phantom

    if not dataset_spec(data.dataset).is_phantom(roots):
        return dict(roots), False
    found = dict(ensure_phantom(data.dataset, split, cache_root() / "phantom", limit=limit))
    found.pop("truth", None)
    return found, True
