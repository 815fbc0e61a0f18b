"""A dozen drawn samples of a table: boxes of its best model, or what was retrieved."""

from collections.abc import Sequence

import numpy as np

from harness.images import Image
from harness.samples import Dataset, ImageText, PhraseBoxes
from reports.drawing import Picture, draw_sample
from reports.runs import DatasetSource, Runs
from reports.tables import Row, Section

PER_TABLE = 12
SILENT = frozenset(("oracle", "nothing", "chance", "collapsed", "content-ceiling"))


def sample_pictures(section: Section, runs: Runs, source: DatasetSource) -> list[Picture]:
    """Drawn samples spread over the table, none where data or outcomes are not at hand.

    Whoever calls has decided that text and pixels of this table may be shown.
    """
    row = _shown(section)
    dataset = source(row.record)[0] if row else None
    if row is None or dataset is None:
        return []
    if section.key.task == "grounding":
        return _grounding(row, dataset, runs)
    return _retrieval(row, dataset, runs) if section.key.task == "retrieval" else []


def _shown(section: Section) -> Row | None:
    """The best model of the headline panel, or the best control that answers something."""
    rows = [r for panel in section.panels[:1] for r in panel.rows if r.model not in SILENT]
    return next(iter([r for r in rows if r.role != "ceiling"] or rows), None)


def spread(count: int, most: int = PER_TABLE) -> list[int]:
    """Up to `most` indices spread evenly over `count`, the same in every run.

    >>> spread(5, 3), spread(0)
    ([0, 2, 4], [])
    """
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))})


def _grounding(row: Row, dataset: Dataset, runs: Runs) -> list[Picture]:
    from harness.tasks.grounding import stored_answers

    answers = stored_answers(runs.cell(row.record))
    boxed = [s for s in dataset.samples if isinstance(s, PhraseBoxes) and len(s.boxes)]
    movable = [s for s in boxed if s.kind == "finding" and not s.fixed] or boxed
    pictures = []
    for sample in (movable[index] for index in spread(len(movable))):
        answer = answers.get(sample.sample_id)
        if answer is None:
            continue
        image = draw_sample(
            Image(sample.image.image_id, sample.image.file).read(640),
            true=sample.boxes,
            predicted=answer.boxes,
            heatmap=answer.heatmap,
            phrase=sample.phrase,
        )
        pictures.append(Picture(image, f"{row.model} · {sample.sample_id}"))
    return pictures


def _retrieval(row: Row, dataset: Dataset, runs: Runs) -> list[Picture]:
    frame = runs.cell(row.record).read("ranks")
    if frame.empty:
        return []
    found = frame[frame["direction"] == "image_to_text"].set_index("sample_id")
    asked = [s for s in dataset.samples if isinstance(s, ImageText) and s.asked]
    texts = {sample.sample_id: sample.text for sample in asked}
    chosen: Sequence[ImageText] = [asked[index] for index in spread(len(asked))]
    pictures = []
    for sample in chosen:
        answer = found.loc[sample.sample_id]
        first = texts.get(next(iter(answer["top_ids"]), ""), "")
        image = draw_sample(
            Image(sample.image.image_id, sample.image.file).read(640), phrase=f"first: {first}"
        )
        rank = int(answer["rank/same_study"])
        pictures.append(
            Picture(image, f"{row.model} · {sample.sample_id}: own text at rank {rank}")
        )
    return pictures
