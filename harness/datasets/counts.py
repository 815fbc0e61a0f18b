"""What ``bench list datasets`` prints: patients, studies, images, phrases, beside the published."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.datasets.checks import count_samples
from harness.datasets.mimic_cxr import of_split
from harness.datasets.mimic_tables import image_table
from harness.datasets.table import DATASETS, DatasetSpec, load_dataset
from harness.errors import BenchError

Row = tuple[str, str, str, str, str, str, str, str]
_COUNTED = ("patients", "studies", "images", "phrases")


def dataset_rows(roots: Mapping[str, Path]) -> Iterator[Row]:
    """One row per dataset and split: name, state, split, the four counts, the published counts.

    Counts come from tables alone; no image and no MIMIC report is opened. The phrases' cell also
    says how many boxes a boxed phrase has on average.
    """
    for spec in DATASETS.values():
        if spec.is_phantom(roots):
            yield _row(spec, "phantom twin, rendered on first use", "all", {})
        elif spec.missing(roots):
            state = "not set" if not _any_set(spec, roots) else "incomplete"
            yield _row(spec, state, "all", {})
        else:
            for split in _splits(spec):
                yield _row(spec, "on disk", split, _counts(spec, split, roots))


def _any_set(spec: DatasetSpec, roots: Mapping[str, Path]) -> bool:
    return any(tree in roots for tree in spec.trees)


def _splits(spec: DatasetSpec) -> tuple[str, ...]:
    return spec.splits or ("all",)


def _counts(spec: DatasetSpec, split: str, roots: Mapping[str, Path]) -> dict[str, float]:
    try:
        if spec.name in ("mimic-cxr", "cxr-qba"):  # counted from the split table: no report is read
            table = of_split(image_table(roots), split)
            keys = {"patients": "subject_id", "studies": "study_id", "images": "dicom_id"}
            return {name: table[column].nunique() for name, column in keys.items()}
        return _loaded(spec, split, roots)
    except BenchError:
        return {}


def _loaded(spec: DatasetSpec, split: str, roots: Mapping[str, Path]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for task in spec.tasks:
        try:
            # As published: without the queries for absent findings that a run adds.
            plain = {"absent": False}
            dataset = load_dataset(spec.name, task=task, split=split, roots=roots, options=plain)
        except BenchError:
            continue  # a folder may hold pairs only, or phrases only
        for name, count in count_samples(dataset).items():
            counts[name] = max(count, counts.get(name, 0))
    return counts


def _row(spec: DatasetSpec, state: str, split: str, counts: Mapping[str, float]) -> Row:
    cells = [f"{int(counts[name]):,}" if name in counts else "-" for name in _COUNTED]
    if "boxes" in counts:
        cells[3] += f" ({counts['boxes per boxed phrase']:g} boxes each)"
    published = spec.published.get(split, {})
    known = ", ".join(f"{count:,} {name}" for name, count in published.items()) or "-"
    return (spec.name, state, split, cells[0], cells[1], cells[2], cells[3], known)
