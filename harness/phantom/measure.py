"""Prints every number that the protocol asks of the phantom, measured on rendered twins.

python -m harness.phantom.measure --cache CACHE
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from harness.box_tables import read_box_table
from harness.cache_root import cache_root
from harness.datasets.table import load_dataset
from harness.phantom.cache import ensure_phantom, training_table
from harness.phantom.measure_film import measure_boxes, measure_shortcuts
from harness.phantom.measure_text import (
    Row,
    measure_phrases,
    measure_studies,
    overlap_of_words,
    read_truth,
)
from harness.phantom.plan import Rendering
from harness.phantom.version import VERSION, generator_hash
from harness.samples import ImageText, PhraseBoxes

_RETRIEVAL: dict[Rendering, str] = {"mimic": "mimic-cxr", "padchest": "padchest-gr"}
_GROUNDING: dict[Rendering, str] = {"mimic": "ms-cxr", "padchest": "padchest-gr"}


def measure_twin(twin: Rendering, split: str, cache: Path, limit: int | None) -> list[Row]:
    """All rows of one twin's split."""
    roots = ensure_phantom(_RETRIEVAL[twin], split, cache, limit=limit)
    truth = roots.pop("truth")
    pairs = load_dataset(
        _RETRIEVAL[twin], task="retrieval", split=split, roots=roots, phantom=True, truth=truth
    )
    texts = {s.image.study_id: s for s in pairs.samples if isinstance(s, ImageText)}
    studies = read_truth(truth, "studies", split)
    studies = studies[studies["study_id"].isin(list(texts))].reset_index(drop=True)
    studies["retrieval_text"] = [texts[name].text for name in studies["study_id"]]
    phrases = load_dataset(
        _GROUNDING[twin], task="grounding", split=split, roots=roots, phantom=True, truth=truth
    )
    boxed = [s for s in phrases.samples if isinstance(s, PhraseBoxes)]
    asked = {(s.image.image_id, s.phrase) for s in boxed}
    rows = measure_studies(studies) + measure_phrases(_asked(truth, split, asked))
    table = read_box_table(training_table(_GROUNDING[twin]))
    rows += measure_boxes(boxed, table, _GROUNDING[twin])
    files = [texts[name].image.file for name in studies["study_id"]]
    findings = read_truth(truth, "findings", split)
    rows.append(("findings seen among those drawn", float(findings["visible"].mean()), ""))
    return rows + measure_shortcuts(twin, studies, findings, files)


def _asked(truth: Path, split: str, asked: set[tuple[str, str]]) -> pd.DataFrame:
    phrases = read_truth(truth, "phrases", split)
    names = phrases["image_id"].str.removesuffix(".png")
    kept = [pair in asked for pair in zip(names, phrases["phrase"], strict=True)]
    return phrases[kept].reset_index(drop=True)


def measure_words(cache: Path, split: str, limit: int | None) -> list[Row]:
    """How many external words the MIMIC dialect knows, with and without the unseen synonyms."""
    texts: dict[str, pd.DataFrame] = {}
    for tree in ("mimic-cxr", "padchest-gr"):
        truth = ensure_phantom(tree, split, cache, limit=limit)["truth"]
        texts[tree] = read_truth(truth, "studies", split)
    external = texts["padchest-gr"]
    plain = external[~external["unseen_word"]]
    own = list(texts["mimic-cxr"]["report"])
    return [
        (
            "external words known, without the stratum",
            overlap_of_words(own, list(plain["report"])),
            ">= 0.95",
        ),
        ("external words known, with it", overlap_of_words(own, list(external["report"])), ""),
        ("studies with an unseen synonym", float(external["unseen_word"].mean()), "a stratum"),
    ]


def markdown(columns: dict[str, list[Row]]) -> str:
    """The rows of both twins side by side."""
    lines = ["| | " + " | ".join(columns) + " | asked |", "|---" * (len(columns) + 2) + "|"]
    for rows in zip(*columns.values(), strict=True):
        what = rows[0][0].split(": ", 1)[-1] if "mIoU" in rows[0][0] else rows[0][0]
        values = " | ".join(_number(value) for _, value, _ in rows)
        lines.append(f"| {what} | {values} | {' / '.join(dict.fromkeys(r[2] for r in rows))} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and value >= 2 else f"{value:.3f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=cache_root() / "phantom")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args(arguments)
    columns = {
        f"{twin} twin": measure_twin(twin, options.split, options.cache, options.limit)
        for twin in _RETRIEVAL
    }
    print(f"Generator {VERSION} ({generator_hash()[:12]}), split {options.split}.\n")
    print(markdown(columns))
    print("\n" + markdown({"both": measure_words(options.cache, options.split, options.limit)}))


if __name__ == "__main__":
    main()
