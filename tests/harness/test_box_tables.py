"""Mean boxes by words: what can be said about a box without looking."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.box_tables import (
    build_box_table,
    location_words,
    read_box_table,
    tables_by_patient,
)
from harness.errors import BenchError
from harness.samples import ImageRef, PhraseBoxes

LEFT, RIGHT = [0.6, 0.5, 0.9, 0.9], [0.1, 0.5, 0.4, 0.9]


def phrase(text: str, boxes: list[list[float]], patient: str = "p") -> PhraseBoxes:
    image = ImageRef(f"i-{patient}", Path("x.png"), patient, "s")
    return PhraseBoxes(
        f"{patient}-{text}-{len(boxes)}",
        image,
        text,
        np.array(boxes, np.float32).reshape(-1, 4),
        finding="effusion",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Small left basal effusion", ("left", "lower", "small")),
        ("Bilateral consolidation", ("both", "", "")),
        ("opacity in left and right upper zones", ("both", "upper", "")),
        ("Large RIGHT apical pneumothorax", ("right", "apical", "large")),
        ("Cardiomegaly", ("", "", "")),
        ("upright film", ("", "", "")),
    ],
)
def test_side_zone_and_size_are_read_from_the_phrase(text: str, words: tuple[str, ...]) -> None:
    assert location_words(text) == words


def test_text_only_uses_the_words_and_mean_box_does_not() -> None:
    training = [phrase("left effusion", [LEFT], f"a{i}") for i in range(6)]
    training += [phrase("right effusion", [RIGHT], f"b{i}") for i in range(6)]
    table = build_box_table(training)
    asked = phrase("left effusion", [LEFT], "t")
    np.testing.assert_allclose(table.answer(asked, words=True), [LEFT], atol=1e-6)
    middle = (np.array(LEFT) + RIGHT) / 2  # six of each side
    np.testing.assert_allclose(table.answer(asked, words=False), [middle], atol=1e-6)


def test_fewer_than_five_phrases_back_off_to_fewer_words() -> None:
    training = [phrase("large left effusion", [LEFT], f"a{i}") for i in range(4)]
    training += [phrase("left effusion", [RIGHT], f"b{i}") for i in range(4)]
    table = build_box_table(training)
    # four phrases say "large left": too few; eight say "left": four LEFT, four RIGHT
    found = table.answer(phrase("large left effusion", [LEFT]), words=True)
    np.testing.assert_allclose(found, [(np.array(LEFT) + RIGHT) / 2], atol=1e-6)


def test_a_rare_phrase_falls_back_to_its_own_kind() -> None:
    lungs = [replace(phrase("left lung", [LEFT], f"a{i}"), kind="anatomy") for i in range(9)]
    findings = [replace(phrase("mass", [RIGHT], f"b{i}"), finding="mass") for i in range(3)]
    table = build_box_table([*lungs, *findings])
    rare = replace(phrase("nodule", [LEFT], "t"), finding="nodule")
    np.testing.assert_allclose(table.answer(rare, words=True), [RIGHT], atol=1e-6)
    device = replace(rare, kind="device")
    assert not len(table.answer(device, words=True))


def test_the_commonest_number_of_boxes_is_answered() -> None:
    training = [phrase("bilateral effusion", [RIGHT, LEFT], f"a{i}") for i in range(6)]
    training += [phrase("bilateral effusion", [LEFT], f"b{i}") for i in range(5)]
    found = build_box_table(training).answer(phrase("bilateral effusion", []), words=True)
    np.testing.assert_allclose(found, [RIGHT, LEFT], atol=1e-6)


def test_leaving_a_patient_out_removes_exactly_his_phrases() -> None:
    samples = [phrase("left effusion", [LEFT], f"a{i}") for i in range(6)]
    outlier = phrase("left effusion", [RIGHT], "z")
    whole = build_box_table([*samples, outlier])
    own = tables_by_patient([*samples, outlier])
    found = whole.answer(outlier, words=True, leave_out=own["z"])
    np.testing.assert_allclose(found, [LEFT], atol=1e-6)


def test_a_table_survives_the_file(tmp_path: Path) -> None:
    table = build_box_table([phrase("left effusion", [LEFT], f"a{i}") for i in range(6)], "here")
    (tmp_path / "t.json").write_text(table.to_json())
    again = read_box_table(tmp_path / "t.json")
    assert again.to_json() == table.to_json()
    assert again.source == "here"


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(BenchError, match=r"t\.json: not a table"):
        read_box_table(tmp_path / "t.json")
