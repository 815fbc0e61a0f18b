"""What a comparison reads from a cell is what the leaderboard computed from it."""

from pathlib import Path

import numpy as np
import pytest

from harness.models import ModelCard
from harness.samples import Dataset, ImageRef, ImageText
from harness.store import Store
from harness.tasks.retrieval import TASK
from harness.tasks.task import Asking
from reports.paired import Question, contributed
from reports.runs import Runs


class ByNumber:
    """A control that knows each image's own text and nothing else."""

    card = ModelCard("by-number", "control")
    tells_texts_apart = True

    def score_pool(self, samples):
        own = np.arange(len(samples))
        asked = np.flatnonzero([sample.asked for sample in samples])
        return lambda rows, columns: (own[rows, None] == asked[None, columns]).astype(np.float32)


def gallery() -> Dataset:
    """Twelve films of which four are asked about; all have a label in common."""
    samples = tuple(
        ImageText(
            f"q{n}",
            ImageRef(f"i{n}", Path("none"), f"p{n}", f"s{n}", "PA"),
            f"text {n // 2 if n < 4 else n}",  # two texts, each of two films
            asked=n < 4,
            labels=("effusion",),
        )
        for n in range(12)
    )
    return Dataset("d", "retrieval", "test", "frontal", "1", samples)


@pytest.mark.parametrize("relevance", ["same_study", "unique_text"])
@pytest.mark.parametrize("direction", ["image_to_text", "text_to_image"])
def test_label_precision_of_a_comparison_is_that_of_the_leaderboard(
    tmp_path, record, direction, relevance
):
    """The pool is larger than the queries with distractors, and smaller where texts merge."""
    dataset = gallery()
    options = {"relevance": ["same_study", "unique_text"], "draws": 10}
    data = {"name": "d", "cohort": "frontal", "fingerprint": dataset.fingerprint()}
    made = record("by-number", data=data)
    runs = Runs((made,), {made.key: tmp_path})
    cell = Store(tmp_path).cell("retrieval", "d", "test", "by-number", made.key)
    TASK.ask(Asking(ByNumber(), ByNumber.card, dataset, cell, options=options))
    scores = TASK.score(dataset, cell, options, ()).scores
    made = made.model_copy(update={"scores": scores})
    for metric in ("label_precision@10", "recall@1"):
        question = Question(metric, direction, relevance)
        found = contributed(made, question, runs, lambda _: (dataset, "")).value
        asked = [metric, direction, relevance, "all"]
        (shown,) = [
            s.value for s in scores if [s.metric, s.direction, s.relevance, s.group] == asked
        ]
        assert found == shown
        if metric.startswith("label"):
            assert found == 1  # every candidate has the label, and no more than all count
