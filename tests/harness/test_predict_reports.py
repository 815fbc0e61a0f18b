"""`bench predict` reads reports whole: the mean of their chunks, as in the suites."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.commands import predict
from harness.images import Image
from harness.models import ModelCard, NotScorable
from harness.samples import Dataset
from harness.tasks.embedding import embed_texts
from harness.tasks.task import Asking

FILM = Path(__file__).parents[1] / "data" / "example" / "images" / "nih_00001299_000.jpg"
START = "The lungs are clear. No effusion is seen."
CLEAR, NODULE = f"{START} The heart is normal.", f"{START} There is a nodule."


class Reader:
    """Sees a nodule; a text is where its first four words are, and the word nodule among them."""

    def __init__(self, limit: int | None = 4):
        self.card = ModelCard("reader", "test", weights="reader", max_tokens=limit)

    def prepare_image(self, image: Any) -> Any:
        return image

    def embed_images(self, prepared: Sequence[Any]) -> np.ndarray:
        return np.float32([[0.0, 1.0]] * len(prepared))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        found = [
            "nodule" in text.replace(".", "").split()[: self.card.max_tokens] for text in texts
        ]
        return np.float32([[0.6, 0.8] if one else [1.0, 0.0] for one in found])


class Counting(Reader):
    """Says how long a text is for it."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


@pytest.fixture
def film() -> Image:
    return Image("film", FILM)


def test_reports_that_differ_late_are_told_apart(film: Image) -> None:
    found = predict.nearest_texts(Counting(), film, [CLEAR, NODULE], 2)
    assert [text for _, text in found] == [NODULE, CLEAR]
    # Chunks: two without and one with a nodule: mean (2.6, 0.8) / 3, and 0.8 / |(2.6, 0.8)|.
    assert found[0][0] == pytest.approx(0.8 / np.hypot(2.6, 0.8))
    assert found[1][0] == 0


def test_the_vectors_are_those_of_the_suites_policy(film: Image) -> None:
    model, texts = Counting(), [CLEAR, NODULE, "A nodule.", f"A nodule. {START} {START}"]
    dataset = Dataset("mimic-cxr", "retrieval", "test", "frontal", "1", ())
    asking = Asking(model, model.card, dataset, None, text_policy="chunk-mean")
    similarity = embed_texts(asking, model, texts)[:, 1]
    found = {text: cosine for cosine, text in predict.nearest_texts(model, film, texts, 4)}
    assert [found[text] for text in texts] == similarity.tolist()


def test_a_model_that_cuts_uncounted_is_said_to(
    film: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    predict._print_nearest(Reader(), film, [CLEAR, NODULE], 1)
    assert capsys.readouterr().out.splitlines() == [
        "nearest of 2 reports, each by its first 4 tokens:",
        f"  0.000  {CLEAR}",
    ]


@pytest.mark.parametrize("model", [Counting(), Reader(None)])
def test_a_model_that_reads_all_needs_no_such_remark(
    model: Reader, film: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    predict._print_nearest(model, film, [CLEAR, NODULE], 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "nearest of 2 reports:"
    assert lines[1].endswith(NODULE)


@pytest.mark.parametrize("wrong", [np.nan, NotScorable("not taught: texts")])
def test_vectors_that_are_none_are_said_and_not_ranked(
    wrong: Any, film: Image, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed(_: Any, texts: Sequence[str]) -> np.ndarray:
        if isinstance(wrong, Exception):
            raise wrong
        return np.full((len(texts), 2), wrong, np.float32)

    monkeypatch.setattr(Counting, "embed_texts", embed)
    predict._print_nearest(Counting(), film, [CLEAR], 1)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("nearest reports: ")
