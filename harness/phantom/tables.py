"""Makes the shipped tables of mean training boxes, for `mean-box` and `text-only` on phantoms.

    python -m harness.phantom.tables --cache CACHE

They are made from the twins' train splits by the same loaders and the same rule
(`harness.box_tables`) as a user's own are; evaluations then need no training image rendered.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness.box_tables import build_box_table
from harness.cache_root import cache_root
from harness.datasets.table import load_dataset
from harness.phantom.cache import ensure_phantom
from harness.phantom.trees.files import write_text
from harness.phantom.version import VERSION, generator_hash
from harness.samples import PhraseBoxes

FOLDER = Path(__file__).parent / "tables"
DATASETS = ("ms-cxr", "padchest-gr", "cxr-qba")


def make_table(dataset: str, cache: Path, limit: int | None = None) -> Path:
    """Writes the table of one data set and returns its path; renders the train split if need be."""
    roots = ensure_phantom(dataset, "train", cache, limit=limit)
    truth = roots.pop("truth")
    loaded = load_dataset(
        dataset,
        task="grounding",
        split="train",
        roots=roots,
        limit=limit,
        phantom=True,
        truth=truth,
    )
    phrases = [s for s in loaded.samples if isinstance(s, PhraseBoxes)]
    source = (
        f"phantom {VERSION}-{generator_hash()[:12]}, {dataset} train, {len(phrases)} phrases, "
        "python -m harness.phantom.tables"
    )
    path = FOLDER / f"{dataset}.json"
    write_text(path, build_box_table(phrases, source).to_json() + "\n")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=cache_root() / "phantom")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args(arguments)
    for dataset in DATASETS:
        print(make_table(dataset, options.cache, options.limit))


if __name__ == "__main__":
    main()
