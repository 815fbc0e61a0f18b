"""Where the viewer finds the examples that an in-context model was shown."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from harness.data_access import DataAccess
from harness.errors import WeightsAbsent
from harness.samples import Dataset, ImageRef, PhraseBoxes
from reports.runs import training_bank


def record(options: dict, cohort: str = "frontal", phantom: bool = True):
    model = SimpleNamespace(reference={"name": "m", "options": options})
    return SimpleNamespace(model=model, dataset=SimpleNamespace(cohort=cohort, phantom=phantom))


@pytest.fixture
def asked(monkeypatch) -> list:
    calls = []
    image = ImageRef("a", Path("a.png"), "p", "s")
    boxes = np.float32([[0.1, 0.1, 0.2, 0.2]])
    sample = PhraseBoxes("a#1", image, "left mass", boxes, finding="mass")
    bank = Dataset("cxr-qba", "grounding", "train", "lesion", "1", (sample,), n_total=1)

    def other(_, evaluation, limit, *, phantom):
        assert phantom == (evaluation.cohort != "region")
        calls.append((evaluation.dataset, evaluation.split, evaluation.cohort, limit))
        return bank

    monkeypatch.setattr(DataAccess, "other", other)
    return calls


def test_the_bank_is_the_one_the_models_options_name(asked) -> None:
    bank = training_bank({})
    assert bank(record({"retriever": "lofi-tiny", "grounder": "g"})).samples[0].sample_id == "a#1"
    settings = {"dataset": "padchest-gr", "split": "validation", "limit": 9}
    bank(record({"retriever": "random", "demonstrations": settings}))
    bank(record({"retriever": "random", "demonstrations": {}}, phantom=False))
    assert asked == [
        ("cxr-qba", "train", "lesion", 2000),
        ("padchest-gr", "validation", "", 9),
        ("cxr-qba", "train", "region", 2000),
    ]


def test_examples_of_a_made_up_table_have_made_up_names(asked) -> None:
    found = training_bank({})(record({"retriever": "random"}, cohort="made-up"))
    assert asked
    assert found.samples[0].sample_id.startswith("a/")
    assert found.samples[0].phrase != "left mass"


def test_other_models_have_no_bank(asked) -> None:
    assert training_bank({})(record({})) is None
    assert asked == []


def test_a_bank_that_is_not_here_is_none(monkeypatch) -> None:
    def absent(*_, **__):
        raise WeightsAbsent("not here")

    monkeypatch.setattr(DataAccess, "other", absent)
    assert training_bank({})(record({"retriever": "random"})) is None
