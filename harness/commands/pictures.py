"""A dozen samples per table, drawn with true and predicted boxes or with what was retrieved."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from harness.data_access import Loaded
from harness.images import Image
from harness.record import RunRecord
from harness.samples import Dataset, ImageText, PhraseBoxes
from harness.store import Store
from harness.tasks.grounding import read_answers
from reports.drawing import Picture, draw_sample
from reports.tidy import SectionKey, role_of, section_key

PER_TABLE = 12
_SHOW_FIRST = ("model", "control")  # whose boxes are drawn: a model's, else a control's


def sample_pictures(
    done: Sequence[tuple[RunRecord, Loaded]], folder: Path
) -> Callable[[SectionKey], list[Picture]]:
    """A source of drawn samples for `reports.leaderboard.write_leaderboard`.

    The boxes shown are those of the first model of the table, of the first control that answers
    where there is none.
    """
    by_key: dict[SectionKey, list[tuple[RunRecord, Dataset]]] = {}
    for record, loaded in done:
        if record.status == "ok" and loaded.dataset is not None:
            by_key.setdefault(section_key(record), []).append((record, loaded.dataset))

    def pictures(key: SectionKey) -> list[Picture]:
        shown = _shown(by_key.get(key, []))
        if shown is None:
            return []
        record, dataset = shown
        draw = _grounding if record.task == "grounding" else _retrieval
        return draw(record, dataset, folder)

    return pictures


def _shown(rows: Sequence[tuple[RunRecord, Dataset]]) -> tuple[RunRecord, Dataset] | None:
    silent = {"oracle", "nothing", "chance", "collapsed"}
    useful = [row for row in rows if row[0].model.name not in silent]
    for role in _SHOW_FIRST:
        for row in useful:
            if role_of(row[0]) == role:
                return row
    return useful[0] if useful else None


def _cell_frame(record: RunRecord, folder: Path, kind: str):  # type: ignore[no-untyped-def]
    data = record.dataset
    cell = Store(folder).cell(record.task, data.name, data.split, record.model.name, record.key)
    return cell.read(kind)


def _spread(count: int) -> list[int]:
    """Indices spread over all samples, the same in every run."""
    return sorted(set(np.linspace(0, count - 1, min(count, PER_TABLE)).astype(int).tolist()))


def _grounding(record: RunRecord, dataset: Dataset, folder: Path) -> list[Picture]:
    answers = read_answers(_cell_frame(record, folder, "boxes"))
    boxed = [s for s in dataset.samples if isinstance(s, PhraseBoxes) and len(s.boxes)]
    movable = [s for s in boxed if s.kind == "finding" and not s.fixed] or boxed
    pictures = []
    for sample in [movable[index] for index in _spread(len(movable))]:
        answer = answers[sample.sample_id]
        image = draw_sample(
            Image(sample.image.image_id, sample.image.file).read(640),
            true=sample.boxes,
            predicted=answer.boxes if len(answer.boxes) else None,
            phrase=sample.phrase,
        )
        pictures.append(Picture(image, f"{sample.sample_id} · {record.model.name}"))
    return pictures


def _retrieval(record: RunRecord, dataset: Dataset, folder: Path) -> list[Picture]:
    frame = _cell_frame(record, folder, "ranks")
    if frame.empty:
        return []
    ranks = frame[frame["direction"] == "image_to_text"].set_index("sample_id")["rank/same_study"]
    asked = [s for s in dataset.samples if isinstance(s, ImageText) and s.asked]
    pictures = []
    for sample in [asked[index] for index in _spread(len(asked))]:
        image = draw_sample(
            Image(sample.image.image_id, sample.image.file).read(640), phrase=sample.text
        )
        rank = int(ranks[sample.sample_id])
        caption = f"{sample.sample_id} · its text has rank {rank} for {record.model.name}"
        pictures.append(Picture(image, caption))
    return pictures
