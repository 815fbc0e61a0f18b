"""`bench predict`: boxes, a picture of them, the nearest reports and a report, for one film."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner, Result

from harness.cli import cli
from harness.errors import BenchError
from harness.models import Grounding, ModelCard, NotScorable, Query

FILM = Path(__file__).parents[1] / "data" / "example" / "images" / "nih_00001299_000.jpg"


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


class Seer:
    """Boxes that depend on the phrase, vectors of films and texts, and reports."""

    card = ModelCard("seer", "test", weights="seer")
    taught = True

    def prepare_image(self, image: Any) -> Any:
        return image

    def embed_images(self, prepared: Sequence[Any]) -> np.ndarray:
        return np.float32([[1.0, 0.0]] * len(prepared))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        if not self.taught:
            raise NotScorable("not taught: texts")
        angles = [len(text) / 100 for text in texts]
        return np.float32([[np.cos(a), np.sin(a)] for a in angles])

    def ground(self, queries: Sequence[Query]) -> list[Grounding]:
        if not self.taught:
            raise NotScorable("not taught: grounding")
        return [self.answer(query.phrase) for query in queries]

    def answer(self, phrase: str) -> Grounding:
        match phrase:
            case "two":
                boxes = np.float32([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 1, 1]])
                return Grounding(boxes)
            case "none":
                return Grounding(status="empty")
            case "map":
                return Grounding(heatmap=np.zeros((2, 2), np.float32))
        return Grounding(status="malformed", raw="?" * 90)

    def caption(self, images: Sequence[Any]) -> list[str]:
        if not self.taught:
            raise NotScorable("not taught: captioning")
        return ["Clear lungs."] * len(images)

    def describe(self, images: Sequence[Any], boxes: Sequence[Any]) -> list[str]:
        raise NotImplementedError


Load = Callable[[Any], None]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Sets the model that every name means."""
    # Imported now: imported first under the patch, it would keep the fake for all later tests.
    importlib.import_module("harness.plan")

    class Handle:
        def __init__(self, model: Any):
            self.model = model

        def load(self, device: str) -> Any:
            assert device == "cpu"
            return self.model

    def give(model: Any) -> None:
        monkeypatch.setattr("harness.registry.find_model", lambda _: Handle(model))

    return give


def predict(tmp_path: Path, *more: str) -> Result:
    reports = tmp_path / "reports.txt"
    reports.write_text("A rather long report.\n\nShort.\nA report.\n", "utf-8")
    arguments = ["--model", "seer", "--device", "cpu", "--reports", str(reports), *more]
    return bench("predict", str(FILM), *arguments)


def test_a_prediction_says_boxes_nearest_reports_and_a_report(given: Load, tmp_path: Path) -> None:
    given(Seer())
    out = tmp_path / "boxes.png"
    result = predict(tmp_path, "two", "none", "map", "odd", "--out", str(out), "--nearest", "2")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "two: x 10-30 %, y 20-40 %; x 50-100 %, y 50-100 %",
        "none: none",
        "map: a heat map, no boxes",
        f"odd: unreadable answer {'?' * 80!r}",
        f"picture: {out}",
        "nearest of 3 reports:",
        f"  {np.cos(0.06):.3f}  Short.",
        f"  {np.cos(0.09):.3f}  A report.",
        "report: Clear lungs.",
    ]


def test_the_picture_has_the_boxes_where_they_were_said(given: Load, tmp_path: Path) -> None:
    given(Seer())
    out = tmp_path / "boxes.png"
    predict(tmp_path, "two", "--out", str(out), "--nearest", "0")
    with PIL.Image.open(out) as picture, PIL.Image.open(FILM) as film:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
        assert picture.width / picture.height == pytest.approx(film.width / film.height, rel=0.01)
    height, width = pixels.shape[:2]
    assert max(height, width) >= 512
    colored = np.ptp(pixels, axis=2) > 60
    assert colored[int(0.3 * height), int(0.1 * width) - 1 : int(0.1 * width) + 4].any()
    assert colored[int(0.75 * height), int(0.5 * width) - 1 : int(0.5 * width) + 4].any()
    assert not colored[int(0.45 * height)].any()  # between the two boxes


def test_what_a_model_was_not_taught_is_said_in_its_place(given: Load, tmp_path: Path) -> None:
    seer = Seer()
    seer.taught = False
    given(seer)
    result = predict(tmp_path)
    assert result.output.splitlines() == [
        "nearest reports: not taught: texts",
        "report: not taught: captioning",
    ]
    refused = predict(tmp_path, "two")
    assert isinstance(refused.exception, BenchError)
    assert "seer: not taught: grounding. Name another model." in str(refused.exception)


def test_a_model_that_locates_nothing_is_named_only_when_asked_to(
    given: Load, tmp_path: Path
) -> None:
    class Writer:
        card = ModelCard("writer", "test")

    given(Writer())
    assert predict(tmp_path).output == ""
    refused = predict(tmp_path, "two")
    assert "writer has no ground(queries)" in str(refused.exception)


def test_without_reports_those_of_a_dataset_are_searched_or_asked_for(
    given: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.data_access import DataAccess, Loaded
    from harness.samples import Dataset, ImageRef, ImageText

    image = ImageRef("i", FILM, "p", "s", "PA")
    texts = [ImageText(f"t{n}", image, text) for n, text in enumerate(["Clear.", "Clear.", "X."])]
    dataset = Dataset("mimic-cxr", "retrieval", "test", "frontal", "1", tuple(texts))
    given(Seer())
    arguments = ["predict", str(FILM), "--device", "cpu"]
    monkeypatch.setattr(DataAccess, "load", lambda *_: Loaded(dataset))
    assert "nearest of 2 reports:" in bench(*arguments).output
    monkeypatch.setattr(DataAccess, "load", lambda *_: Loaded(None, "mimic-cxr is not set."))
    refused = bench(*arguments)
    assert str(refused.exception) == "mimic-cxr is not set. Or name a text file: --reports FILE."


@pytest.mark.parametrize(
    ("content", "said"), [(b" \n\n", "found no text"), (b"\xff\xd8", "not text")]
)
def test_a_file_without_reports_is_told(
    given: Load, tmp_path: Path, content: bytes, said: str
) -> None:
    given(Seer())
    file = tmp_path / "empty.txt"
    file.write_bytes(content)
    refused = bench("predict", str(FILM), "--device", "cpu", "--reports", str(file))
    assert f"{file}: {said}" in str(refused.exception)
    assert "Expected one report per line" in str(refused.exception)
