"""The table of datasets: what each needs, what it offers, and the one way to load any of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from harness.errors import BenchError, unknown
from harness.made_up import MADE_UP, with_made_up_names
from harness.roots import how_to_get
from harness.samples import Dataset

SPLITS = ("train", "validation", "test", "all")


@dataclass(frozen=True)
class DatasetSpec:
    """What is known of a dataset before a file is opened.

    `trees` are all required; of `images` any one is enough. `patients` names the population: two
    datasets of one population can share patients (MS-CXR lies inside MIMIC-CXR). `published` has
    counts per split as their authors print them, for comparison with what is found on disk.
    """

    name: str
    load: str  # "module:function", called with a `Request`
    tasks: tuple[str, ...]
    trees: tuple[str, ...]
    images: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    cohorts: tuple[str, ...] = ("as-given",)
    splits: tuple[str, ...] = SPLITS
    phantom: bool = False
    restricted: bool = False
    patients: str = ""
    check: str = ""  # "module:function" of `bench data check`
    published: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def access(self) -> str:
        """How to get its trees, one sentence per tree."""
        return " ".join(f"{tree}: {how_to_get(tree)}." for tree in self.trees)

    def missing(self, roots: Mapping[str, Path]) -> str:
        """Why it cannot be loaded from these roots, with how to get what is missing; or ''."""
        for tree in self.trees:
            if tree not in roots:
                return f"{self.name}: no {tree} folder is set. {how_to_get(tree)}"
        if self.images and not any(tree in roots for tree in self.images):
            names = " or ".join(self.images)
            return f"{self.name}: no images ({names}) are set. {how_to_get(self.images[0])}"
        return ""

    def is_phantom(self, roots: Mapping[str, Path]) -> bool:
        """Whether its twin stands in: it has one and none of its trees is set."""
        return self.phantom and not any(tree in roots for tree in (*self.trees, *self.images))

    def is_private(self, roots: Mapping[str, Path]) -> bool:
        """Whether real data under a use agreement are read, of which no output may hold a word."""
        return self.restricted and not self.is_phantom(roots)


@dataclass(frozen=True)
class Request:
    """What a loader is asked for; `roots` are recognized top folders.

    `limit` takes the first studies (retrieval) or images (grounding). `truth` is the folder the
    phantom wrote beside its trees, None on real data. `options` are the loader's own keywords.
    """

    task: str
    split: str
    cohort: str
    roots: Mapping[str, Path]
    limit: int | None = None
    phantom: bool = False
    truth: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


_FRONTAL = ("frontal", "impression", "findings", "lofi")
_JPG = ("mimic-cxr-jpg", "mimic-cxr")
_SPECS = (
    DatasetSpec(
        "mimic-cxr",
        load="harness.datasets.mimic_cxr:load",
        check="harness.datasets.mimic_check:check",
        tasks=("retrieval",),
        trees=("mimic-cxr",),
        images=_JPG,
        optional=("llava-rad", "chexmask"),
        cohorts=_FRONTAL,
        phantom=True,
        restricted=True,
        patients="mimic",
        published={
            "train": {"patients": 64_586, "studies": 222_758, "images": 368_960},
            "validation": {"patients": 500, "studies": 1_808, "images": 2_991},
            "test": {"patients": 293, "studies": 3_269, "images": 5_159},
            "all": {"patients": 65_379, "studies": 227_835, "images": 377_110},
        },
    ),
    DatasetSpec(
        "ms-cxr",
        load="harness.datasets.ms_cxr:load",
        check="harness.datasets.ms_cxr:check",
        tasks=("grounding",),
        trees=("ms-cxr",),
        images=_JPG,
        cohorts=("frontal", MADE_UP),
        splits=(*SPLITS, "pooled-eval"),
        phantom=True,
        restricted=True,
        patients="mimic",
        published={"all": {"images": 1_047, "phrases": 1_162, "boxes": 1_448}},
    ),
    DatasetSpec(
        "cxr-qba",
        load="harness.datasets.cxr_qba:load",
        check="harness.datasets.cxr_qba:check",
        tasks=("grounding",),
        trees=("cxr-qba",),
        images=_JPG,
        cohorts=("region", "lesion"),
        phantom=True,
        restricted=True,
        patients="mimic",
        published={
            "train": {"patients": 64_524, "studies": 222_180},
            "validation": {"patients": 500, "studies": 1_805},
            "test": {"patients": 293, "studies": 3_254},
            "all": {"patients": 65_317, "studies": 227_239},
        },
    ),
    DatasetSpec(
        "padchest-gr",
        load="harness.datasets.padchest_gr:load",
        check="harness.datasets.padchest_gr:check",
        tasks=("retrieval", "grounding"),
        trees=("padchest-gr",),
        cohorts=("frontal", "spanish", "mimic-rendering", "mimic-wording", MADE_UP),
        phantom=True,
        restricted=True,
        patients="padchest",
        published={"all": {"studies": 4_555, "images": 4_555, "phrases": 10_459}},
    ),
    DatasetSpec(
        "manifest",
        load="harness.datasets.manifest:load",
        check="harness.datasets.manifest:check",
        tasks=("retrieval", "grounding", "probe"),
        trees=("manifest",),
        splits=(),  # whatever the `split` column holds, and `all`
    ),
    DatasetSpec(
        "probe",
        load="harness.datasets.probe:load",
        tasks=("probe",),
        trees=("probe",),
        cohorts=("mimic",),
        splits=("train", "validation", "test"),
        phantom=True,
        patients="mimic",
    ),
    DatasetSpec(
        "open-i",
        load="harness.datasets.open_i:load",
        check="harness.datasets.open_i:check",
        tasks=("retrieval",),
        trees=("open-i",),
        splits=("all",),
        patients="open-i",
        published={"all": {"studies": 3_955, "images": 7_470}},
    ),
)
DATASETS: Mapping[str, DatasetSpec] = {spec.name: spec for spec in _SPECS}


def dataset_spec(name: str) -> DatasetSpec:
    """The entry of a name: built in, ``pkg.mod:load``, or of the entry points `bench.datasets`.

    An entry point gives a `DatasetSpec`. ``pkg.mod:load`` names a loader taking a `Request`, with
    no trees of its own: it finds its data itself.

    Raises:
        BenchError: the name is unknown.
    """
    if name in DATASETS:
        return DATASETS[name]
    if ":" in name:
        return DatasetSpec(name, load=name, tasks=("retrieval", "grounding"), trees=(), splits=())
    plugins = {point.name: point for point in entry_points(group="bench.datasets")}
    if name in plugins:
        return cast(DatasetSpec, plugins[name].load())
    raise unknown("dataset", name, [*DATASETS, *plugins])


def check_request(name: str, split: str, cohort: str = "") -> DatasetSpec:
    """The dataset's entry, if it has that split and cohort; nothing is opened.

    Raises:
        BenchError: an unknown name, split or cohort, with the nearest known one.
    """
    spec = dataset_spec(name)
    _known("cohort", cohort or spec.cohorts[0], spec.cohorts, name)
    _known("split", split, spec.splits or (split,), name)
    return spec


def load_dataset(
    name: str,
    *,
    task: str,
    split: str,
    roots: Mapping[str, Path],
    cohort: str | None = None,
    limit: int | None = None,
    phantom: bool = False,
    truth: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Dataset:
    """The samples of one task, split and cohort: n_total == n_used + sum(excluded.values()).

    Args:
        name: as `dataset_spec`.
        task: one of the dataset's tasks.
        split: train, validation, test, all, or what the dataset adds.
        roots: recognized top folders by tree name (`harness.roots.data_roots`, or the phantom's).
        cohort: None takes the dataset's first.
        limit: the first studies (retrieval) or images (grounding).
        phantom: marks the dataset as synthetic.
        truth: the phantom's truth folder; None on real data.
        options: the loader's own keywords, e.g. ``{"absent": False}``.

    Raises:
        BenchError: an unknown name, task, split or cohort, a missing tree, damaged files.
    """
    spec = check_request(name, split, cohort or "")
    chosen = cohort or spec.cohorts[0]
    _known("task", task, spec.tasks, name)
    if reason := spec.missing(roots):
        raise BenchError(reason)
    if limit is not None and limit < 1:
        raise BenchError(f"--limit {limit}: expected at least 1.")
    read = spec.cohorts[0] if chosen == MADE_UP else chosen
    request = Request(task, split, read, roots, limit, phantom, truth, options or {})
    dataset = cast(Dataset, _function(spec.load)(request))
    return with_made_up_names(dataset) if chosen == MADE_UP else dataset


def check_function(spec: DatasetSpec) -> Any:
    """The function behind ``bench data check`` for this dataset, or None."""
    return _function(spec.check) if spec.check else None


def _known(what: str, value: str, known: Iterable[str], dataset: str) -> None:
    if value not in known:
        raise unknown(f"{what} of {dataset}", value, known)


def _function(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is not None and not module.startswith(error.name):
            raise
        raise BenchError(
            f"dataset loader {name!r}: no module {module!r}. Is it installed?"
        ) from error
    except AttributeError as error:
        raise BenchError(f"dataset loader {name!r}: {module} has no {attribute!r}.") from error
