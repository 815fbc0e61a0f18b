"""The answer that says two boxes, in every notation, to the letter.

The film has 800 x 400 pixels and is shown whole. The boxes are (1/8, 5/8, 3/8, 7/8) and one that
ends at the right and lower edge: (1/2, 0, 1, 1). In hundredths the first is 12.5, 62.5, 37.5, 87.5:
bins are cut to 12, 62, 37, 87, numbers rounded half to even: 12, 62, 38, 88. A last bin is full, so
that the edge is 99 of 100 bins, 999 of 1,000, 1,023 of 1,024 and 511 of 512.
"""

import json

import numpy as np
import pytest

from baselines.answers import says_none
from baselines.codecs import CODECS, encode, find_codec, parse
from harness.geometry import read_geometry

FRAME = read_geometry("").frame(800, 400)
BOXES = np.float32([[0.5, 0, 1, 1], [0.125, 0.625, 0.375, 0.875]])  # written from left to right
PHRASE = "Left nodule"


def fenced(key: str, *rows: list[float]) -> str:
    items = ", ".join(json.dumps({key: row, "label": PHRASE}) for row in rows)
    return f"```json\n[{items}]\n```"


WRITTEN = {
    "maira": "<obj> Left nodule "
    "<box><x12><y62><x37><y87></box><box><x50><y0><x99><y99></box></obj>",
    "chexagent": "<|ref|>Left nodule<|/ref|>"
    "<|box|>(12,62),(38,88)<|/box|><|box|>(50,0),(100,100)<|/box|>",
    "radvlm": "Left nodule is located at [0.12, 0.62, 0.38, 0.88] and [0.50, 0.00, 1.00, 1.00].",
    "gemma_json": fenced("box_2d", [625, 125, 875, 375], [0, 500, 1000, 1000]),
    "qwen_px": fenced("bbox_2d", [100, 250, 300, 350], [400, 0, 800, 400]),
    "qwen_1000": fenced("bbox_2d", [125, 625, 375, 875], [500, 0, 1000, 1000]),
    "lists_1000": "```\n[[125,625,375,875],[500,0,1000,1000]]\n```",
    "internvl": "<ref>Left nodule</ref><box>[[125, 625, 375, 875], [500, 0, 1000, 1000]]</box>",
    "qwen_vl_v1": "<ref>Left nodule</ref>"
    "<box>(125,625),(375,875)</box><box>(500,0),(1000,1000)</box>",
    "florence": "Left nodule<loc_125><loc_625><loc_375><loc_875><loc_500><loc_0><loc_999><loc_999>",
    "paligemma": "<loc0640><loc0128><loc0896><loc0384> Left nodule ; "
    "<loc0000><loc0512><loc1023><loc1023> Left nodule",
    "radgrounder": "<p bbox=<loc0064><loc0320><loc0192><loc0448> id=<seg000>>Left nodule</p> "
    "<p bbox=<loc0256><loc0000><loc0511><loc0511> id=<seg000>>Left nodule</p>",
    # cells of 32 x 32, row by row: upper left 20 x 32 + 4, lower right 27 x 32 + 11
    "kosmos": "<phrase> Left nodule</phrase><object>"
    "<patch_index_0644><patch_index_0875></delimiter_of_multi_objects/>"
    "<patch_index_0016><patch_index_1023></object>",
    "json xyxy 1": fenced("box", [0.125, 0.625, 0.375, 0.875], [0.5, 0.0, 1.0, 1.0]),
    "json yxyx 100": fenced("box", [62, 12, 88, 38], [0, 50, 100, 100]),
    "json xyxy px": fenced("box", [100, 250, 300, 350], [400, 0, 800, 400]),
}

NONE = {
    "maira": "<obj> Left nodule</obj>",
    "chexagent": "No Left nodule detected.",
    "radvlm": "No Left nodule detected.",
    "gemma_json": "```json\n[]\n```",
    "qwen_px": "```json\n[]\n```",
    "qwen_1000": "```json\n[]\n```",
    "lists_1000": "```\n[]\n```",
    "internvl": "<ref>Left nodule</ref><box>[]</box>",
    "qwen_vl_v1": "[]",
    "florence": "Left nodule",
    "paligemma": "",
    "radgrounder": "",
    "kosmos": "<phrase> Left nodule</phrase>",
}


def test_every_notation_that_can_be_written_is_here() -> None:
    assert {name for name, codec in CODECS.items() if codec.write} == set(WRITTEN) & set(CODECS)
    assert set(NONE) == set(CODECS)


@pytest.mark.parametrize("codec", WRITTEN)
def test_two_boxes_are_written_to_the_letter(codec: str) -> None:
    assert encode(codec, BOXES, PHRASE, FRAME) == WRITTEN[codec]
    read = parse(codec, WRITTEN[codec], FRAME, phrase=PHRASE)
    assert read.status == "ok"
    assert np.abs(read.boxes - BOXES[::-1]).max() < 0.021  # a bin of 100 is read at its middle


@pytest.mark.parametrize("codec", NONE)
def test_nothing_is_written_as_the_model_is_taught(codec: str) -> None:
    assert encode(codec, np.zeros((0, 4), np.float32), PHRASE, FRAME) == NONE[codec]
    assert find_codec(codec).none.format(phrase=PHRASE) == NONE[codec]
    assert parse(codec, NONE[codec], FRAME, phrase=PHRASE).status == "empty"


def test_boxes_of_one_left_edge_are_sorted_by_their_upper_edge() -> None:
    boxes = np.float32([[0.25, 0.5, 0.5, 1], [0.25, 0, 0.5, 0.5]])
    written = encode("json xyxy 100", boxes, PHRASE, FRAME)
    assert written == fenced("box", [25, 0, 50, 50], [25, 50, 50, 100])


def test_a_box_that_the_frame_does_not_see_is_not_written() -> None:
    frame = read_geometry("crop 400").frame(800, 400)  # columns 200 to 600
    boxes = np.float32([[0, 0, 0.25, 1], [0.5, 0, 0.875, 0.5]])
    assert encode("json xyxy 100", boxes, PHRASE, frame) == fenced("box", [50, 0, 100, 50])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"complete": False}, "the answer was cut at the limit of tokens"),
        ({}, ""),
    ],
)
def test_why_an_answer_is_malformed_is_kept(answer: dict[str, bool], why: str) -> None:
    parsed = parse("qwen_1000", WRITTEN["qwen_1000"], FRAME, **answer)
    assert parsed.reason == why
    assert parsed.status == ("malformed" if why else "ok")


def test_a_sentence_with_its_full_stop_is_put_into_radvlms_sentence_without() -> None:
    written = encode("radvlm", BOXES[:1], "Left nodule.", FRAME)
    assert written == "Left nodule is located at [0.50, 0.00, 1.00, 1.00]."


@pytest.mark.parametrize(
    "answer",
    [
        "No acute process but an effusion is visible",
        "No pneumothorax, but a left effusion is seen",
        "No pneumothorax; a left effusion is seen.",
        "No pneumothorax however an effusion is present",
        "No effusion although a nodule is visible.",
        "There is no edema, an effusion lies at the left base",
        "There is no edema except at the left base",
        "An effusion is visible but a nodule is not seen",
        "An effusion is here, a nodule is not detected.",
    ],
)
def test_a_denial_that_turns_into_a_finding_is_no_none(answer: str) -> None:
    assert not says_none(answer)
    parsed = parse("radvlm", answer, FRAME, phrase="effusion")
    assert parsed.status == "malformed"


@pytest.mark.parametrize(
    "answer",
    [
        "No pneumothorax or effusion is seen.",
        "No left-sided pleural effusion detected",
        "There is no button battery.",
        "The effusion is not visible.",
        "No butterfly vertebra is present",
    ],
)
def test_a_plain_denial_is_a_none(answer: str) -> None:
    assert says_none(answer)


def test_the_taught_denial_of_a_phrase_with_commas_is_a_none() -> None:
    phrase = "opacity, left lower lobe, unchanged"
    for codec in ("radvlm", "chexagent"):
        assert parse(codec, f"No {phrase} detected.", FRAME, phrase=phrase).status == "empty"
