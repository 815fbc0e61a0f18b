"""Location probes: two-way choices written by the phantom, or the lungs of real films by side.

The phantom's folder has one ``pairs.jsonl`` per split (see `harness.phantom.probe`); each line
names image, true text and foil. Of a user's own phrases, films with a "left lung" and a "right
lung" give two choices each: the answer to one must lie nearer to its own boxes than to the other's.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.datasets.files import Tally, inside, read_json_lines
from harness.datasets.table import Request
from harness.errors import BenchError, NothingToAsk
from harness.samples import Dataset, ImageRef, PhraseBoxes, ProbeChoice, Sample
from harness.text import TEXT_POLICY, tidy

VERSION = "probe-1"
_PAIR = ("left lung", "right lung")


def load(request: Request) -> Dataset:
    """The choices of one split of the phantom's probe set.

    Raises:
        BenchError: no pairs.jsonl, or a line that lacks something.
    """
    top = request.roots["probe"]
    file = top / "pairs.jsonl"
    if not file.is_file():
        raise BenchError(f"{file.name}: no such file in the probe folder; it is rendered anew.")
    samples = []
    for line, row in read_json_lines(file):
        try:
            image = _image(row, inside(top, str(row["image"]), f"line {line}"))
            samples.append(_choice(row, image))
        except KeyError as error:
            raise BenchError(f"{file.name} line {line}: the key {error} is missing.") from error
    return Dataset(
        name="probe",
        task="probe",
        split=request.split,
        cohort=request.cohort,
        version=VERSION,
        samples=tuple(samples),
        phantom=request.phantom,
        n_total=len(samples),
        text_policy=TEXT_POLICY,
    )


def _image(row: Mapping[str, Any], file: Path) -> ImageRef:
    return ImageRef(
        str(row["image_id"]), file, str(row["patient_id"]), str(row["study_id"]), str(row["view"])
    )


def _choice(row: Mapping[str, Any], image: ImageRef) -> ProbeChoice:
    source, change = str(row["source"]), str(row["change"])
    return ProbeChoice(
        # The two films of a counterfactual or mirrored pair are two choices of one pair.
        sample_id=f"{row['pair_id']}/{image.image_id}",
        image=image,
        text=tidy(str(row["text"])),
        foil=tidy(str(row["foil"])),
        change=change if source == "text" else source,
        finding=str(row["finding"]),
        visibility=row.get("visibility"),
    )


def lung_choices(phrases: Iterable[PhraseBoxes]) -> list[ProbeChoice]:
    """Two choices per film on which both lungs are boxed; sides are the patient's."""
    films: dict[str, dict[str, PhraseBoxes]] = {}
    for phrase in phrases:
        name = phrase.phrase.lower().strip(" .")
        if name in _PAIR and len(phrase.boxes):
            films.setdefault(phrase.image.image_id, {}).setdefault(name, phrase)
    both = [found for found in films.values() if len(found) == 2]
    return [_lung(found, name) for found in both for name in _PAIR]


def first_choices(
    top: Path, choices: Sequence[ProbeChoice], limit: int | None, tally: Tally
) -> tuple[list[Sample], int]:
    """The choices of the first `limit` films, and how many there were.

    Raises:
        NothingToAsk: there is none.
    """
    if not choices:
        raise NothingToAsk(
            f"{top}: no film of this split has boxes of 'left lung' and 'right lung'."
        )
    kept = set(list(dict.fromkeys(c.image.image_id for c in choices))[:limit])
    samples: list[Sample] = [c for c in choices if c.image.image_id in kept]
    tally.add(f"beyond --limit {limit}", len(choices) - len(samples))
    return samples, len(choices)


def _lung(found: Mapping[str, PhraseBoxes], name: str) -> ProbeChoice:
    own, other = found[name], found[_other(name, _PAIR)]
    return ProbeChoice(
        sample_id=own.sample_id,
        image=own.image,
        text=own.phrase,
        foil=other.phrase,
        change="side",
        finding="lung",
        boxes=own.boxes,
        foil_boxes=other.boxes,
    )


def _other(name: str, pair: Sequence[str]) -> str:
    return pair[1] if name == pair[0] else pair[0]
