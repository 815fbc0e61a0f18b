"""``bench data check mimic-cxr=PATH``: versions, counts, views and files of the MIMIC trees."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from harness.datasets.checks import Check, check_images, compare_counts
from harness.datasets.files import find_file, read_table, require_file
from harness.datasets.mimic_cxr import of_split
from harness.datasets.mimic_reports import SPECIAL_FILES, open_reports, report_path
from harness.datasets.mimic_tables import (
    has_tables,
    image_ref,
    image_table,
    index_images,
    tree_versions,
)
from harness.datasets.table import DATASETS
from harness.errors import BenchError
from harness.samples import ImageRef

_SPECIAL_SOURCE = "txt/section_parser.py of github.com/MIT-LCP/mimic-cxr, put beside files/"
_SAMPLED_REPORTS = 500


def check(roots: Mapping[str, Path], *, thorough: bool = False) -> list[Check]:
    """The state of whatever MIMIC trees are set; damaged tables raise, as they do in a run.

    A patient in two splits and tables that disagree are refused while they are read. Without the
    tables of MIMIC-CXR-JPG only the reports are looked at, by the list that comes with them.
    """
    if not has_tables(roots):
        return [*_versions(roots), *_reports_alone(roots, thorough=thorough)]
    table = image_table(roots)
    return [
        *_versions(roots),
        Check("ok", "patients in one split only", "yes"),
        *(line for split in ("train", "validation", "test") for line in _counts(table, split)),
        *_views(table),
        *_unlisted(roots, table),
        *_reports(roots, table, thorough=thorough),
        *check_images(_images(roots, table, thorough=thorough), thorough=thorough),
    ]


def _versions(roots: Mapping[str, Path]) -> list[Check]:
    versions = tree_versions(roots)
    checks = [Check("ok", f"{tree} version", v or "cannot be told") for tree, v in versions.items()]
    if len(set(versions.values()) - {""}) > 1:
        checks.append(Check("note", "versions", "mixed: " + ", ".join(versions.values()), "one"))
    jpg = roots.get("mimic-cxr-jpg")
    labeled = jpg and find_file(jpg, "mimic-cxr-2.1.0-test-set-labeled.csv*")
    if jpg and labeled and versions["mimic-cxr-jpg"] == "2.0.0":
        checks.append(Check("problem", jpg.name, "a 2.1.0 file in a 2.0.0 tree", "one version"))
    return checks


def _counts(table: pd.DataFrame, split: str) -> list[Check]:
    rows = of_split(table, split)
    found = {
        "patients": rows["subject_id"].nunique(),
        "studies": rows["study_id"].nunique(),
        "images": len(rows),
    }
    lines = compare_counts(found, DATASETS["mimic-cxr"].published[split])
    return [Check(c.level, f"{split} {c.what}", c.found, c.expected) for c in lines]


def _views(table: pd.DataFrame) -> list[Check]:
    test = of_split(table, "test")
    frontal = int(test["view"].isin(["PA", "AP"]).sum())
    blank = int((table["named"] == "").sum())
    absent = int((~table["described"]).sum())
    return [
        # 3,653 counts images whose blank view the authors rescued from another field
        Check("ok", "test frontal images (PA, AP)", f"{frontal:,}", "at most 3,653"),
        Check("ok", "images with a blank view", f"{blank:,}"),
        Check("problem" if absent else "ok", "images without metadata", f"{absent:,}", "0"),
    ]


def _unlisted(roots: Mapping[str, Path], table: pd.DataFrame) -> list[Check]:
    """Images the publisher's own list names and the split table does not, and the reverse."""
    jpg = roots.get("mimic-cxr-jpg")
    listing = find_file(jpg, "IMAGE_FILENAMES") if jpg else None
    if listing is None:
        return []
    names = {Path(line).stem for line in listing.read_text("utf-8").split()}
    known = set(table["dicom_id"])
    extra, lost = len(names - known), len(known - names)
    return [
        Check("problem" if extra else "ok", "listed images without a split", f"{extra:,}", "0"),
        Check("problem" if lost else "ok", "split images not listed", f"{lost:,}", "0"),
    ]


def _reports_alone(roots: Mapping[str, Path], *, thorough: bool) -> list[Check]:
    listing = require_file("mimic-cxr", roots["mimic-cxr"], "cxr-study-list.csv*")
    table = read_table(listing, ("subject_id", "study_id"))
    note = Check("note", "images, splits, views", "not checked", "--data mimic-cxr-jpg=PATH")
    counted = compare_counts(
        {"studies": len(table), "patients": table["subject_id"].nunique()},
        DATASETS["mimic-cxr"].published["all"],
    )
    return [note, *counted, *_reports(roots, table, thorough=thorough)]


def _reports(roots: Mapping[str, Path], table: pd.DataFrame, *, thorough: bool) -> list[Check]:
    if "mimic-cxr" not in roots:
        return [Check("note", "reports", "not checked", "--data mimic-cxr=PATH")]
    top = roots["mimic-cxr"]
    found = find_file(top, *SPECIAL_FILES)
    special = "official table" if found else "general rules (54 studies differ)"
    level = Check("ok" if found else "note", "special studies", special, _SPECIAL_SOURCE)
    studies = table.drop_duplicates("study_id")
    step = 1 if thorough else max(1, len(studies) // _SAMPLED_REPORTS)
    pairs = list(zip(studies["subject_id"], studies["study_id"], strict=True))[::step]
    try:
        reports = open_reports(top)
    except BenchError as error:
        return [level, Check("problem", "reports", str(error))]
    missing = [pair for pair in pairs if reports.read(*pair) is None]
    how = "all" if thorough else f"{len(pairs)} sampled; --all reads every one"
    names = ", ".join(report_path(*pair) for pair in missing[:3])
    state = f"{len(missing)} ({how}){': ' if names else ''}{names}"
    return [level, Check("problem" if missing else "ok", "missing reports", state, "0")]


def _images(roots: Mapping[str, Path], table: pd.DataFrame, *, thorough: bool) -> list[ImageRef]:
    step = 1 if thorough else max(1, len(table) // 1000)
    return [image_ref(row, roots) for row in index_images(table.iloc[::step]).values()]
