"""Box codecs on any answer: an explicit none, a box, or malformed, and nothing else read at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.codecs import CODECS, encode, parse
from harness.geometry import read_geometry

# The film of all published vectors (`test_codecs`).
WIDTH, HEIGHT = 2500, 3056


def frame(geometry: str = "squash 100", width: int = WIDTH, height: int = HEIGHT):
    return read_geometry(geometry).frame(width, height)


@pytest.mark.parametrize(
    ("codec", "answer"),
    [
        ("maira", "<obj> Left pleural effusion.</obj>"),
        ("chexagent", "No pneumothorax detected."),
        ("radvlm", "No pneumothorax is visible."),
        ("gemma_json", "Final Answer: ```json\n[]\n```"),
        ("gemma_json", "The right lung is clear. Final Answer: []"),
        ("qwen_px", "```json\n[]\n```"),
        ("qwen_1000", '{"bbox_2d": null}'),
        ("qwen_1000", '[{"bbox_2d": [], "label": "effusion"}]'),
        ("qwen_1000", "null"),
        ("qwen_1000", "None."),
        ("internvl", "<ref>effusion</ref><box>[]</box>"),
        ("internvl", "There is no effusion."),
        ("florence", "</s>effusion</s>"),
        ("paligemma", "<eos>"),
        ("qwen_px", "<think>Is it [1, 2, 3, 4]?</think>The effusion is not visible."),
    ],
)
def test_an_explicit_none_is_empty(codec, answer):
    parsed = parse(codec, answer, frame(), phrase="effusion")
    assert parsed.status == "empty", parsed.reason


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "answer",
    [
        "I cannot help with medical images.",
        "The effusion is at the left base.",
        "No acute process. The heart is enlarged at (3, 4).",
        "<box>",
        "[1, 2, 3]",
        '```json\n[{"bbox_2d": [100, 620, 360',
        '[{"bbox_2d": [100, 620, 360, 880]}, {"bbox_2d": [10',
        '[{"bbox_2d": [100, 620, 360]}]',
        '[{"bbox_2d": [1e999, 620, NaN, 880]}]',
        '[{"bbox_2d": ["a", "b", "c", "d"]}]',
        '[{"bbox_2d": [900, 620, 100, 880]}]',
        "<think>it is at [0.1, 0.2, 0.3, 0.4], [100, 200, 300, 400]",
        "[" * 5000,
        "<loc_1><loc_2><loc_3><loc0001><loc0002><loc0003>",
        "<object><patch_index_0611></object>",
        "<object><patch_index_9999><patch_index_0001></object>",
        "<obj> a <box><x10><y62><x36></box></obj>",
        "<|ref|>a<|/ref|><|box|>(10,62),(36,88)",
        "<ref>a</ref><box>(10,62),(36)</box>",
        "9" * 60_000,
    ],
)
def test_what_is_neither_boxes_nor_a_none_is_malformed(codec, answer):
    parsed = parse(codec, answer, frame(), phrase="effusion")
    assert parsed.status == "malformed"
    assert len(parsed.boxes) == 0
    assert parsed.reason


def test_an_empty_answer_is_a_none_only_where_the_model_is_taught_so():
    for codec in CODECS:
        expected = "empty" if codec in ("paligemma", "radgrounder") else "malformed"
        assert parse(codec, "", frame(), phrase="effusion").status == expected, codec


def test_an_answer_cut_at_the_limit_of_tokens_is_malformed_even_if_it_has_boxes():
    answer = '[{"bbox_2d": [100, 620, 360, 880]}]'
    assert parse("qwen_1000", answer, frame()).status == "ok"
    assert parse("qwen_1000", answer, frame(), complete=False).status == "malformed"


@pytest.mark.parametrize(
    "answer",
    [
        '<think>maybe [{"bbox_2d": [1, 2, 3, 4]}]</think>{}',
        'thought of [{"bbox_2d": [1, 2, 3, 4]}]</think>{}',
        '<unused94>thought: [{"bbox_2d": [1, 2, 3, 4]}]<unused95>{}',
        'First [{"bbox_2d": [1, 2, 3, 4]}]. <answer>{}</answer>',
        'So [{"bbox_2d": [1, 2, 3, 4]}]. Final Answer: {}',
        'Reasoning [{"bbox_2d": [1, 2, 3, 4]}] ends. \\boxed{{}}'.replace("{{}}", "{{}}"),
    ],
)
def test_coordinates_in_a_thinking_trace_are_decoys(answer):
    final = '[{"bbox_2d": [100, 620, 360, 880]}]'
    text = answer.replace("{{}}", "{" + final + "}").replace("{}", final)
    parsed = parse("qwen_1000", text, frame())
    assert np.allclose(parsed.boxes, [[0.1, 0.62, 0.36, 0.88]])


def test_a_box_over_the_edge_is_clipped_and_an_inverted_one_dropped_and_both_are_counted():
    answer = '[{"bbox_2d": [-50, 0, 500, 1100]}, {"bbox_2d": [500, 100, 400, 200]}]'
    parsed = parse("qwen_1000", answer, frame())
    assert parsed.status == "ok"
    assert np.allclose(parsed.boxes, [[0, 0, 0.5, 1]])
    assert (parsed.clipped, parsed.dropped) == (1, 1)


def test_a_box_drawn_in_the_padding_alone_is_malformed_not_empty():
    answer = '[{"bbox_2d": [0, 0, 50, 1000]}]'  # left padding: 278 of 3056 pixels
    assert parse("qwen_1000", answer, frame("pad square")).status == "malformed"


_FRAGMENTS = st.sampled_from(
    [
        "[",
        "]",
        "{",
        "}",
        "(",
        ")",
        ",",
        '"bbox_2d":',
        "```json",
        "```",
        "<box>",
        "</box>",
        "<obj>",
        "</obj>",
        "<|box|>",
        "<|/box|>",
        "<loc_12>",
        "<loc0034>",
        "<object>",
        "</object>",
        "null",
        "<patch_index_0033>",
        "<x1>",
        "<y2>",
        "<think>",
        "</think>",
        "\\boxed{",
        "Final",
        "Answer:",
        "1",
        "-2.5",
        "1e9",
        "999",
        "0.5",
        "\n",
        "NaN",
        "effusion",
        "No",
        "detected.",
    ]
)
answers = st.one_of(st.text(max_size=200), st.lists(_FRAGMENTS, max_size=40).map("".join))


@settings(max_examples=300, deadline=None)
@given(codec=st.sampled_from(sorted(CODECS)), answer=answers, side=st.integers(50, 4000))
def test_any_answer_is_read_without_an_exception_and_gives_valid_boxes(codec, answer, side):
    parsed = parse(codec, answer, frame("shortest 100, crop 100", side, 1000), phrase="effusion")
    assert parsed.status in ("ok", "empty", "malformed")
    assert (parsed.status == "ok") == (len(parsed.boxes) > 0)
    assert parsed.boxes.dtype == np.float32
    assert np.isfinite(parsed.boxes).all()
    assert (parsed.boxes >= 0).all()
    assert (parsed.boxes <= 1).all()
    assert (parsed.boxes[:, 2:] > parsed.boxes[:, :2]).all()


@settings(max_examples=100, deadline=None)
@given(codec=st.sampled_from(sorted(CODECS)), answer=answers)
def test_an_answer_is_read_the_same_whatever_was_read_before(codec, answer):
    first = parse(codec, answer, frame(), phrase="effusion")
    parse(codec, encode(codec, np.float32([[0.1, 0.2, 0.3, 0.4]]), "a", frame()), frame())
    second = parse(codec, answer, frame(), phrase="effusion")
    assert first.status == second.status
    assert first.boxes.tobytes() == second.boxes.tobytes()
