"""Makes the shipped tables of mean training boxes, for `mean-box` and `text-only` on phantoms.

    python -m harness.phantom.tables

They come from the annotations of the twins' train splits, by the same loaders and the same rule
(`harness.box_tables`) as a user's own; evaluations then need no training image. No image is kept
here either: frontal films are drawn for their boxes alone.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.box_tables import build_box_table
from harness.datasets.table import load_dataset
from harness.phantom.parallel import run_jobs
from harness.phantom.study import Record
from harness.phantom.trees import cxr_qba, mimic_cxr, ms_cxr, padchest_gr, truth_tables
from harness.phantom.trees.files import write_text
from harness.phantom.version import VERSION, generator_hash
from harness.phantom.world import BLOCK_STUDIES, space
from harness.phantom.worlds import SIZE, WORLDS, iterate_studies
from harness.samples import PhraseBoxes

FOLDER = Path(__file__).parent / "tables"
DATASETS = {"mimic": ("ms-cxr", "cxr-qba"), "padchest": ("padchest-gr",)}
COMMAND = "python -m harness.phantom.tables"


@dataclass(frozen=True)
class _Job:
    world: str
    start: int
    stop: int


def _records(job: _Job) -> list[Record]:
    world = WORLDS[job.world]
    drawn = iterate_studies(world, "train", job.start, job.stop, size=SIZE, frontal=True)
    return [record for _, _, record in drawn]


def training_records(world: str, studies: int, workers: int | None = None) -> list[Record]:
    """The records of the first so many training studies, first films only."""
    jobs = [
        _Job(world, start, min(start + BLOCK_STUDIES, studies))
        for start in range(0, studies, BLOCK_STUDIES)
    ]
    return [record for found in run_jobs(_records, jobs, workers) for record in found]


def write_annotations(root: Path, world: str, records: Sequence[Record]) -> dict[str, Path]:
    """Writes the world's trees with empty images, no reports; returns their roots and `truth`."""
    roots = {name: root / name for name in (*WORLDS[world].trees, "truth")}
    for record in records:
        image = record["images"][0]["image_id"]
        if world == "mimic":
            path = roots["mimic-cxr-jpg"] / mimic_cxr.image_path(record, image)
        else:
            path = roots["padchest-gr"] / padchest_gr.IMAGES / image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # a loader asks whether the image is there; it opens none
    if world == "mimic":
        mimic_cxr.write_tables(roots["mimic-cxr-jpg"], records)
        ms_cxr.write(roots["ms-cxr"], records)
        for record in records:
            cxr_qba.write(roots["cxr-qba"], record, "region")
    else:
        padchest_gr.write(roots["padchest-gr"], records)
    truth_tables.write(roots["truth"], records)
    return roots


def make_tables(
    world: str, studies: int, folder: Path = FOLDER, *, workers: int | None = None
) -> list[Path]:
    """Writes one table per data set of the world and returns their paths."""
    with TemporaryDirectory() as scratch:
        records = training_records(world, studies, workers)
        roots = write_annotations(Path(scratch), world, records)
        truth = roots.pop("truth")
        return [_make_table(name, roots, truth, (folder, studies)) for name in DATASETS[world]]


def _make_table(dataset: str, roots: dict[str, Path], truth: Path, where: tuple[Path, int]) -> Path:
    folder, studies = where
    loaded = load_dataset(
        dataset, task="grounding", split="train", roots=roots, phantom=True, truth=truth
    )
    phrases = [s for s in loaded.samples if isinstance(s, PhraseBoxes) and len(s.boxes)]
    source = (
        f"phantom {VERSION}-{generator_hash()[:12]}: {dataset}, {len(phrases)} phrases of the "
        f"first {studies} training studies; {COMMAND}"
    )
    path = folder / f"{dataset}.json"
    write_text(path, build_box_table(phrases, source).to_json() + "\n")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=space("train").studies)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args(arguments)
    for world in DATASETS:
        for path in make_tables(world, options.studies, workers=options.workers):
            print(path)


if __name__ == "__main__":
    main()
