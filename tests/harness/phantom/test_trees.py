"""Trees: the same bytes whatever the workers, whole after every split, and no truth inside."""

import csv
import hashlib
import json
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.datasets.table import load_dataset
from harness.errors import BenchError
from harness.phantom import cache, worlds
from harness.phantom.cache import ensure_phantom
from harness.phantom.plan import DrawnFinding, FindingPlan
from harness.phantom.trees.regions import JITTER, MISSING, region_supervision
from harness.phantom.version import VERSION, generator_hash
from harness.samples import Dataset, ImageText, PhraseBoxes

SIZE = 64
TREES = {
    "mimic": ("mimic-cxr", "mimic-cxr-jpg", "ms-cxr", "cxr-qba", "cxr-qba-lesion"),
    "padchest": ("padchest-gr", "padchest-gr-mimic-wording"),
}


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """Both twins' first test studies, rendered in this process."""
    folder = tmp_path_factory.mktemp("phantom")
    return {
        tree: ensure_phantom(tree, "test", folder, 1, 4, size=SIZE)
        for tree in ("ms-cxr", "padchest-gr")
    }


def load(roots: dict[str, Path], name: str, task: str, cohort: str | None = None) -> Dataset:
    trees = {tree: path for tree, path in roots.items() if tree != "truth"}
    return load_dataset(
        name,
        task=task,
        split="test",
        cohort=cohort,
        roots=trees,
        phantom=True,
        truth=roots["truth"],
    )


@pytest.mark.parametrize("tree", ["ms-cxr", "padchest-gr"])
def test_two_workers_write_the_same_bytes_as_one(
    tree: str, twins: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    other = ensure_phantom(tree, "test", tmp_path, 2, 4, size=SIZE)
    one = digests(twins[tree]["truth"].parent)
    assert len(one) > 50
    assert digests(other["truth"].parent) == one


@pytest.mark.parametrize("tree", ["ms-cxr", "padchest-gr"])
def test_no_file_of_the_truth_lies_in_a_tree(tree: str, twins: dict[str, dict[str, Path]]) -> None:
    roots = twins[tree]
    for name, root in roots.items():
        if name != "truth":
            assert not root.is_relative_to(roots["truth"])
            assert not list(root.rglob("*.parquet"))
            text = b"".join(p.read_bytes() for p in root.rglob("*.json"))
            assert b"visibility" not in text
            assert b"subtle" not in text
    assert json.loads((roots["truth"] / "generator.json").read_text()) == {
        "version": VERSION,
        "hash": generator_hash(),
    }


def test_a_second_split_leaves_the_first_as_it_was(tmp_path: Path) -> None:
    roots = ensure_phantom("ms-cxr", "test", tmp_path, 1, 1, size=SIZE)
    before = load(roots, "ms-cxr", "grounding").fingerprint()
    ensure_phantom("ms-cxr", "validation", tmp_path, 1, 1, size=SIZE)
    assert load(roots, "ms-cxr", "grounding").fingerprint() == before
    table = pd.read_csv(roots["mimic-cxr-jpg"] / "mimic-cxr-2.0.0-split.csv.gz")
    assert set(table["split"]) == {"test", "validate"}
    assert len(table) == len(list(roots["mimic-cxr-jpg"].rglob("*.jpg")))
    assert not set(table[table.split == "test"].subject_id) & set(
        table[table.split == "validate"].subject_id
    )


def test_the_first_samples_are_the_same_however_much_is_rendered(
    tmp_path: Path, twins: dict[str, dict[str, Path]]
) -> None:
    def first(roots: dict[str, Path]) -> str:
        trees = {tree: path for tree, path in roots.items() if tree != "truth"}
        return load_dataset(
            "mimic-cxr",
            task="retrieval",
            split="test",
            roots=trees,
            limit=4,
            phantom=True,
            truth=roots["truth"],
        ).fingerprint()

    less = ensure_phantom("mimic-cxr", "test", tmp_path, 1, 4, size=SIZE)
    table = "mimic-cxr-jpg", "mimic-cxr-2.0.0-split.csv.gz"
    sizes = [len(pd.read_csv(r[table[0]] / table[1])) for r in (less, twins["ms-cxr"])]
    assert sizes[0] < sizes[1]
    assert first(less) == first(twins["ms-cxr"])


def test_region_boxes_are_moved_and_some_are_missing() -> None:
    region = np.array([[0.1, 0.2, 0.5, 0.6], [0.6, 0.2, 0.9, 0.6]], np.float32)
    plan = FindingPlan("atelectasis", "both", "basal", "small", 1, 0.8, 1)
    drawn = DrawnFinding(plan, 20.0, True, False, region, region, region, region)
    rng = np.random.default_rng(0)
    found = [region_supervision(drawn, rng) for _ in range(1000)]
    kept = np.mean([len(boxes) for boxes in found]) / 2
    assert abs(kept - (1 - MISSING)) < 0.03
    first = np.array([boxes[0, 0] for boxes in found if len(boxes) == 2])
    assert abs(first.mean() - 0.1) < 0.003
    assert abs(first.std() - JITTER * 0.4) < 0.002


def test_what_was_broken_off_is_taken_up_and_only_what_is_missing_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ensure_phantom("padchest-gr", "test", tmp_path / "whole", 1, 4, size=SIZE)
    calls = []

    def breaks(job: worlds.Job) -> int:
        calls.append(job.block)
        if job.block == 1 and len(calls) < 3:
            raise KeyboardInterrupt
        return worlds.render_block(job)

    monkeypatch.setattr(cache, "render_block", breaks)
    with pytest.raises(KeyboardInterrupt):
        ensure_phantom("padchest-gr", "test", tmp_path / "broken", 1, 4, size=SIZE)
    again = ensure_phantom("padchest-gr", "test", tmp_path / "broken", 1, 4, size=SIZE)
    assert calls == [0, 1, 1, 2]
    assert digests(again["truth"].parent) == digests(whole["truth"].parent)
    ensure_phantom("padchest-gr", "test", tmp_path / "broken", 1, 4, size=SIZE)
    assert len(calls) == 4


def test_two_that_ask_at_once_draw_each_study_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(job: worlds.Job) -> int:
        calls.append(job.block)
        return worlds.render_block(job)

    monkeypatch.setattr(cache, "render_block", counted)
    ask = lambda: ensure_phantom("padchest-gr", "test", tmp_path, 1, 1, size=SIZE)  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(calls) == [0, 1, 2]


def test_every_loader_reads_its_twin_and_leaves_nothing_out_but_by_rule(
    twins: dict[str, dict[str, Path]],
) -> None:
    mimic, padchest = twins["ms-cxr"], twins["padchest-gr"]
    pairs = load(mimic, "mimic-cxr", "retrieval")
    assert set(pairs.excluded) <= {"not a PA or AP view"}
    assert all(isinstance(s, ImageText) and s.masked_text for s in pairs.samples)
    for cohort in ("region", "lesion"):
        assert load(mimic, "cxr-qba", "grounding", cohort).samples
    for cohort in (None, "spanish", "mimic-wording"):
        roots = padchest
        if cohort == "mimic-wording":
            roots = {**padchest, "padchest-gr": padchest["padchest-gr-mimic-wording"]}
        grounded = load(roots, "padchest-gr", "grounding", cohort)
        boxed = [s for s in grounded.samples if isinstance(s, PhraseBoxes) and len(s.boxes)]
        assert boxed
        assert all(s.second_reader is not None and s.region_boxes is not None for s in boxed)


@pytest.mark.parametrize("tree", ["ms-cxr", "padchest-gr"])
def test_a_phrase_that_names_a_side_has_its_box_on_that_side(
    tree: str, twins: dict[str, dict[str, Path]]
) -> None:
    phrases = pd.read_parquet(twins[tree]["truth"] / "phrases.parquet")
    sided = phrases[phrases["side_said"].isin(["left", "right"])]
    assert len(sided) > 15
    for row in sided.itertuples():
        middle = np.mean([(box[0] + box[2]) / 2 for box in row.boxes])
        # The patient's left lies on the right of the picture.
        assert ("left" if middle > 0.5 else "right") == row.side_said, row.phrase
        words = {"left": ("left", "izquierd"), "right": ("right", "derech")}[row.side_said]
        assert any(word in row.phrase.lower() for word in words)


def test_ms_cxr_says_the_same_in_csv_and_json(twins: dict[str, dict[str, Path]]) -> None:
    root = twins["ms-cxr"]["ms-cxr"]
    with (root / "MS_CXR_Local_Alignment_v1.1.0.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    coco = json.loads((root / "MS_CXR_Local_Alignment_v1.1.0.json").read_text("utf-8"))
    images = {image["id"]: image for image in coco["images"]}
    names = {category["id"]: category["name"] for category in coco["categories"]}
    from_json = [
        (
            images[a["image_id"]]["path"],
            names[a["category_id"]],
            a["label_text"],
            *map(str, a["bbox"]),
        )
        for a in coco["annotations"]
    ]
    columns = ("path", "category_name", "label_text", "x", "y", "w", "h")
    assert from_json == [tuple(row[c] for c in columns) for row in rows]
    assert all((twins["ms-cxr"]["mimic-cxr-jpg"] / row["path"]).is_file() for row in rows)


def test_a_prior_study_is_in_the_gallery_and_beside_it(twins: dict[str, dict[str, Path]]) -> None:
    root = twins["padchest-gr"]["padchest-gr"]
    entries = json.loads((root / "grounded_reports_20240819.json").read_text("utf-8"))
    images = {entry["ImageID"]: entry["StudyID"] for entry in entries}
    followed = [entry for entry in entries if entry["PreviousImageID"]]
    assert len(followed) == len(entries) / 3
    for entry in followed:
        assert images[entry["PreviousImageID"]] == entry["PreviousStudyID"]
        name = Path("Padchest_GR_files")
        prior = name / "PadChest_GR_progression_prior_studies" / entry["PreviousImageID"]
        own = name / "PadChest_GR" / entry["PreviousImageID"]
        assert (root / prior).read_bytes() == (root / own).read_bytes()


def test_images_tell_nothing_by_their_size(twins: dict[str, dict[str, Path]]) -> None:
    for tree, pattern in (("ms-cxr", "*.jpg"), ("padchest-gr", "*.png")):
        found = list(twins[tree]["truth"].parent.rglob(pattern))
        assert len({path.stat().st_size for path in found}) == 1


def test_a_wrong_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="Did you mean 'ms-cxr'"):
        ensure_phantom("ms-cxt", "test", tmp_path)
    with pytest.raises(BenchError, match="unknown phantom split 'tests'"):
        ensure_phantom("ms-cxr", "tests", tmp_path)
    with pytest.raises(BenchError, match="has no end"):
        ensure_phantom("ms-cxr", "large", tmp_path)
    with pytest.raises(BenchError, match="limit 0"):
        ensure_phantom("ms-cxr", "test", tmp_path, limit=0)


def test_large_is_streamed_from_any_point_and_agrees_with_itself() -> None:
    world = worlds.WORLDS["mimic"]
    whole = [r for _, _, r in worlds.iterate_studies(world, "large", 996, 1002, size=SIZE)]
    late = [r for _, _, r in worlds.iterate_studies(world, "large", 1000, 1002, size=SIZE)]
    assert late == whole[4:]


def test_the_first_film_says_the_same_whether_or_not_the_others_are_drawn() -> None:
    world = worlds.WORLDS["mimic"]
    whole = [r for _, _, r in worlds.iterate_studies(world, "train", 0, 8, size=SIZE)]
    first = worlds.iterate_studies(world, "train", 0, 8, size=SIZE, frontal=True)
    for one, (_, films, other) in zip(whole, first, strict=True):
        assert len(films) == 1
        assert one["phrases"] == other["phrases"]
        assert one["answers"] == other["answers"]
        assert one["findings"][: len(other["findings"])] == other["findings"]
