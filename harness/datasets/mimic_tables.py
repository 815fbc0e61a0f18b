"""The tables of MIMIC-CXR-JPG: one row per image with its split and view, verified on reading."""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.datasets.files import find_file, read_table
from harness.datasets.findings import view_name
from harness.errors import BenchError
from harness.roots import how_to_get, version_of
from harness.samples import ImageRef

SPLIT_NAMES = {"train": "train", "validate": "validation", "test": "test"}
_KEYS = ("dicom_id", "subject_id", "study_id")
_SPLIT = ("mimic-cxr-2.0.0-split.csv.gz", "mimic-cxr-2.0.0-split.csv")
_METADATA = ("mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-metadata.csv")
_CHEXPERT = ("mimic-cxr-2.0.0-chexpert.csv.gz", "mimic-cxr-2.0.0-chexpert.csv")
_TREES = ("mimic-cxr-jpg", "mimic-cxr")


def image_table(roots: Mapping[str, Path]) -> pd.DataFrame:
    """Every image of the split table, in its order.

    Columns dicom_id, study_id, subject_id, split (train, validation, test), view ("PA", "AP",
    "LATERAL" or ''), named (the ViewPosition as written), width, height (0 where unknown) and
    described (whether the metadata table has the image).

    Raises:
        BenchError: a table is missing or damaged; an image stands twice; the tables disagree about
            an image's patient or study; a patient is in two splits.
    """
    split = _require(roots, _SPLIT)
    metadata = _require(roots, _METADATA)
    return _read_images(split, metadata, split.stat().st_mtime_ns, metadata.stat().st_mtime_ns)


def has_tables(roots: Mapping[str, Path]) -> bool:
    """Whether the split and metadata tables are in one of the trees that are set."""
    tops = [roots[tree] for tree in _trees(roots)]
    return all(any(find_file(top, *names) for top in tops) for names in (_SPLIT, _METADATA))


def labels_by_study(roots: Mapping[str, Path]) -> dict[str, tuple[str, ...]]:
    """The positive CheXpert labels of each study; empty where the table is not there."""
    file = next((f for t in _trees(roots) if (f := find_file(roots[t], *_CHEXPERT))), None)
    return {} if file is None else _read_labels(file, file.stat().st_mtime_ns)


def image_file(roots: Mapping[str, Path], subject: str, study: str, dicom: str) -> Path:
    """Where an image lies: the JPG tree if it has images, else the DICOM tree."""
    tree = image_tree(roots)
    ending = ".jpg" if tree == "mimic-cxr-jpg" else ".dcm"
    folder = roots[tree] / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}"
    return folder / f"{dicom}{ending}"


def image_tree(roots: Mapping[str, Path]) -> str:
    """The tree images are taken from; their pixels differ, so this is part of the version.

    JPGs are histogram-equalized to 8 bits, DICOMs are not.
    """
    jpg = roots.get("mimic-cxr-jpg")
    if jpg is not None and ((jpg / "files").is_dir() or "mimic-cxr" not in roots):
        return "mimic-cxr-jpg"
    return "mimic-cxr"


def index_images(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The rows of `image_table` (or a part of it) by dicom id."""
    columns = {name: table[name].tolist() for name in table.columns}
    rows = zip(*columns.values(), strict=True)
    return {
        row["dicom_id"]: row for values in rows if (row := dict(zip(columns, values, strict=True)))
    }


def image_ref(row: Mapping[str, str], roots: Mapping[str, Path]) -> ImageRef:
    """One image of `image_table` as a sample's image."""
    subject, study, dicom = row["subject_id"], row["study_id"], row["dicom_id"]
    return ImageRef(
        image_id=dicom,
        file=image_file(roots, subject, study, dicom),
        patient_id=subject,
        study_id=study,
        view=row["view"],
    )


def tree_versions(roots: Mapping[str, Path]) -> dict[str, str]:
    """The version of each MIMIC tree that is set, by its folder's name or its files, or ''.

    The reports' tree cannot be told apart by its files unless it has the list of providers, which
    came with 2.1.0.
    """
    marks = {
        "mimic-cxr-jpg": ("mimic-cxr-2.1.0-test-set-labeled.csv*", "2.0.0"),
        "mimic-cxr": ("cxr-provider-list.csv*", ""),
    }
    return {
        tree: version_of(roots[tree]) or ("2.1.0" if find_file(roots[tree], mark) else older)
        for tree, (mark, older) in marks.items()
        if tree in roots
    }


def mimic_version(roots: Mapping[str, Path]) -> str:
    """The version of the data for records: images' tree, format, and the reports' if it differs.

    >>> mimic_version({"mimic-cxr-jpg": Path("/x/2.0.0")})
    '2.0.0 jpg'
    """
    versions = tree_versions(roots)
    tree = image_tree(roots)
    kind = "jpg" if tree == "mimic-cxr-jpg" else "dicom"
    images, reports = versions[tree], versions.get("mimic-cxr", "")
    mixed = f", reports {reports}" if reports not in ("", images) else ""
    return f"{images or 'unknown version'} {kind}{mixed}"


def _trees(roots: Mapping[str, Path]) -> list[str]:
    return [tree for tree in _TREES if tree in roots]


def _require(roots: Mapping[str, Path], names: tuple[str, ...]) -> Path:
    for tree in _trees(roots):
        if found := find_file(roots[tree], *names):
            return found
    looked = " or ".join(str(roots[tree]) for tree in _trees(roots))
    raise BenchError(
        f"mimic-cxr-jpg: no {names[0]} in {looked}. It comes with MIMIC-CXR-JPG; users of the "
        f"DICOMs put it there too. {how_to_get('mimic-cxr-jpg')}"
    )


@lru_cache(maxsize=2)
def _read_images(split: Path, metadata: Path, *_times: int) -> pd.DataFrame:
    left = read_table(split, (*_KEYS, "split"))
    right = read_table(metadata, (*_KEYS, "ViewPosition"), ("Rows", "Columns"))
    _unique(split, left)
    _unique(metadata, right)
    unknown = sorted(set(left["split"]) - set(SPLIT_NAMES))
    if unknown:
        raise BenchError(f"{split}: split {unknown[0]!r} is none of {', '.join(SPLIT_NAMES)}.")
    table = left.merge(right, on="dicom_id", how="left", suffixes=("", "_there"))
    _agree(split, metadata, table)
    _patients_in_one_split(split, table)
    position = table["ViewPosition"].fillna("")
    return pd.DataFrame(
        {
            **{key: table[key] for key in _KEYS},
            "split": table["split"].map(SPLIT_NAMES),
            "view": position.map({name: view_name(name) for name in position.unique()}),
            "named": position,
            "width": _sizes(table, "Columns"),
            "height": _sizes(table, "Rows"),
            "described": table["subject_id_there"].notna(),
        }
    )


def _sizes(table: pd.DataFrame, column: str) -> pd.Series:
    if column not in table:
        return pd.Series(0, index=table.index)
    return pd.to_numeric(table[column], errors="coerce").fillna(0).astype(int)


def _unique(path: Path, table: pd.DataFrame) -> None:
    twice = table["dicom_id"][table["dicom_id"].duplicated()]
    if len(twice):
        raise BenchError(
            f"{path}: {len(twice)} image(s) stand twice, e.g. {twice.iloc[0]}. Download it again."
        )


def _agree(split: Path, metadata: Path, table: pd.DataFrame) -> None:
    described = table[table["subject_id_there"].notna()]
    for key in ("subject_id", "study_id"):
        differs = described[described[key] != described[f"{key}_there"]]
        if len(differs):
            raise BenchError(
                f"{split.name} and {metadata.name} disagree about the {key} of {len(differs)} "
                f"image(s), e.g. {differs['dicom_id'].iloc[0]}. They are of different downloads; "
                "take both from one version."
            )


def _patients_in_one_split(path: Path, table: pd.DataFrame) -> None:
    counts = table.groupby("subject_id")["split"].nunique()
    shared = counts[counts > 1]
    if len(shared):
        raise BenchError(
            f"{path}: {len(shared)} patient(s) stand in more than one split, e.g. "
            f"{shared.index[0]}. This is not the official split; download it again."
        )


@lru_cache(maxsize=2)
def _read_labels(file: Path, *_times: int) -> dict[str, tuple[str, ...]]:
    table = read_table(file)
    names = [name for name in table.columns if name not in ("subject_id", "study_id")]
    if "study_id" not in table.columns or not names:
        raise BenchError(
            f"{file}: expected study_id and label columns, found {list(table.columns)}."
        )
    numbers = table[names].apply(lambda column: pd.to_numeric(column, errors="coerce"))
    rows = np.asarray(numbers, np.float64)
    return {
        str(study): tuple(name for name, value in zip(names, row, strict=True) if value == 1.0)
        for study, row in zip(table["study_id"], rows, strict=True)
    }


def parse_mimic_path(path: str) -> tuple[str, str, str]:
    """Subject, study and dicom id of a path like ``files/p10/p10000032/s50414267/<dicom>.jpg``.

    Raises:
        ValueError: the path is not of that form.
    """
    match = re.search(r"p\d{2}/p(\d{8})/s(\d{8})/([0-9a-f-]+)\.\w+$", path)
    if match is None:
        raise ValueError(f"path {path!r} is not like files/p10/p10000032/s50414267/<dicom>.jpg")
    return match.group(1), match.group(2), match.group(3)
