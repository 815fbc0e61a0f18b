"""Whether phantoms lie in the cache already, so that loading them would render none."""

from pathlib import Path

# The generator's sources are frozen with its hash, so its own arithmetic is asked, not copied.
from harness.phantom.cache import (
    VARIANTS,
    _against,
    _studies_for,
    _wanted,
    _world_of,
    cache_root,
    world_root,
)
from harness.phantom.probe import STUDIES
from harness.phantom.worlds import SIZE


def is_rendered(tree_or_dataset: str, split: str, cache: Path, limit: int | None = None) -> bool:
    """Whether `ensure_phantom` of the same arguments would find everything; nothing is written.

    Raises:
        BenchError: as `ensure_phantom`, an unknown name or split, or `large` without a limit.
    """
    if tree_or_dataset == "probe":
        studies = min(limit or STUDIES, STUDIES)
        name = split if studies == STUDIES else f"{split}-first-{studies}"
        return (cache_root(cache) / "probes" / "probe" / name / "pairs.jsonl").is_file()
    tree, _ = VARIANTS.get(tree_or_dataset, (tree_or_dataset, tree_or_dataset))
    root = world_root(cache, _world_of(tree), large=split == "large", size=SIZE)
    wanted = _wanted(split, _studies_for(tree, limit))
    return all(studies <= done for studies, done in _against(wanted, root))
