"""MIMIC-CXR retrieval: one frontal image per study with the text of its report.

Reports come from `mimic-cxr` (2.0.0 or 2.1.0), images from `mimic-cxr-jpg` or the DICOMs of
`mimic-cxr`, split and view from the tables of MIMIC-CXR-JPG. Cohorts (protocol §1): `frontal`,
`impression`, `findings`, and `lofi` (see `lofi_cohort`).
"""

from collections.abc import Iterator, Mapping

import pandas as pd

from harness.datasets.files import Tally
from harness.datasets.lofi_cohort import load_lofi
from harness.datasets.mimic_reports import Reports, open_reports
from harness.datasets.mimic_tables import image_ref, image_table, labels_by_study, mimic_version
from harness.datasets.table import Request
from harness.datasets.truth import generator_version, image_findings, masked_text
from harness.errors import BenchError
from harness.samples import Dataset, ImageRef, ImageText
from harness.text import is_comparison


def load(request: Request) -> Dataset:
    """The image-text pairs of one split and cohort.

    `n_total` counts all images of the split, so every view left out is in `excluded`.

    Raises:
        BenchError: tables or reports are missing or damaged, or no pair is left.
    """
    if request.cohort == "lofi":
        return load_lofi(request)
    table = of_split(image_table(request.roots), request.split)
    tally = Tally()
    chosen = one_frontal_per_study(table, tally)
    reports = open_reports(request.roots["mimic-cxr"], phantom=request.phantom)
    samples = list(_samples(request, chosen, reports, tally))
    if not samples:
        raise BenchError(nothing_left("mimic-cxr", request, tally))
    return Dataset(
        name="mimic-cxr",
        task=request.task,
        split=request.split,
        cohort=request.cohort,
        version=generator_version(request.truth) or mimic_version(request.roots),
        samples=tuple(samples),
        phantom=request.phantom,
        restricted=not request.phantom,
        n_total=len(table),
        excluded=tally.counts,
        text_policy=reports.policy,
        licence="" if request.phantom else "PhysioNet Credentialed Health Data License 1.5.0",
    )


def of_split(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of one split; `all` takes every row, `pooled-eval` validation and test."""
    if split == "all":
        return table
    wanted = {"pooled-eval": ["validation", "test"]}.get(split, [split])
    return table[table["split"].isin(wanted)]


def frontal_only(table: pd.DataFrame, tally: Tally) -> pd.DataFrame:
    """The PA and AP images; others are counted by what is known of their view."""
    frontal = table["view"].isin(["PA", "AP"])
    others = table[~frontal]
    tally.add("no row in the metadata table", int((~others["described"]).sum()))
    blank = others["described"] & (others["named"] == "")
    tally.add("view not named", int(blank.sum()))
    tally.add("not a PA or AP view", int((others["named"] != "").sum()))
    return table[frontal]


def one_frontal_per_study(table: pd.DataFrame, tally: Tally) -> pd.DataFrame:
    """One image per study, PA before AP, then the lowest dicom_id, in the table's study order."""
    frontal = frontal_only(table, tally)
    ranked = frontal.assign(order=range(len(frontal)), is_ap=frontal["view"] != "PA")
    ranked = ranked.sort_values(["is_ap", "dicom_id"], kind="stable")
    first_seen = ranked.groupby("study_id")["order"].transform("min")
    chosen = ranked.assign(order=first_seen).drop_duplicates("study_id").sort_values("order")
    tally.add("second frontal image of its study", len(frontal) - len(chosen))
    return chosen


def nothing_left(name: str, request: Request, tally: Tally) -> str:
    """The message when every item was left out: what was looked for and why none is used."""
    why = (
        ", ".join(f"{count} {reason}" for reason, count in tally.counts.items()) or "no row at all"
    )
    folders = ", ".join(f"{tree}={path}" for tree, path in request.roots.items())
    return (
        f"{name}: no item left in split {request.split}, cohort {request.cohort} ({why}). "
        f"Is the download complete? Looked in {folders}. Try: bench data check {name}=PATH"
    )


def study_groups(image: ImageRef, text: str) -> dict[str, str]:
    """The strata a pair belongs to: view, sex, and whether its text compares with another film."""
    found = {"view": image.view, "sex": image.sex}
    groups = {name: value for name, value in found.items() if value}
    return {**groups, "comparison": "yes" if is_comparison(text) else "no"}


def _samples(
    request: Request, chosen: pd.DataFrame, reports: Reports, tally: Tally
) -> Iterator[ImageText]:
    labels = labels_by_study(request.roots)
    masked, seen = masked_text(request.truth), image_findings(request.truth)
    used = 0
    rows = list(_rows(chosen))
    for position, row in enumerate(rows):
        if request.limit is not None and used == request.limit:
            tally.add(f"beyond --limit {request.limit}", len(rows) - position)
            return
        sample = _sample(request, row, reports, tally)
        if sample is None:
            continue
        used += 1
        yield ImageText(
            sample_id=sample[0].image_id,
            image=sample[0],
            text=sample[1],
            groups=study_groups(sample[0], sample[1]),
            labels=labels.get(sample[0].study_id, ()),
            masked_text=masked(sample[0].study_id),
            findings=seen(sample[0].image_id),
        )


def _sample(
    request: Request, row: Mapping[str, str], reports: Reports, tally: Tally
) -> tuple[ImageRef, str] | None:
    image = image_ref(row, request.roots)
    found = reports.text(image.patient_id, image.study_id, request.cohort)
    if not found.text:
        tally.add(found.reason)
        return None
    if not image.file.is_file():
        tally.add("image file missing")
        return None
    return image, found.text


def _rows(table: pd.DataFrame) -> Iterator[dict[str, str]]:
    columns = ["dicom_id", "subject_id", "study_id", "view"]
    for values in zip(*(table[column] for column in columns), strict=True):
        yield dict(zip(columns, values, strict=True))
