"""What the generator knows, beside the trees: studies, findings and phrases as parquet.

Only controls, strata and the captioning task read these; no model does (design §6.4).
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from harness.phantom.study import Record
from harness.phantom.trees.files import write_bytes, write_json
from harness.phantom.version import VERSION, generator_hash
from harness.phantom.vocabulary import FINDINGS
from harness.text import normalize

# Edges between visibility terciles, in units of the noise, fixed with the generator's version.
TERCILES = (12.0, 33.0)

_STUDY = (
    "split",
    "index",
    "patient_id",
    "study_id",
    "prior_study_id",
    "sex",
    "age",
    "habitus",
    "masked_text",
    "content",
    "possible",
    "denied",
    "compared",
    "unseen_word",
)


def write(root: Path, records: Sequence[Record]) -> None:
    """Writes studies, findings, phrases and the generator's version; covers exactly the records."""
    _write_table(root / "studies.parquet", [_study(r) for r in records])
    _write_table(root / "findings.parquet", [row for r in records for row in _findings(r)])
    _write_table(root / "phrases.parquet", [row for r in records for row in _phrases(r)])
    write_json(root / "generator.json", {"version": VERSION, "hash": generator_hash()}, indent=1)


def _write_table(path: Path, rows: list[Record]) -> None:
    stream = io.BytesIO()
    pd.DataFrame(rows).to_parquet(stream, index=False, compression="zstd")
    write_bytes(path, stream.getvalue())


def _study(record: Record) -> Record:
    row = {name: record[name] for name in _STUDY}
    row["image_id"] = record["images"][0]["image_id"]
    row["view"] = record["images"][0]["view"]
    row["devices"] = "; ".join(record["devices"])
    row["report"] = record.get("report") or " ".join(s["english"] for s in record["sentences"])
    return row


def _findings(record: Record) -> Iterator[Record]:
    for finding in record["findings"]:
        yield {"split": record["split"], "study_id": record["study_id"], **finding}


def visibility_group(visibility: float, *, diffuse: bool) -> str:
    """The stratum of a finding: low, middle or high; diffuse findings have a scale of their own."""
    if diffuse:
        return "diffuse"
    return "low" if visibility < TERCILES[0] else "middle" if visibility < TERCILES[1] else "high"


def _phrases(record: Record) -> Iterator[Record]:
    """One row per phrase of the first film; a phrase that stands in two trees is listed once."""
    taken: set[str] = set()
    said = [(p["phrase"], p) for p in record.get("phrases", ())]
    said += [(a["text"], a) for a in record.get("answers", ())]
    for s in record.get("sentences", ()):
        said += [(s["english"], s), (s["english_mimic"], s), (s["spanish"], s)]
    for text, entry in said:
        if entry["drawn"] is not None and normalize(text) not in taken:
            taken.add(normalize(text))
            yield _phrase(record, text, entry)


def _phrase(record: Record, text: str, entry: Record) -> Record:
    finding = record["findings"][entry["drawn"]]
    kind = FINDINGS[finding["name"]]
    return {
        "split": record["split"],
        "patient_id": record["patient_id"],
        "study_id": record["study_id"],
        "image_id": record["images"][0]["image_id"],
        "phrase": text,
        "finding": finding["name"],
        "fixed": kind.fixed,
        "diffuse": kind.diffuse,
        "side": finding["side"],
        "zone": finding["zone"],
        "size": finding["size"],
        "count": finding["count"],
        "side_said": entry["side_said"],
        "zone_said": entry["zone_said"],
        "size_said": entry["size_said"],
        "possible": entry["possible"],
        "change": entry["change"],
        "visibility": finding["visibility"],
        "boxes": finding["reader_1"],
        "second_reader": finding["reader_2"],
        "exact_boxes": finding["exact"],
        "region_boxes": finding["region"],
        "group_visibility": visibility_group(finding["visibility"], diffuse=kind.diffuse),
        "group_subtle": "subtle" if finding["subtle"] else "plain",
        "group_words": "unseen-synonym" if entry.get("unseen_word") else "",
    }
