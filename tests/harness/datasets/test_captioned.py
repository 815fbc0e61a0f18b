"""What captioning asks about, and how the phantom's truth reaches its samples."""

from pathlib import Path

import pandas as pd
import pytest

from harness.boxes import boxes_from_unit
from harness.data_access import DataAccess
from harness.datasets.captioned import load_captioned
from harness.datasets.truth import image_findings, phrase_truth
from harness.errors import BenchError
from harness.phantom.cache import ensure_phantom
from harness.samples import Dataset, ImageRef, ImageText, PhraseBoxes
from harness.suite_schema import Evaluation

IMAGE = ImageRef("i", Path("x"), "p", "s")
BOX = boxes_from_unit([[0.1, 0.1, 0.2, 0.2]])


def parts(task: str) -> Dataset:
    samples = {
        "retrieval": (ImageText("i", IMAGE, "Left mass."),),
        "grounding": (
            PhraseBoxes("i#1", IMAGE, "Left mass", BOX),
            PhraseBoxes("i#2", IMAGE, "No effusion"),
        ),
    }[task]
    total = len(samples) + 1
    left_out = {"no sentence": 1}
    return Dataset("d", task, "test", "frontal", "1", samples, n_total=total, excluded=left_out)


def test_both_kinds_are_joined_and_everything_left_out_is_counted() -> None:
    joined = load_captioned(parts, ("retrieval", "grounding"))
    assert joined.task == "captioning"
    assert [s.sample_id for s in joined.samples] == ["i", "i#1"]
    assert joined.n_total == joined.n_used + sum(joined.excluded.values())
    assert joined.excluded == {"no sentence": 2, "phrase without a box to describe": 1}


def test_a_dataset_of_one_kind_gives_that_kind() -> None:
    assert [s.sample_id for s in load_captioned(parts, ("grounding",)).samples] == ["i#1"]


def test_only_what_is_visible_is_true_and_a_side_that_anatomy_gives_is_none(
    tmp_path: Path,
) -> None:
    rows = [
        ("a.png", "nodule", "left", "upper", True),
        ("a.png", "pleural_effusion", "both", "", True),
        ("a.png", "mass", "right", "mid", False),
        ("b.png", "edema", "both", "", True),
        ("b.png", "cardiomegaly", "none", "", True),
        ("b.png", "hilar_enlargement", "left", "", True),
    ]
    table = pd.DataFrame(rows, columns=["image_id", "name", "side", "zone", "visible"])
    table.to_parquet(tmp_path / "findings.parquet")
    seen = image_findings(tmp_path)
    assert (
        seen("a")
        == seen("a.png")
        == (("nodule", "left", "upper"), ("pleural_effusion", "both", ""))
    )
    assert seen("b") == (
        ("edema", "", ""),
        ("cardiomegaly", "", ""),
        ("hilar_enlargement", "left", ""),
    )
    assert seen("c") == ()


def test_real_data_know_nothing_and_a_damaged_truth_is_told(tmp_path: Path) -> None:
    assert image_findings(None)("a") == ()
    assert phrase_truth(None)("a", "Left mass").findings == ()
    with pytest.raises(BenchError, match=r"findings\.parquet"):
        image_findings(tmp_path)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("phantom")


@pytest.mark.parametrize("name", ["mimic-cxr", "ms-cxr", "padchest-gr"])
def test_the_twins_say_what_their_films_show(
    name: str, rendered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(tree: str, split: str, cache: Path, **how: object) -> dict[str, Path]:
        del cache, how
        return ensure_phantom(tree, split, rendered, workers=1, limit=8, size=64)

    monkeypatch.setattr("harness.phantom.cache.ensure_phantom", small)
    evaluation = Evaluation(task="captioning", dataset=name)
    dataset = DataAccess({}, limit=8).load(evaluation).dataset
    assert dataset is not None
    assert dataset.n_total == dataset.n_used + sum(dataset.excluded.values())
    texts = [s for s in dataset.samples if isinstance(s, ImageText)]
    boxed = [s for s in dataset.samples if isinstance(s, PhraseBoxes)]
    assert bool(texts) == (name != "ms-cxr")
    assert bool(boxed) == (name != "mimic-cxr")
    assert not texts or any(sample.findings for sample in texts)
    assert all(len(sample.boxes) and len(sample.findings) == 1 for sample in boxed)
    assert all(sample.findings[0][1] in ("left", "right", "both", "") for sample in boxed)


def test_what_is_known_of_a_sample_does_not_change_what_is_asked() -> None:
    plain = parts("retrieval")
    told = ImageText("i", IMAGE, "Left mass.", findings=(("mass", "left", ""),))
    known = Dataset(**{**vars(plain), "samples": (told,)})
    assert known.fingerprint() == plain.fingerprint()
