"""Captioning as it is asked: what is stored, what is resumed, who cannot be scored and why."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from baselines.controls import load
from harness.boxes import Boxes, boxes_from_unit
from harness.errors import BenchError
from harness.images import Image
from harness.metrics.metric import value
from harness.models import Captioner, ModelCard, NotScorable, Shuffled, TruthCaptioner
from harness.samples import Dataset, ImageRef, ImageText, PhraseBoxes
from harness.store import Cell, Store
from harness.tasks import captioning, find_task
from harness.tasks.captioning import TASK, captioned, pack_mentions, unpack_mentions
from harness.tasks.task import Asking, Scored

CARD = ModelCard("writer", "test", weights="writer")


class Writer:
    """Writes what stands in a table by image id; notes what it was asked."""

    card = CARD

    def __init__(self, reports: dict[str, str], phrases: dict[str, str] | None = None):
        self.reports = reports
        self.phrases = phrases
        self.asked: list[str] = []
        self.boxes: list[Boxes] = []

    def caption(self, images: Sequence[Image]) -> list[str]:
        self.asked += [image.image_id for image in images]
        return [self.reports[image.image_id] for image in images]

    def describe(self, images: Sequence[Image], boxes: Sequence[Boxes]) -> list[str]:
        if self.phrases is None:
            raise NotScorable("not taught: phrases")
        self.boxes += list(boxes)
        return [self.phrases[image.image_id] for image in images]


def image(n: int) -> ImageRef:
    return ImageRef(f"i{n}", Path("film.png"), f"p{n}", f"s{n}", "PA")


TEXTS = {0: "Left nodule.", 1: "No pneumothorax.", 2: "No pneumothorax.", 3: "Right mass."}
FINDINGS = {0: (("nodule", "left", "upper"),), 3: (("mass", "right", ""),)}


def dataset(**changes: Any) -> Dataset:
    reports = [ImageText(f"i{n}", image(n), TEXTS[n], findings=FINDINGS.get(n, ())) for n in TEXTS]
    boxed = [
        PhraseBoxes(
            f"i{n}#1",
            image(n),
            TEXTS[n],
            boxes_from_unit([[0.1 * n, 0.2, 0.1 * n + 0.3, 0.5]]),
            findings=FINDINGS[n],
        )
        for n in FINDINGS
    ]
    denied = PhraseBoxes("i1#1", image(1), "No pneumothorax.", negated=True)
    parts = (*reports, *boxed, denied)
    whole = Dataset("twin", "captioning", "test", "frontal", "1", parts, phantom=True)
    return replace(whole, **changes)


def cell(folder: Path) -> Cell:
    return Store(folder).cell("captioning", "twin", "test", "writer", "0" * 64)


def asking(model: Any, folder: Path, **changes: Any) -> Asking:
    data = changes.pop("dataset", dataset())
    return Asking(model, CARD, data, cell(folder), options=TASK.defaults, **changes)


def run(model: Any, folder: Path, **changes: Any) -> dict[str, float]:
    return {s.metric: s.value for s in scored(model, folder, **changes).scores if s.group == "all"}


def scored(model: Any, folder: Path, **changes: Any) -> Scored:
    question = asking(model, folder, **changes)
    TASK.ask(question)
    return TASK.score(question.dataset, question.sink, TASK.defaults, ())


def test_the_task_is_found_by_name() -> None:
    assert find_task("captioning") is TASK
    assert isinstance(Writer({}), Captioner)
    assert isinstance(load(name="oracle"), TruthCaptioner)


def test_reports_and_boxes_are_scored_from_what_was_written(tmp_path: Path) -> None:
    reports = {"i0": "Left upper nodule.", "i1": "Small mass.", "i2": "Clear.", "i3": "Left mass."}
    phrases = {"i0": "Right nodule", "i3": "something"}
    model = Writer(reports, phrases)
    result = scored(model, tmp_path)
    values = {s.metric: s.value for s in result.scores if s.group == "all"}
    assert values["finding_f1"] == pytest.approx(2 * 2 / (3 + 2))
    assert values["side_accuracy"] == 1 / 2
    assert values["zone_accuracy"] == 1
    assert values["dense/finding_accuracy"] == 1 / 2
    assert values["dense/side_accuracy"] == 0
    assert result.counts == {"reports": 4, "boxes": 2, "empty": 0, "unread": 1}
    assert [one.tolist() for one in model.boxes] == [
        s.boxes.tolist() for s in dataset().samples if isinstance(s, PhraseBoxes) and len(s.boxes)
    ]


def test_the_true_texts_are_the_ceiling_and_the_commonest_report_finds_nothing(
    tmp_path: Path,
) -> None:
    oracle = run(load(name="oracle"), tmp_path / "oracle")
    assert oracle["finding_f1"] == 1
    assert oracle["dense/finding_accuracy"] == 1
    assert oracle["zone_accuracy"] == 0  # the report does not say it
    common = run(load(name="commonest-text"), tmp_path / "common")
    assert common["finding_f1"] == 0
    assert common["dense/finding_accuracy"] == 0  # the other patient's phrase


def test_words_stay_out_of_the_store_unless_they_are_asked_for(tmp_path: Path) -> None:
    model = Writer(dict.fromkeys(("i0", "i1", "i2", "i3"), "Left nodule, secret."), {})
    model.phrases = model.reports
    TASK.ask(asking(model, tmp_path / "a"))
    frame = cell(tmp_path / "a").read("mentions")
    assert "raw" not in frame.columns
    assert set(frame["mentions"]) == {"nodule/left/"}
    TASK.ask(asking(model, tmp_path / "b", store_text=True))
    assert set(cell(tmp_path / "b").read("mentions")["raw"]) == {"Left nodule, secret."}


def test_what_is_stored_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captioning, "SHARD", 2)
    reports = {f"i{n}": TEXTS[n] for n in TEXTS}

    class Dies(Writer):
        def caption(self, images: Sequence[Image]) -> list[str]:
            if "i3" in [image.image_id for image in images]:
                raise MemoryError("64 GiB")
            return super().caption(images)

    broken = Dies(reports, reports)
    with pytest.raises(MemoryError):
        TASK.ask(asking(broken, tmp_path, batch_size=1))
    again = Writer(reports, reports)
    values = run(again, tmp_path)
    assert again.asked == ["i2", "i3"]  # the first shard of two was kept
    assert values == run(Writer(reports, reports), tmp_path / "whole")


def test_batches_do_not_change_what_is_read(tmp_path: Path) -> None:
    reports = {f"i{n}": TEXTS[n] for n in TEXTS}
    results = [
        run(Writer(reports, reports), tmp_path / str(size), batch_size=size) for size in (1, 3)
    ]
    assert results[0] == results[1]


def test_a_shuffled_model_never_sees_the_patients_own_image(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    class Spy(Writer):
        def caption(self, images: Sequence[Image]) -> list[str]:
            asked = [s.sample_id for s in dataset().samples if isinstance(s, ImageText)]
            seen.extend(zip(asked, [image.image_id for image in images], strict=True))
            return super().caption(images)

    reports = {f"i{n}": TEXTS[n] for n in TEXTS}
    TASK.ask(asking(Shuffled(Spy(reports, reports), CARD), tmp_path))
    assert len(seen) == 4
    assert all(own != shown for own, shown in seen)


def test_a_shuffled_oracle_tells_another_patients_truth(tmp_path: Path) -> None:
    values = run(Shuffled(load(name="oracle"), CARD), tmp_path)
    assert values["finding_f1"] == 0  # no two patients here have the same finding
    assert values["dense/finding_accuracy"] == 0


def test_real_data_and_other_languages_are_not_scored(tmp_path: Path) -> None:
    for changes, why in (({"phantom": False}, "only phantoms"), ({"cohort": "spanish"}, "English")):
        with pytest.raises(NotScorable, match=why):
            TASK.ask(asking(load(name="oracle"), tmp_path, dataset=dataset(**changes)))
    with pytest.raises(NotScorable, match="writes no text"):
        TASK.ask(asking(object(), tmp_path))


def test_a_model_taught_reports_only_is_scored_on_them_and_says_why_not_on_boxes(
    tmp_path: Path,
) -> None:
    reports = {f"i{n}": TEXTS[n] for n in TEXTS}
    result = scored(Writer(reports), tmp_path)
    values = {s.metric: s.value for s in result.scores if s.group == "all"}
    assert values["finding_f1"] == 1
    assert not any(name.startswith("dense/") for name in values)
    assert result.not_scored["dense/finding_accuracy"] == "not taught: phrases"
    only_boxes = tuple(s for s in dataset().samples if isinstance(s, PhraseBoxes))
    with pytest.raises(NotScorable, match="not taught"):
        TASK.ask(asking(Writer({}), tmp_path / "b", dataset=dataset(samples=only_boxes)))


def test_a_model_that_loses_an_answer_is_refused(tmp_path: Path) -> None:
    class Short(Writer):
        def caption(self, images: Sequence[Image]) -> list[str]:
            return super().caption(images)[1:]

    with pytest.raises(BenchError, match="3 texts for 4 images"):
        TASK.ask(asking(Short({f"i{n}": "x" for n in TEXTS}, {}), tmp_path))


def test_stored_rows_give_the_outcomes_of_a_comparison(tmp_path: Path) -> None:
    TASK.ask(asking(load(name="oracle"), tmp_path))
    samples, outcomes = captioned(dataset(), cell(tmp_path).read("mentions"))
    assert [s.sample_id for s in samples] == ["i0", "i1", "i2", "i3", "i0#1", "i3#1"]
    assert value(TASK.metrics["finding_f1"], outcomes) == 1


def test_fixed_findings_are_not_pooled_with_movable_ones(tmp_path: Path) -> None:
    samples = tuple(
        replace(s, fixed=True) if s.sample_id == "i3#1" else s  # type: ignore[call-overload]
        for s in dataset().samples
    )
    result = scored(load(name="oracle"), tmp_path, dataset=dataset(samples=samples))
    counts = {s.group: s.n for s in result.scores if s.metric == "dense/finding_accuracy"}
    assert counts["all"] == 1
    assert counts["fixed"] == 1


def test_mentions_survive_being_packed() -> None:
    for findings in ([], [("nodule", "", "")], [("a", "left", "lower+upper"), ("b", "both", "")]):
        assert unpack_mentions(pack_mentions(findings)) == findings


@pytest.mark.parametrize("size", [1, 2, 32])
def test_a_film_on_which_the_writer_fails_is_one_of_which_it_says_nothing(
    tmp_path: Path, size: int
) -> None:
    reports = {f"i{n}": text for n, text in TEXTS.items() if n}  # it knows nothing of the first
    question = asking(Writer(reports), tmp_path, batch_size=size)
    TASK.ask(question)
    stored = question.sink.read("mentions").set_index("sample_id")["words"].to_dict()
    assert stored["i0"] == 0
    assert all(stored[f"i{n}"] == 2 for n in (1, 2, 3))
