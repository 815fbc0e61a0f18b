"""The worlds that can be rendered, the trees of each, and how studies become files.

A block of studies (whole patients) is the unit of work: it depends on nothing but its number, so
the files are the same whatever the number of workers.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.phantom.film import render_study
from harness.phantom.plan import Film, FindingPlan, Rendering, StudyPlan
from harness.phantom.study import Record, describe_study, visible_plans
from harness.phantom.trees import cxr_qba, mimic_cxr, padchest_gr
from harness.phantom.trees.files import jpeg_bytes, png16_bytes, write_json
from harness.phantom.world import BLOCK_STUDIES, plan_study, space

SIZE = 224  # pixels along each side of a film


@dataclass(frozen=True)
class World:
    """One population in one rendering; `trees` are the folders written for it."""

    name: str
    twin: Rendering
    rendering: Rendering
    trees: tuple[str, ...]


WORLDS: Mapping[str, World] = {
    world.name: world
    for world in (
        World(
            "mimic",
            "mimic",
            "mimic",
            ("mimic-cxr", "mimic-cxr-jpg", "ms-cxr", "cxr-qba", "cxr-qba-lesion"),
        ),
        World("padchest", "padchest", "padchest", ("padchest-gr", "padchest-gr-mimic-wording")),
        World("padchest-in-mimic-rendering", "padchest", "mimic", ("padchest-gr-mimic-rendering",)),
    )
}


@dataclass(frozen=True)
class Job:
    """One block of studies to be rendered below `root`."""

    world: str
    split: str
    block: int
    studies: int  # of the whole split: the last block may be cut
    size: int
    root: Path


def part_path(root: Path, split: str, block: int) -> Path:
    """Where the records of a block lie; the file is there only if its studies are complete."""
    return root / "parts" / split / f"{block:06d}.json"


def iterate_studies(
    world: World, split: str, start: int, stop: int, *, size: int = SIZE, frontal: bool = False
) -> Iterator[tuple[StudyPlan, tuple[Film, ...], Record]]:
    """Plan, films and record of each study from `start` to `stop`, drawn one by one.

    This is how `large` is streamed: nothing is written and there is no end. A study whose prior
    lies before `start` has that prior drawn too. With `frontal` the first film of each study is
    drawn and no other; what is said and boxed on it is the same.
    """
    earlier: tuple[FindingPlan, ...] | None = None
    for index in range(start, stop):
        plan = plan_study(world.twin, split, index, world.rendering)
        plan = replace(plan, views=plan.views[:1]) if frontal else plan
        if plan.prior_index is None:
            earlier = None
        elif earlier is None:
            prior = plan_study(world.twin, split, plan.prior_index, world.rendering)
            earlier = visible_plans(render_study(prior, size)[0])
        films = render_study(plan, size)
        yield plan, films, describe_study(world.twin, split, plan, films, earlier)
        earlier = visible_plans(films[0])


def render_block(job: Job) -> int:
    """Writes the studies of a block and, last of all, its records; returns how many there are."""
    world = WORLDS[job.world]
    start = job.block * BLOCK_STUDIES
    stop = min(start + BLOCK_STUDIES, job.studies)
    write = _write_mimic if world.twin == "mimic" else _write_padchest
    records = []
    for _, films, record in iterate_studies(world, job.split, start, stop, size=job.size):
        write(job.root, world, films, record)
        records.append(record)
    write_json(part_path(job.root, job.split, job.block), records)
    return len(records)


def read_records(root: Path, coverage: Mapping[str, int]) -> list[Record]:
    """The records of the first so many blocks of each split, in order."""
    records: list[Record] = []
    for split, blocks in coverage.items():
        for block in range(blocks):
            records += json.loads(part_path(root, split, block).read_text("utf-8"))
    return records


def studies_of(split: str, limit: int | None) -> int | None:
    """How many studies a request means: the split's default size, or the limit if that is less."""
    whole = space(split).studies
    return limit if whole is None else whole if limit is None else min(limit, whole)


def _write_mimic(root: Path, _world: World, films: tuple[Film, ...], record: Record) -> None:
    for image, film in zip(record["images"], films, strict=True):
        path = root / "mimic-cxr-jpg" / mimic_cxr.image_path(record, image["image_id"])
        _write_image(path, jpeg_bytes(film.pixels))
    mimic_cxr.write_report(root / "mimic-cxr", record)
    cxr_qba.write(root / "cxr-qba", record, "region")
    cxr_qba.write(root / "cxr-qba-lesion", record, "lesion")


def _write_padchest(root: Path, world: World, films: tuple[Film, ...], record: Record) -> None:
    pixels = films[0].pixels
    # The MIMIC rendering has 8 bits; PadChest files have 16, black and white at the same ends.
    deep = pixels if pixels.dtype.itemsize == 2 else pixels.astype("uint16") * 257
    image = record["images"][0]["image_id"]
    top = root / world.trees[0]
    data = png16_bytes(deep)
    _write_image(top / padchest_gr.IMAGES / image, data)
    if _is_prior(world, record):
        _write_image(top / padchest_gr.PRIORS / image, data)


def _is_prior(world: World, record: Record) -> bool:
    """Whether the patient has a later study."""
    following = record["index"] + 1
    if following >= space(record["split"]).capacity:
        return False
    later = plan_study(world.twin, record["split"], following)
    return later.prior_index is not None


def _write_image(path: Path, data: bytes) -> None:
    # Not in one step: the block's record file, written last, says that its images are whole.
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
