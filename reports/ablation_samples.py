"""The phrases that a loss wins and loses most, drawn with the boxes of both arms."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PilImage

from harness.ablation import FULL, AskedCell
from harness.atomic import write_bytes
from harness.images import Image
from harness.metrics.metric import scored
from harness.samples import PhraseBoxes
from harness.store import safe_name
from reports.ablation_pairs import Arms
from reports.ablation_text import Drawn, signed
from reports.ablation_worth import Place
from reports.drawing import draw_sample
from reports.paired import Question

if TYPE_CHECKING:
    from reports.ablation import Found

EACH = 3  # phrases won, and as many lost, per arm and table
SIDE = 300


def sample_pictures(found: "Found", arms: Arms, folder: Path) -> dict[str, list[Drawn]]:
    """Drawn samples by heading; written to the folder. Never of data under a use agreement."""
    from reports.ablation import place_name

    full = arms.asked(FULL)
    out: dict[str, list[Drawn]] = {}
    for name in found.arms:
        own = arms.asked(name)
        for place in dict.fromkeys(p for p, _ in full if p.task == "grounding" and p.share == 100):
            pairs = _pairs(place, full, own)
            if pairs and not arms.run(pairs[min(pairs)][0]).dataset.restricted:
                title = f"full against {name}: {place_name(place)}"
                out[title] = _drawn(name, pairs, arms, folder)
    return out


def _pairs(
    place: Place,
    full: Mapping[tuple[Place, int], AskedCell],
    own: Mapping[tuple[Place, int], AskedCell],
) -> dict[int, tuple[AskedCell, AskedCell]]:
    """By seed, the cells of both arms where both gave boxes."""
    keys = [key for key in full if key[0] == place and key in own]
    pairs = {key[1]: (full[key], own[key]) for key in keys}
    return {seed: pair for seed, pair in pairs.items() if {one.status for one in pair} == {"ok"}}


def _drawn(
    name: str, pairs: Mapping[int, tuple[AskedCell, AskedCell]], arms: Arms, folder: Path
) -> list[Drawn]:
    rows = [[arms.rows(one, Question("miou")) for one in pair] for pair in pairs.values()]
    first = min(pairs)
    samples, gains = mean_gains([(a.rows, b.rows) for a, b in rows], rows[0][0].samples)
    dataset = arms.source(arms.run(pairs[first][0]))[0]
    if dataset is None:
        return []
    by_id = {s.sample_id: s for s in dataset.samples if isinstance(s, PhraseBoxes)}
    out = []
    for kind, places in extremes(gains, EACH).items():
        for rank, place in enumerate(places, 1):
            sample = by_id[samples[place]]
            picture = _side_by_side(sample, name, pairs[first], arms)
            file = f"{safe_name(f'{pairs[first][1].model}-{kind}-{rank}')}.png"
            buffer = io.BytesIO()
            picture.save(buffer, "PNG", optimize=True)
            write_bytes(folder / file, buffer.getvalue())
            caption = (
                f"{kind} {rank}: IoU of full minus {name} {signed(gains[place], 2)}, mean over "
                f"{len(pairs)} seed{'s' * (len(pairs) > 1)}; boxes of seed {first}"
            )
            out.append(Drawn(f"figures/{file}", caption))
    return out


def mean_gains(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], samples: Sequence[str]
) -> tuple[list[str], np.ndarray]:
    """The samples that every arm was scored on, and their mean gain over seeds."""
    keep = np.logical_and.reduce([scored(rows) for pair in pairs for rows in pair])
    gains = np.mean([one[keep, 0] - other[keep, 0] for one, other in pairs], axis=0)
    return [samples[place] for place in np.flatnonzero(keep)], gains


def extremes(gains: np.ndarray, most: int) -> dict[str, list[int]]:
    """Places of the largest gains and of the largest losses; nothing where nothing differs.

    >>> extremes(np.array([0.1, -0.4, 0.0, 0.3]), 1)
    {'won': [3], 'lost': [1]}
    """
    order = np.argsort(-gains, kind="stable").tolist()
    won = [place for place in order if gains[place] > 0][:most]
    lost = [place for place in reversed(order) if gains[place] < 0][:most]
    return {"won": won, "lost": lost}


def _side_by_side(
    sample: PhraseBoxes, name: str, pair: tuple[AskedCell, AskedCell], arms: Arms
) -> PilImage.Image:
    pixels = Image(sample.image.image_id, sample.image.file).read(640)
    films = [
        draw_sample(
            pixels,
            true=sample.boxes,
            predicted=_boxes(sample.sample_id, asked, arms),
            phrase=sample.phrase,
            note=said,
            side=SIDE,
        )
        for asked, said in zip(pair, (FULL, name), strict=True)
    ]
    width = sum(film.width for film in films) + 6
    whole = PilImage.new("RGB", (width, max(film.height for film in films)), "white")
    whole.paste(films[0], (0, 0))
    whole.paste(films[1], (films[0].width + 6, 0))
    return whole


def _boxes(sample_id: str, asked: AskedCell, arms: Arms) -> np.ndarray:
    frame = arms.cell(asked).read("boxes")
    row = frame[frame["sample_id"] == sample_id].iloc[0]
    return np.asarray(row["boxes"], np.float32).reshape(-1, 4)
