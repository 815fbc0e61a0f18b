"""Mean training boxes by finding, and by finding, side, zone and size words: controls without eyes.

`mean-box` answers with the mean of the finding, `text-only` with the mean for what the phrase says
(protocol, section 3). Both see no image, so a grounding claim has to beat them. What a phrase that
denies is answered with is the control's affair: tables hold boxes, and know no "none".
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.boxes import Boxes, boxes_from_unit, no_boxes
from harness.errors import BenchError
from harness.samples import PhraseBoxes

MIN_PHRASES = 5  # a mean of fewer training phrases backs off to fewer words

_SIDES = {
    "both": r"bilateral(?:ly)?|both (?:lungs?|sides?|bases|apices|hila)|left and right",
    "left": r"left(?:-sided)?",
    "right": r"right(?:-sided)?",
}
_ZONES = {
    "apical": r"apical|apex|apices",
    "upper": r"upper",
    "mid": r"mid|middle|lingula|perihilar|hilar|hilum",
    "lower": r"lower|basal|basilar|bases?|costophrenic|retrocardiac|subpulmonic",
}
_SIZES = {
    "small": r"small|tiny|minimal|trace|mild|subtle|slight|little",
    "large": r"large|massive|severe|extensive|marked|big|huge",
    "moderate": r"moderate(?:ly)?|medium",
}


def location_words(phrase: str) -> tuple[str, str, str]:
    """Side, zone and size that a phrase names, "" where it names none; English.

    >>> location_words("Small left basal effusion."), location_words("Bilateral consolidation")
    (('left', 'lower', 'small'), ('both', '', ''))
    """
    text = phrase.lower()
    return (_first(text, _SIDES), _first(text, _ZONES), _first(text, _SIZES))


def _first(text: str, table: Mapping[str, str]) -> str:
    found = [name for name, pattern in table.items() if re.search(rf"\b(?:{pattern})\b", text)]
    if table is _SIDES and {"left", "right"} <= set(found):
        return "both"
    return found[0] if found else ""


def _keys(sample: PhraseBoxes) -> Iterator[str]:
    """Keys from the most to the least specific; the last one is "all phrases of this kind".

    Kinds are never pooled: a rare finding falls back to findings, not to the lungs.
    """
    side, zone, size = location_words(sample.phrase)
    for words in ((side, zone, size), (side, zone, ""), (side, "", ""), ("", "", "")):
        yield "|".join((sample.finding, *words))
    kind = "" if sample.kind == "finding" else f"kind={sample.kind}"
    yield f"{kind}|{side}|{zone}|"
    yield f"{kind}|||"


@dataclass
class _Sum:
    """Sums of boxes sorted by x1, apart by how many boxes a phrase has."""

    totals: dict[int, np.ndarray] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)

    def add(self, boxes: Boxes, sign: int = 1) -> None:
        n = len(boxes)
        ordered = boxes[np.argsort(boxes[:, 0], kind="stable")].astype(np.float64)
        self.totals[n] = self.totals.get(n, np.zeros((n, 4))) + sign * ordered
        self.counts[n] += sign

    def phrases(self) -> int:
        return sum(self.counts.values())

    def mean(self) -> Boxes:
        n = max(sorted(self.counts), key=lambda size: self.counts[size])
        return (self.totals[n] / self.counts[n]).astype(np.float32)


@dataclass(frozen=True)
class BoxTable:
    """Mean box sets of the boxed training phrases, by key of finding and location words.

    The mean box set of a key has the commonest number of boxes; boxes are matched by x1 order.
    """

    sums: Mapping[str, _Sum]
    source: str = ""

    def answer(
        self, sample: PhraseBoxes, *, words: bool, leave_out: "BoxTable | None" = None
    ) -> Boxes:
        """The mean boxes for the sample: its finding alone, or with its location words.

        `leave_out` holds the patient's own phrases where there is no train split; they are taken
        out of the sums. No box where nothing is left.
        """
        keys = list(_keys(sample))
        if not words:
            keys = [f"{sample.finding}|||", keys[-1]]
        for key in keys:
            total = self._without(key, leave_out)
            if total and total.phrases() >= (MIN_PHRASES if key != keys[-1] else 1):
                return total.mean()
        return no_boxes()

    def _without(self, key: str, leave_out: "BoxTable | None") -> _Sum | None:
        total = self.sums.get(key)
        own = leave_out.sums.get(key) if leave_out else None
        if total is None or own is None:
            return total
        totals = {n: value - own.totals.get(n, 0.0) for n, value in total.totals.items()}
        counts = Counter({n: count - own.counts[n] for n, count in total.counts.items()})
        kept = Counter({n: count for n, count in counts.items() if count > 0})
        return _Sum({n: totals[n] for n in kept}, kept) if kept else None

    def to_json(self) -> str:
        """The table as JSON, deterministic."""
        entries = {
            key: {str(n): [total.counts[n], total.totals[n].tolist()] for n in sorted(total.counts)}
            for key, total in sorted(self.sums.items())
        }
        return json.dumps({"source": self.source, "sums": entries}, indent=None, sort_keys=True)


def build_box_table(samples: Iterable[PhraseBoxes], source: str = "") -> BoxTable:
    """The table of these samples' boxed phrases."""
    sums: defaultdict[str, _Sum] = defaultdict(_Sum)
    for sample in samples:
        if len(sample.boxes) and not sample.negated:
            for key in set(_keys(sample)):
                sums[key].add(sample.boxes)
    return BoxTable(dict(sums), source)


def read_box_table(path: Path) -> BoxTable:
    """The table that `BoxTable.to_json` wrote.

    Raises:
        BenchError: absent or not such a table.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        sums = {key: _read_sum(entry) for key, entry in data["sums"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path.name}: not a table of mean boxes: {error}.") from error
    return BoxTable(sums, str(data.get("source", "")))


def _read_sum(entry: Mapping[str, Sequence[object]]) -> _Sum:
    total = _Sum()
    for n, (count, boxes) in entry.items():
        total.counts[int(n)] = int(count)  # type: ignore[call-overload]
        total.totals[int(n)] = np.asarray(boxes, np.float64).reshape(int(n), 4)
    return total


def tables_by_patient(samples: Iterable[PhraseBoxes]) -> dict[str, BoxTable]:
    """One table per patient, for leaving the patient out of the whole."""
    by_patient: defaultdict[str, list[PhraseBoxes]] = defaultdict(list)
    for sample in samples:
        by_patient[sample.image.patient_id].append(sample)
    return {patient: build_box_table(rows) for patient, rows in by_patient.items()}


def clipped(boxes: Boxes) -> Boxes:
    """Means of float sums, back inside [0, 1]."""
    return boxes_from_unit(boxes, "mean box")
