"""The location probe set (protocol.md §4): two-way choices between texts of one film.

Layout, one folder per split: ``probe/<split>/pairs.jsonl``, ``images/*.jpg``. A line asks once:
`pair_id`, `source` (text: a study's text and one with a single thing changed; counterfactual: two
films of one patient with the same noise, a finding moved, each to be told by its own text; mirror:
a film without markers and its mirror image), `change` (side, zone, finding, negation, severity),
`text` (true) and `foil` (false), `image` (path from the split's folder), ids, finding, visibility;
where a finding moves, `boxes` (where it is) and `foil_boxes` (where it is in the other film).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock

from harness.errors import unknown
from harness.phantom import ids
from harness.phantom.film import mirrored, render_study
from harness.phantom.parallel import run_jobs
from harness.phantom.plan import DrawnFinding, Film, FindingPlan, StudyPlan
from harness.phantom.probe_texts import TextPair, balanced, full_mention, say_all, text_pairs
from harness.phantom.streams import stream
from harness.phantom.study import Record, box_list
from harness.phantom.trees.files import jpeg_bytes, write_bytes, write_json, write_text
from harness.phantom.version import VERSION, generator_hash
from harness.phantom.vocabulary import FINDINGS
from harness.phantom.world import BLOCK_STUDIES, plan_study

STUDIES = 300  # of the MIMIC twin's split that are asked about
SPLITS = ("train", "validation", "test")

_OTHER_SIDE = {"left": "right", "right": "left"}
_OTHER_ZONE = {"upper": "lower", "lower": "upper", "mid": "upper", "apical": "basal"}


@dataclass(frozen=True)
class _Job:
    split: str
    start: int
    stop: int
    size: int
    folder: Path


def ensure_probe(
    root: Path, split: str, limit: int | None = None, *, workers: int | None = None, size: int = 224
) -> dict[str, Path]:
    """The roots ``probe`` (the split's folder) and ``truth``, written if they are not there.

    Args:
        root: the folder of this generator's trees.
        split: train, validation or test: whose patients are asked about.
        limit: only the first so many studies.
        workers: processes; None: one per core that may be used.
        size: pixels along each side of a film.

    Raises:
        BenchError: an unknown split, or a process that died.
    """
    if split not in SPLITS:
        raise unknown("probe split", split, SPLITS)
    studies = min(limit or STUDIES, STUDIES)
    name = split if studies == STUDIES else f"{split}-first-{studies}"
    folder = root / "probes" / "probe" / name
    truth = root / "probes" / "truth"
    if not (folder / "pairs.jsonl").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(root / "probes" / ".lock"):
            if not (folder / "pairs.jsonl").exists():
                write_json(truth / "generator.json", {"version": VERSION, "hash": generator_hash()})
                _write(folder, split, studies, (workers, size))
    return {"probe": folder, "truth": truth}


def _write(folder: Path, split: str, studies: int, how: tuple[int | None, int]) -> None:
    workers, size = how
    jobs = [
        _Job(split, start, min(start + BLOCK_STUDIES, studies), size, folder)
        for start in range(0, studies, BLOCK_STUDIES)
    ]
    rows = [row for found in run_jobs(_probe_block, jobs, workers) for row in found]
    texts = [(row["pair_id"], _pair(row)) for row in rows if row["source"] == "text"]
    left_out = {name for name, _ in texts} - {name for name, _ in balanced(texts)}
    kept = [row for row in rows if row["pair_id"] not in left_out]
    lines = [json.dumps(row, ensure_ascii=False) for row in kept]
    write_text(folder / "pairs.jsonl", "".join(f"{line}\n" for line in lines))


def _pair(row: Record) -> TextPair:
    contrast = (row["contrast"][0], row["contrast"][1])
    return TextPair(row["change"], row["text"], row["foil"], contrast, row["finding"])


def _probe_block(job: _Job) -> list[Record]:
    rows: list[Record] = []
    for index in range(job.start, job.stop):
        plan = plan_study("mimic", job.split, index)
        plan = replace(plan, views=plan.views[:1])
        film = render_study(plan, job.size)[0]
        rows += _text_rows(plan, film, job)
        rows += _moved_rows(plan, film, job)
        rows += _mirror_rows(plan, job)
    return rows


def _row(plan: StudyPlan, job: _Job, film: Film, part: str) -> Record:
    """What every line about one film says; writes the film."""
    name = f"s{ids.mimic_study(job.split, plan.index)}-{part}"
    path = job.folder / "images" / f"{name}.jpg"
    if not path.exists():
        write_bytes(path, jpeg_bytes(film.pixels))
    return {
        "image": f"images/{name}.jpg",
        "image_id": name,
        "patient_id": ids.mimic_patient(plan),
        "study_id": ids.mimic_study(job.split, plan.index),
        "view": film.view,
    }


def _text_rows(plan: StudyPlan, film: Film, job: _Job) -> Iterator[Record]:
    for number, pair in enumerate(text_pairs(plan, film.findings)):
        shown = [d for d in film.findings if d.plan.name == pair.finding]
        yield {
            "pair_id": f"text-{plan.index}-{number}",
            "source": "text",
            "change": pair.change,
            "text": pair.text,
            "foil": pair.foil,
            "contrast": list(pair.contrast),
            "finding": pair.finding,
            "visibility": round(float(shown[0].visibility), 4) if shown else None,
            **_row(plan, job, film, "film"),
        }


def _elsewhere(finding: FindingPlan, coin: float) -> tuple[str, FindingPlan] | None:
    """(what is changed, the finding elsewhere), or None for what cannot be moved."""
    kind = FINDINGS[finding.name]
    if kind.fixed or kind.diffuse or finding.side not in _OTHER_SIDE or finding.count > 1:
        return None
    zone = _OTHER_ZONE.get(finding.zone, "")
    if coin < 0.4 and zone and kind.zones.get(zone):
        return "zone", replace(finding, zone=zone)
    zone = "lower" if finding.zone == "retrocardiac" else finding.zone
    return "side", replace(finding, side=_OTHER_SIDE[finding.side], zone=zone)  # type: ignore[arg-type]


def _clear(drawn: Sequence[DrawnFinding], place: int) -> bool:
    return drawn[place].visible and not drawn[place].subtle


def _moved_rows(plan: StudyPlan, film: Film, job: _Job) -> list[Record]:
    """Two lines: the film and the one with a finding moved, each with both texts."""
    coin = float(stream(plan.seed, "probe move").random())
    for place, finding in enumerate(plan.findings):
        moved = _elsewhere(finding, coin)
        if moved is None or not _clear(film.findings, place):
            continue
        findings = (*plan.findings[:place], moved[1], *plan.findings[place + 1 :])
        other = replace(plan, findings=findings)
        second = render_study(other, job.size)[0]
        if not _clear(second.findings, place):
            continue
        films = ((plan, film, "film"), (other, second, "moved"))
        return _two(films, place, ("counterfactual", moved[0]), job)
    return []


def _mirror_rows(plan: StudyPlan, job: _Job) -> list[Record]:
    """Two lines: a film without markers or devices, and its mirror image."""
    if len(plan.findings) != 1 or plan.findings[0].side not in _OTHER_SIDE:
        return []
    if not FINDINGS[plan.findings[0].name].lung_only:
        return []
    bare = replace(plan, devices=())
    film = render_study(bare, job.size, markers=False)[0]
    if not _clear(film.findings, 0):
        return []
    other = mirrored(film)
    turned = replace(bare, findings=tuple(d.plan for d in other.findings))
    films = ((bare, film, "bare"), (turned, other, "mirror"))
    return _two(films, 0, ("mirror", "side"), job)


def _two(
    films: Sequence[tuple[StudyPlan, Film, str]], place: int, what: tuple[str, str], job: _Job
) -> list[Record]:
    texts = [say_all(full_mention(film.findings[place]), plan, place) for plan, film, _ in films]
    boxes = [box_list(film.findings[place].reader_1) for _, film, _ in films]
    rows = []
    for number, (plan, film, part) in enumerate(films):
        rows.append(
            {
                "pair_id": f"{what[0]}-{plan.index}",
                "source": what[0],
                "change": what[1],
                "text": texts[number],
                "foil": texts[1 - number],
                "boxes": boxes[number],
                "foil_boxes": boxes[1 - number],
                "finding": plan.findings[place].name,
                "visibility": round(float(film.findings[place].visibility), 4),
                **_row(plan, job, film, part),
            }
        )
    return rows
