"""Phantom trees on first use: what is missing is rendered, the rest is found."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock

from harness.errors import BenchError, unknown
from harness.phantom.parallel import run_jobs
from harness.phantom.probe import ensure_probe
from harness.phantom.trees import mimic_cxr, ms_cxr, padchest_gr, truth_tables
from harness.phantom.trees.files import write_json
from harness.phantom.version import VERSION, generator_hash
from harness.phantom.world import BLOCK_STUDIES, space
from harness.phantom.worlds import (
    SIZE,
    WORLDS,
    Job,
    World,
    part_path,
    read_records,
    render_block,
    studies_of,
)

Progress = Callable[[int, int], None]  # studies done, studies to do

_ORDER = ("train", "validation", "test", "large")
_JOINED: Mapping[str, tuple[str, ...]] = {
    "all": ("train", "validation", "test"),
    "pooled-eval": ("validation", "test"),
}

# Variants that lie in a tree of their own: the tree, and the data set it is a cohort of.
VARIANTS: Mapping[str, tuple[str, str]] = {
    "lesion": ("cxr-qba-lesion", "cxr-qba"),
    "mimic-rendering": ("padchest-gr-mimic-rendering", "padchest-gr"),
    "mimic-wording": ("padchest-gr-mimic-wording", "padchest-gr"),
}
# A limit counts samples, and not every study gives one: so many studies are rendered for each,
# and so many more, that the first N samples are the same whatever has been rendered before.
_PER_SAMPLE: Mapping[str, tuple[float, int]] = {"mimic": (1.1, 12), "other": (2.5, 24)}
_TABLES = Path(__file__).parent / "tables"


def ensure_phantom(
    tree_or_dataset: str,
    split: str,
    cache: Path,
    workers: int | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    *,
    size: int = SIZE,
) -> dict[str, Path]:
    """The root of every tree of the twin that holds this one, and of `truth`, rendered if need be.

    A tree that holds several splits stays whole: its tables cover all that has been rendered and
    are replaced in one step. `large` has trees of its own. Two processes that ask at once wait for
    each other; work that was broken off is taken up where it stopped. `probe` is written by
    `harness.phantom.probe`.

    Args:
        tree_or_dataset: mimic-cxr, mimic-cxr-jpg, ms-cxr, cxr-qba, padchest-gr, probe, or a variant
            (lesion, mimic-rendering, mimic-wording), whose tree then stands under its data set's
            name too.
        split: train, validation, test, pooled-eval, all or large.
        cache: the folder for phantoms; those of other versions or sizes never meet these.
        workers: processes; None: one per core that may be used.
        limit: enough studies for the first so many samples.
        progress: told how many studies are done, of how many.
        size: pixels along each side of a film.

    Raises:
        BenchError: an unknown name or split, `large` without a limit, or a worker that died.
    """
    if tree_or_dataset == "probe":
        return ensure_probe(cache_root(cache, size), split, limit, workers=workers, size=size)
    tree, dataset = VARIANTS.get(tree_or_dataset, (tree_or_dataset, tree_or_dataset))
    world = _world_of(tree)
    wanted = _wanted(split, _studies_for(tree, limit))
    root = world_root(cache, world, large=split == "large", size=size)
    if any(studies > done for studies, done in _against(wanted, root)):
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".lock"):
            _fill(world, root, wanted, (workers, size, progress))
    roots = {name: root / name for name in (*world.trees, "truth")}
    return {**roots, dataset: root / tree}


def training_table(dataset: str) -> Path:
    """The shipped table of mean training boxes of a twin (`harness.box_tables`).

    Raises:
        BenchError: that data set has none.
    """
    path = _TABLES / f"{dataset}.json"
    if not path.exists():
        known = sorted(file.stem for file in _TABLES.glob("*.json"))
        raise unknown("table of mean boxes", dataset, known)
    return path


def cache_root(cache: Path, size: int = SIZE) -> Path:
    """The folder of this generator, at that size; another version never meets it."""
    return cache / f"v{VERSION}-{generator_hash()[:12]}-{size}px"


def world_root(cache: Path, world: World, *, large: bool, size: int = SIZE) -> Path:
    """The folder that holds the trees of a world, its `truth` and its records."""
    return cache_root(cache, size) / f"{world.name}{'-large' if large else ''}"


def _world_of(tree: str) -> World:
    for world in WORLDS.values():
        if tree in world.trees:
            return world
    known = [name for world in WORLDS.values() for name in world.trees]
    raise unknown("phantom tree", tree, [*known, "probe"])


def _studies_for(tree: str, limit: int | None) -> int | None:
    if limit is None:
        return None
    if limit < 1:
        raise BenchError(f"phantom limit {limit}: expected at least 1.")
    share, more = _PER_SAMPLE["mimic" if tree in ("mimic-cxr", "mimic-cxr-jpg") else "other"]
    return int(share * limit) + more


def _wanted(split: str, limit: int | None) -> dict[str, int]:
    """How many studies of which split."""
    wanted = {}
    for name in _JOINED.get(split, (split,)):
        space(name)
        studies = studies_of(name, limit)
        if studies is None:
            raise BenchError("phantom split 'large' has no end. Say how many studies: --limit N.")
        wanted[name] = studies
    return wanted


def _coverage(root: Path) -> dict[str, int]:
    """How many studies of each split the tables cover, in the order of the splits."""
    try:
        value = json.loads((root / "coverage.json").read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return {name: int(value[name]) for name in _ORDER if name in value}


def _against(wanted: Mapping[str, int], root: Path) -> list[tuple[int, int]]:
    done = _coverage(root)
    return [(studies, done.get(name, 0)) for name, studies in wanted.items()]


def _fill(
    world: World,
    root: Path,
    wanted: Mapping[str, int],
    how: tuple[int | None, int, Progress | None],
) -> None:
    """Renders what is missing and writes the tables anew. The caller holds the lock."""
    workers, size, progress = how
    done = _coverage(root)
    covered = {n: max(done.get(n, 0), _whole(n, wanted.get(n, 0))) for n in _ORDER}
    covered = {name: studies for name, studies in covered.items() if studies}
    jobs = [
        Job(world.name, name, block, studies, size, root)
        for name, studies in covered.items()
        for block in range(_blocks(studies))
        if not part_path(root, name, block).exists()
    ]
    _render(jobs, workers, progress)
    _write_tables(world, root, covered)
    write_json(root / "coverage.json", covered)


def _blocks(studies: int) -> int:
    return -(-studies // BLOCK_STUDIES)


def _whole(split: str, studies: int) -> int:
    """Rounded up to whole blocks, but not beyond the split."""
    return studies_of(split, _blocks(studies) * BLOCK_STUDIES) or 0 if studies else 0


def _render(jobs: list[Job], workers: int | None, progress: Progress | None) -> None:
    total = sum(min(BLOCK_STUDIES, j.studies - j.block * BLOCK_STUDIES) for j in jobs)
    done = 0
    for studies in run_jobs(render_block, jobs, workers):
        done += studies
        if progress is not None:
            progress(done, total)


def _write_tables(world: World, root: Path, covered: Mapping[str, int]) -> None:
    records = read_records(root, {name: _blocks(n) for name, n in covered.items()})
    if world.twin == "mimic":
        mimic_cxr.write_lists(root / "mimic-cxr", records)
        mimic_cxr.write_tables(root / "mimic-cxr-jpg", records)
        ms_cxr.write(root / "ms-cxr", records)
    else:
        padchest_gr.write(root / world.trees[0], records)
    if "padchest-gr-mimic-wording" in world.trees:
        padchest_gr.write(root / "padchest-gr-mimic-wording", records, "mimic")
        _link_images(root / "padchest-gr-mimic-wording", root / "padchest-gr")
    truth_tables.write(root / "truth", records)


def _link_images(other: Path, own: Path) -> None:
    """The wording cell shows the same films: its image folder points to the twin's."""
    link = other / padchest_gr.IMAGES.parts[0]
    if not link.exists():
        link.symlink_to(Path("..") / own.name / padchest_gr.IMAGES.parts[0])
