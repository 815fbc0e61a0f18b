"""Bring your own: a folder with manifest.csv, and optionally pairs and phrases.

``manifest.csv`` has one row per image: image_id, file, patient_id; optional study_id, view, split,
text_findings, text_group, sex, age, licence; other columns are ignored. ``retrieval_pairs.csv``
names by image_id the pairs asked, all other images being distractors; without it every image with a
text is asked. Each line of ``phrases.jsonl`` (image_id, phrase, boxes, kind, mask, finding) is one
sample. Boxes are xyxy fractions of the original image.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from harness.boxes import Boxes, boxes_from_unit
from harness.datasets.checks import Check, check_images
from harness.datasets.files import Row, Tally, inside, read_json_lines, read_rows
from harness.datasets.findings import is_fixed, view_name
from harness.datasets.probe import first_choices, lung_choices
from harness.datasets.table import Request
from harness.errors import BenchError, NothingToAsk
from harness.samples import Dataset, ImageRef, ImageText, Kind, PhraseBoxes, Sample
from harness.text import TEXT_POLICY, is_comparison, is_negated, normalize, tidy

VERSION = "manifest-1"
_SHOWN_PROBLEMS = 10


def load(request: Request) -> Dataset:
    """The pairs or phrases of a user's own folder.

    With `limit`, retrieval takes the asked studies first, then distractors.

    Raises:
        BenchError: every bad row of a file at once (the first ten shown), an empty split; its
            kind NothingToAsk where there is no text, or no phrase, for the task.
    """
    top = request.roots["manifest"]
    rows = read_manifest(top)
    chosen = _of_split(rows, request.split, top)
    tally = Tally()
    ask = {"retrieval": _pairs, "grounding": _phrases, "probe": _sides}[request.task]
    samples, total = ask(top, rows, chosen, limit=request.limit, tally=tally)
    return Dataset(
        name="manifest",
        task=request.task,
        split=request.split,
        cohort=request.cohort,
        version=VERSION,
        samples=tuple(samples),
        n_total=total,
        excluded=tally.counts,
        text_policy=TEXT_POLICY,
        licence="; ".join(sorted({row.get("licence") for row in chosen} - {""})),
    )


def read_manifest(top: Path) -> list[Row]:
    """The checked rows of ``manifest.csv``.

    Raises:
        BenchError: an id is empty, repeated, or differs from another only in case; a file is
            missing, empty or outside the folder; a patient is not named; an age is no number.
    """
    rows = read_rows(top / "manifest.csv", ("image_id", "file", "patient_id"))
    if not rows:
        raise BenchError(f"{top / 'manifest.csv'}: no row below the header. Add one per image.")
    seen: dict[str, Row] = {}
    problems = [p for row in rows for p in _problems(top, row, seen)]
    _raise_all(problems)
    return rows


def check(roots: Mapping[str, Path], *, thorough: bool = False) -> list[Check]:
    """What ``bench data check manifest=PATH`` prints; a bad row raises."""
    top = roots["manifest"]
    rows = read_manifest(top)
    phrases = list(_read_phrases(top, rows))
    splits = sorted({row.get("split") for row in rows} - {""})
    texts = sum(bool(row.get("text_findings")) for row in rows)
    return [
        Check("ok", "images", str(len(rows))),
        Check("ok", "patients", str(len({row.get("patient_id") for row in rows}))),
        Check("ok", "splits", ", ".join(splits) or "none named (ask for `all`)"),
        Check("ok", "texts", str(texts)),
        Check("ok", "phrases", str(len(phrases))),
        *_shared_patients(rows),
        *check_images([_image(top, row) for row in rows], thorough=thorough),
    ]


def _problems(top: Path, row: Row, seen: dict[str, Row]) -> Iterable[str]:
    name = row.get("image_id")
    if not name:
        yield f"line {row.line}: image_id is empty"
    twin = seen.setdefault(name.casefold(), row)
    if name and twin is not row:
        same = "repeats" if twin.get("image_id") == name else "differs only in case from"
        yield f"line {row.line}: image_id {name!r} {same} line {twin.line}. Ids must be unique"
    if not row.get("patient_id"):
        yield f"line {row.line}: patient_id is empty (intervals are by patient; name each person)"
    try:
        file = inside(top, row.get("file"), f"line {row.line}")
        if not file.is_file():
            yield f"line {row.line}: no file {file}. Put it there or remove the row"
    except BenchError as error:
        yield str(error)
    if not _is_age(row.get("age")):
        yield f"line {row.line}: age {row.get('age')!r} is not a number of years"


def _is_age(cell: str) -> bool:
    try:
        return math.isfinite(float(cell or 0))
    except ValueError:
        return False


def _raise_all(problems: Sequence[str], file: str = "manifest.csv") -> None:
    if not problems:
        return
    shown = "\n  ".join(problems[:_SHOWN_PROBLEMS])
    rest = f"\n  and {len(problems) - _SHOWN_PROBLEMS} more" * (len(problems) > _SHOWN_PROBLEMS)
    raise BenchError(f"{file}: {len(problems)} bad row(s):\n  {shown}{rest}")


def _of_split(rows: Sequence[Row], split: str, top: Path) -> list[Row]:
    chosen = [row for row in rows if split == "all" or row.get("split") == split]
    if not chosen:
        found = sorted({row.get("split") for row in rows} - {""})
        raise BenchError(
            f"{top / 'manifest.csv'}: no image has split {split!r}. "
            f"Splits found: {', '.join(found) or 'none'}; `all` takes every image."
        )
    return chosen


def _image(top: Path, row: Row) -> ImageRef:
    name = row.get("image_id")
    sex = row.get("sex").upper()[:1]
    return ImageRef(
        image_id=name,
        file=inside(top, row.get("file"), name),
        patient_id=row.get("patient_id"),
        study_id=row.get("study_id") or name,
        view=view_name(row.get("view")),
        sex=sex if sex in ("F", "M") else "",
        age=float(row.get("age")) if row.get("age") else None,
    )


def _groups(image: ImageRef) -> dict[str, str]:
    found = {"view": image.view, "sex": image.sex}
    return {name: value for name, value in found.items() if value}


def _pairs(
    top: Path, rows: Sequence[Row], chosen: Sequence[Row], *, limit: int | None, tally: Tally
) -> tuple[list[Sample], int]:
    asked = _asked_ids(top, rows)
    if not any(row.get("image_id") in asked for row in chosen):
        raise NothingToAsk(
            f"{top}: no image of this split has a text to ask. Fill text_findings in manifest.csv "
            "to run retrieval."
        )
    ordered = sorted(chosen, key=lambda row: row.get("image_id") not in asked)
    kept = set(_first_studies(ordered, limit))
    samples: list[Sample] = []
    for row in chosen:
        image = _image(top, row)
        if image.study_id not in kept:
            tally.add(f"beyond --limit {limit}")
            continue
        is_asked = image.image_id in asked
        samples.append(
            ImageText(
                sample_id=image.image_id,
                image=image,
                text=tidy(row.get("text_findings")) if is_asked else "",
                text_group=row.get("text_group") if is_asked else "",
                asked=is_asked,
                groups=_groups(image),
            )
        )
    return samples, len(chosen)


def _first_studies(rows: Iterable[Row], limit: int | None) -> list[str]:
    studies = dict.fromkeys(row.get("study_id") or row.get("image_id") for row in rows)
    return list(studies)[:limit]


def _asked_ids(top: Path, rows: Sequence[Row]) -> set[str]:
    by_id = {row.get("image_id"): row for row in rows}
    file = top / "retrieval_pairs.csv"
    if not file.exists():
        return {name for name, row in by_id.items() if normalize(row.get("text_findings"))}
    problems = []
    asked: set[str] = set()
    for pair in read_rows(file, ("image_id",)):
        name = pair.get("image_id")
        if name not in by_id:
            problems.append(f"line {pair.line}: image_id {name!r} is not in manifest.csv")
        elif name in asked:
            problems.append(f"line {pair.line}: image_id {name!r} is asked twice")
        elif not normalize(by_id[name].get("text_findings")):
            problems.append(
                f"line {pair.line}: {name!r} has no text_findings in manifest.csv line "
                f"{by_id[name].line}. Write its text or remove the pair"
            )
        asked.add(name)
    _raise_all(problems, "retrieval_pairs.csv")
    return asked


def _phrases(
    top: Path, rows: Sequence[Row], chosen: Sequence[Row], *, limit: int | None, tally: Tally
) -> tuple[list[Sample], int]:
    names = {row.get("image_id") for row in chosen}
    phrases = [p for p in _read_phrases(top, rows) if p.image.image_id in names]
    if not phrases:
        raise NothingToAsk(
            f"{top}: no phrase to locate in this split. Write phrases.jsonl to run grounding."
        )
    kept = set(list(dict.fromkeys(p.image.image_id for p in phrases))[:limit])
    samples: list[Sample] = [p for p in phrases if p.image.image_id in kept]
    tally.add(f"beyond --limit {limit}", len(phrases) - len(samples))
    return samples, len(phrases)


def _sides(
    top: Path, rows: Sequence[Row], chosen: Sequence[Row], *, limit: int | None, tally: Tally
) -> tuple[list[Sample], int]:
    names = {row.get("image_id") for row in chosen}
    phrases = [p for p in _read_phrases(top, rows) if p.image.image_id in names]
    return first_choices(top, lung_choices(phrases), limit, tally)


def _read_phrases(top: Path, rows: Sequence[Row]) -> list[PhraseBoxes]:
    file = top / "phrases.jsonl"
    if not file.exists():
        return []
    images = {row.get("image_id"): _image(top, row) for row in rows}
    counts: dict[str, int] = {}
    problems: list[str] = []
    samples: list[PhraseBoxes] = []
    for line, value in read_json_lines(file, problems):
        try:
            sample = _phrase(top, value, images, counts)
        except (BenchError, ValueError) as error:
            problems.append(f"line {line}: {error}")
        else:
            samples.append(sample)
    _raise_all(problems, "phrases.jsonl")
    return samples


def _phrase(
    top: Path, value: Mapping[str, Any], images: Mapping[str, ImageRef], counts: dict[str, int]
) -> PhraseBoxes:
    name, phrase = str(value.get("image_id", "")), tidy(str(value.get("phrase", "")))
    kind = value.get("kind", "finding")
    if name not in images:
        raise ValueError(f"image_id {name!r} is not in manifest.csv")
    if not normalize(phrase):
        raise ValueError("phrase is empty")
    if kind not in get_args(Kind):
        raise ValueError(f"kind {kind!r} is none of {', '.join(get_args(Kind))}")
    if value.get("mask"):
        inside(top, str(value["mask"]), "mask")
    counts[name] = counts.get(name, 0) + 1
    finding = normalize(str(value.get("finding") or phrase))
    return PhraseBoxes(
        sample_id=f"{name}#{counts[name]}",
        image=images[name],
        phrase=phrase,
        boxes=_boxes(value.get("boxes")),
        kind=kind,
        finding=finding,
        fixed=kind == "finding" and is_fixed(finding),
        negated=is_negated(phrase),
        comparison=is_comparison(phrase),
        groups=_groups(images[name]),
    )


def _boxes(value: Any) -> Boxes:
    if not isinstance(value, list):
        raise ValueError(f"boxes: expected a list [[x1, y1, x2, y2], ...], got {value!r}")
    return boxes_from_unit(value)


def _shared_patients(rows: Sequence[Row]) -> list[Check]:
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.get("patient_id"), set()).add(row.get("split"))
    shared = sorted(patient for patient, found in splits.items() if len(found) > 1)
    if not shared:
        return [Check("ok", "patients in one split only", "yes")]
    return [Check("problem", "patients in more than one split", str(len(shared)), "0")]
