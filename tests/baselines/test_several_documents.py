"""Boxes in several JSON documents: what is one answer is read whole, a decoy is left out."""

import pytest

from baselines.answers import Unreadable, says_none
from baselines.codecs import parse
from baselines.json_boxes import read_json_boxes
from harness.geometry import read_geometry

FIRST, SECOND = [100.0, 620.0, 360.0, 880.0], [550.0, 600.0, 800.0, 860.0]
ONE, TWO = '{"bbox_2d": [100, 620, 360, 880]}', '{"bbox_2d": [550, 600, 800, 860]}'
ROW, ROW_2 = "[100, 620, 360, 880]", "[550, 600, 800, 860]"


@pytest.mark.parametrize(
    "answer",
    [
        f"{ONE}, {TWO}",
        f"{ONE}\n{TWO}",
        f"{ONE}{TWO}",
        f"{ONE} ;\n{TWO}",
        f"{ROW} and {ROW_2}",
        f"{ROW}, and\n{ROW_2}.",
        f"[{ROW}] AND [{TWO}]",
        f"The effusions are at {ROW}; {ROW_2}",
        f"```json\n{ONE}\n```\n```json\n{TWO}\n```",
        f"```json\n{ROW}\n```, and ```\n{ROW_2}\n```",
        f"```json\n{ONE}\n{TWO}\n```",
        f"```JSON\n[{ONE}, {TWO}]\n```",
        f"```Json {ONE}, {TWO}```",
        f"```jsonl\n{ONE}\n{TWO}\n```",
        f"{ONE}\n{TWO}\n{ONE}",  # an answer that begins again
        f"```json\n{ONE}\n```\n```json\n[]\n```\n```json\n{TWO}\n```",
    ],
)
def test_documents_with_nothing_but_separators_between_them_are_one_answer(answer):
    assert read_json_boxes(answer) == [FIRST, SECOND]


@pytest.mark.parametrize(
    "answer",
    [
        f"It is not {ROW}. It is {ROW_2}",
        f"{ROW} or {ROW_2}",
        f"{ROW} and not {ROW_2}",
        f"{ROW}: {ROW_2}",
        f"{ROW} [3] {ROW_2}",
        f"{ONE} Final: {TWO}",
        f"First I thought of {ROW} and {ROW}, now I see {ROW_2}",
        f"{ROW} band {ROW_2}",
        f"```json\n{ONE}\n``` No, rather: ```json\n{TWO}\n```",
        f"{ROW}, ```json\n{TWO}\n```",
    ],
)
def test_a_document_with_words_after_it_is_a_decoy(answer):
    assert read_json_boxes(answer) == [SECOND]


@pytest.mark.parametrize("answer", [f"```json\n{ONE} here\n```", f"```json\nsee {ONE}\n{TWO}\n```"])
def test_a_fence_that_holds_words_is_unreadable(answer):
    with pytest.raises(Unreadable, match="no JSON"):
        read_json_boxes(answer)


@pytest.mark.parametrize("answer", ["```JSON\n[]\n```", "```json\n[]\n```\n```JSON\nnull\n```"])
def test_a_none_in_a_fence_of_any_case_is_a_none(answer):
    assert parse("qwen_1000", answer, read_geometry("").frame(9, 9)).status == "empty"
    assert read_json_boxes(answer) == []
    assert says_none("```JSON\n[]\n```")


def test_much_white_space_between_documents_is_read_at_once():
    """Linear in its length: a pattern that tries every split would not come back."""
    space = " ," * 20_000
    assert read_json_boxes(f"{ONE}{space}{TWO}") == [FIRST, SECOND]
    assert read_json_boxes(f"{ONE}{space}x{TWO}") == [SECOND]
