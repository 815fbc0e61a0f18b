"""Chunks of newly drawn phantom patients in the layout of MIMIC-CXR, for training alone.

    python -m lofi.drawn FOLDER NUMBER STUDIES BOXES SIZE WORKERS

draws one chunk: what a stream runs ahead, while the chunk before is trained on. Patients come from
the generator's `large` range, which shares none with train, validation, test or the probes.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from filelock import FileLock

from harness.phantom.parallel import run_jobs
from harness.phantom.study import Record
from harness.phantom.trees import cxr_qba, mimic_cxr
from harness.phantom.trees.files import jpeg_bytes, write_json
from harness.phantom.version import VERSION, generator_hash
from harness.phantom.world import BLOCK_STUDIES, space
from harness.phantom.worlds import SIZE, WORLDS, iterate_studies

SPLIT = "large"
_PART = 5 * BLOCK_STUDIES  # studies of one job; whole patients


@dataclass(frozen=True)
class Chunks:
    """Where the chunks of a stream lie and what they hold; `studies` must be whole patients."""

    top: Path
    studies: int
    boxes: cxr_qba.Variant
    size: int = SIZE

    def folder(self, number: int) -> Path:
        """Where a chunk lies, drawn or not."""
        name = f"v{VERSION}-{generator_hash()[:12]}-{self.size}px-{self.studies}-{self.boxes}"
        return self.top / name / f"chunk-{number:06d}"

    def is_drawn(self, number: int) -> bool:
        """Whether a chunk is there, whole."""
        return (self.folder(number) / "truth" / "generator.json").is_file()

    def first(self, number: int) -> int:
        """The index of a chunk's first study; past the end of the range it begins anew."""
        return number % (space(SPLIT).capacity // self.studies) * self.studies


@dataclass(frozen=True)
class _Job:
    root: Path
    first: int
    stop: int
    boxes: cxr_qba.Variant
    size: int


def draw_chunk(
    chunks: Chunks,
    number: int,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Path]:
    """The trees of a chunk and its `truth` (the generator's version), drawn if it is not there.

    Frontal films only. Two processes that ask at once wait for each other; what was broken off is
    drawn again.
    """
    root = chunks.folder(number)
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_suffix(".lock")):
        if not chunks.is_drawn(number):
            shutil.rmtree(root, ignore_errors=True)
            _draw(chunks, number, workers, progress)
    tree = _tree(chunks.boxes)
    roots = {name: root / name for name in ("mimic-cxr", "mimic-cxr-jpg", tree, "truth")}
    return {**roots, "cxr-qba": root / tree}


def forget_chunk(chunks: Chunks, number: int) -> None:
    """Remove a chunk that has been trained on."""
    shutil.rmtree(chunks.folder(number), ignore_errors=True)
    chunks.folder(number).with_suffix(".lock").unlink(missing_ok=True)


def _tree(boxes: cxr_qba.Variant) -> str:
    """The tree that holds such boxes, as the twin names it."""
    return "cxr-qba-lesion" if boxes == "lesion" else "cxr-qba"


def _draw(
    chunks: Chunks,
    number: int,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    root, first = chunks.folder(number), chunks.first(number)
    stops = [min(start + _PART, chunks.studies) for start in range(0, chunks.studies, _PART)]
    starts = [0, *stops[:-1]]
    jobs = [
        _Job(root, first + start, first + stop, chunks.boxes, chunks.size)
        for start, stop in zip(starts, stops, strict=True)
    ]
    records: list[Record] = []
    for part in run_jobs(_draw_part, jobs, workers):
        records += part
        if progress is not None:
            progress(len(records), chunks.studies)
    mimic_cxr.write_lists(root / "mimic-cxr", records)
    mimic_cxr.write_tables(root / "mimic-cxr-jpg", records)
    generator = {"version": VERSION, "hash": generator_hash()}
    write_json(root / "truth" / "generator.json", generator)  # last: it says that all is there


def _draw_part(job: _Job) -> list[Record]:
    world, records = WORLDS["mimic"], []
    studies = iterate_studies(world, SPLIT, job.first, job.stop, size=job.size, frontal=True)
    for _, films, record in studies:
        image = mimic_cxr.image_path(record, record["images"][0]["image_id"])
        file = job.root / "mimic-cxr-jpg" / image
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg_bytes(films[0].pixels))
        mimic_cxr.write_report(job.root / "mimic-cxr", record)
        cxr_qba.write(job.root / _tree(job.boxes), record, job.boxes)
        records.append(record)
    return records


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("number", type=int)
@click.argument("studies", type=int)
@click.argument("boxes", type=click.Choice(("region", "lesion")))
@click.argument("size", type=int)
@click.argument("workers", type=int)
def main(
    folder: Path, number: int, studies: int, boxes: cxr_qba.Variant, size: int, workers: int
) -> None:
    """Draw chunk NUMBER of STUDIES studies below FOLDER with so many WORKERS."""
    draw_chunk(Chunks(folder, studies, boxes, size), number, workers=workers)


if __name__ == "__main__":
    main()
