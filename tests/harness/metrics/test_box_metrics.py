from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.metrics.grounding import from_samples
from harness.metrics.grounding_metrics import GROUNDING_METRICS
from harness.metrics.metric import contributions, scored, value
from harness.models import Grounding
from harness.samples import ImageRef, PhraseBoxes

LEFT, RIGHT, WHOLE = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def sample(number, *rows, **facts):
    image = ImageRef(f"i{number}", Path("none"), f"p{number}", f"s{number}")
    return PhraseBoxes(f"q{number}", image, "phrase", boxes=boxes(*rows), **facts)


def answer(*rows, scores=None):
    if not rows:
        return Grounding(status="empty")
    return Grounding(boxes(*rows), None if scores is None else np.array(scores, np.float32))


MALFORMED = Grounding(status="malformed")


def number(name, samples, answers):
    return value(GROUNDING_METRICS[name], from_samples(samples, answers))


def test_miou_and_accuracy_worked_by_hand():
    # IoU 1, 1/2 and 0: mean 1/2; at 0.5 two of three count, at 0.7 one.
    samples = [sample(0, LEFT), sample(1, WHOLE), sample(2, LEFT)]
    answers = [answer(LEFT), answer(LEFT), answer(RIGHT)]
    assert number("miou", samples, answers) == 0.5
    found = [number(f"acc@{t}", samples, answers) for t in (0.1, 0.3, 0.5, 0.7)]
    assert found == [2 / 3, 2 / 3, 2 / 3, 1 / 3]


def test_phrases_without_a_box_are_not_in_the_headline():
    samples, answers = [sample(0, LEFT), sample(1)], [answer(LEFT), answer(LEFT)]
    assert number("miou", samples, answers) == number("f1@0.5", samples, answers) == 1
    # /all: 1 matched of 2 predicted and 1 true = 2 / 3; RoDeO 1 of (1 + 1) units.
    assert number("f1@0.5/all", samples, answers) == pytest.approx(2 / 3)
    assert number("rodeo/localization/all", samples, answers) == 0.5
    assert number("rodeo/localization", samples, answers) == 1


def test_macro_is_the_mean_over_findings_of_their_means():
    samples = [
        sample(0, LEFT, finding="a"),
        sample(1, LEFT, finding="a"),
        sample(2, LEFT, finding="a"),
        sample(3, LEFT, finding="b"),
        sample(4, finding="only without box"),
    ]
    answers = [answer(LEFT), answer(LEFT), answer(LEFT), answer(RIGHT), answer()]
    assert number("miou", samples, answers) == 0.75
    assert number("miou/macro", samples, answers) == 0.5
    assert number("acc@0.5/macro", samples, answers) == 0.5
    assert number("f1@0.5/macro", samples, answers) == 0.5
    assert number("f1@0.5", samples, answers) == 0.75


def test_what_one_draw_gives_does_not_depend_on_the_draws_beside_it():
    samples = [sample(n, LEFT, finding=f) for n, f in enumerate(["a", "a", "b", "c"])]
    samples += [sample(4, finding="a"), sample(5, LEFT, RIGHT, finding="b")]
    answers = [answer(LEFT), answer(RIGHT), answer(WHOLE), MALFORMED, answer(), answer(LEFT)]
    outcomes = from_samples(samples, answers)
    weights = np.array([[1.0, 1, 1, 1, 1, 1], [2, 0, 3, 0, 1, 1], [0, 1, 0, 4, 0, 0]])
    for name, metric in GROUNDING_METRICS.items():
        if metric.needs == "boxes":
            rows = contributions(metric, outcomes)
            kept = scored(rows)
            together = metric.reduce(rows[kept], weights[:, kept])
            apart = [metric.reduce(rows[kept], one[None, kept])[0] for one in weights]
            np.testing.assert_array_equal(together, apart, err_msg=name)


def test_single_box_accuracy_takes_the_best_scored_box_and_skips_several_truths():
    samples = [sample(0, LEFT), sample(1, LEFT, RIGHT), sample(2, LEFT)]
    scored = [
        answer(RIGHT, LEFT, scores=[0.1, 0.9]),
        answer(LEFT, scores=[1.0]),
        answer(LEFT, RIGHT, scores=[0.6, 0.5]),
    ]
    assert number("acc@0.5/single-box", samples, scored) == 1
    plain = [replace(a, scores=None) for a in scored]
    assert number("acc@0.5/single-box", samples, plain) == 0.5  # first boxes: RIGHT, -, LEFT


def test_average_precision_is_over_ten_thresholds_or_at_one_half():
    # An IoU of 0.62 is enough at 0.5, 0.55 and 0.6.
    samples, answers = [sample(0, WHOLE)], [answer([0, 0, 0.62, 1], scores=[0.9])]
    assert number("ap@0.5", samples, answers) == 1
    assert number("ap", samples, answers) == pytest.approx(0.3)


def test_single_box_accuracy_of_an_empty_answer_is_a_miss():
    assert number("acc@0.1/single-box", [sample(0, LEFT)], [answer()]) == 0


def test_f1_is_micro_over_boxes():
    # Matched 1 + 1, predicted 1 + 3, true 2 + 1: 2 * 2 / (4 + 3).
    samples = [sample(0, LEFT, RIGHT), sample(1, LEFT)]
    answers = [answer(LEFT), answer(LEFT, RIGHT, [0.4, 0.4, 0.6, 0.6])]
    assert number("f1@0.5", samples, answers) == pytest.approx(4 / 7)
    # Per phrase: 2/3 and 2/4.
    assert number("set_f1@0.5", samples, answers) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_an_empty_answer_costs_recall_only():
    samples, answers = [sample(0, LEFT), sample(1, LEFT)], [answer(LEFT), answer()]
    assert number("f1@0.5", samples, answers) == pytest.approx(2 / 3)
    assert number("false_empty", samples, answers) == 0.5


def test_only_an_explicit_none_is_right_where_nothing_is_to_be_found():
    samples = [
        sample(0, negated=True),
        sample(1, negated=True),
        sample(2, negated=True),
        sample(3),
        sample(4, LEFT),
    ]
    answers = [answer(), answer(LEFT), MALFORMED, answer(), answer(LEFT)]
    assert number("specificity/negated", samples, answers) == 1 / 3
    assert number("specificity/absent", samples, answers) == 1
    assert number("malformed", samples, answers) == 1 / 5


def test_a_malformed_answer_is_wrong_on_every_phrase():
    samples, answers = [sample(0, LEFT), sample(1)], [MALFORMED, MALFORMED]
    for name in ("miou", "acc@0.1", "f1@0.5", "set_f1@0.5", "rodeo", "specificity/absent"):
        assert number(name, samples, answers) == 0, name
    assert number("f1@0.5/all", samples, answers) == 0
    # One right box, one malformed answer to a phrase without box: that counts as a false box.
    answers = [answer(LEFT), MALFORMED]
    assert number("f1@0.5/all", samples, answers) == pytest.approx(2 / 3)
    assert number("rodeo/shape/all", samples, answers) == 0.5
    assert number("false_empty", samples, answers) == 0


def test_boxes_of_a_malformed_answer_do_not_count():
    truncated = Grounding(boxes(LEFT), status="malformed")
    assert number("miou", [sample(0, LEFT)], [truncated]) == 0


def test_a_control_that_answers_nothing_is_right_on_negated_sentences_only():
    samples, answers = [sample(0, LEFT), sample(1, negated=True)], [answer(), answer()]
    assert number("specificity/negated", samples, answers) == number(
        "false_empty", samples, answers
    )
    assert number("miou", samples, answers) == number("f1@0.5/all", samples, answers) == 0


def test_the_truth_itself_is_exactly_one():
    rng = np.random.default_rng(0)
    rows = [np.sort(rng.random((k, 2, 2)), axis=1).reshape(k, 4) for k in (1, 2, 3, 0, 1, 4)]
    samples = [sample(i, *r.tolist(), negated=True) for i, r in enumerate(rows)]
    answers = [
        answer(*s.boxes.tolist(), scores=[1.0] * len(s.boxes)) if len(s.boxes) else answer()
        for s in samples
    ]
    for name in ("miou", "acc@0.7", "f1@0.5", "f1@0.5/all", "rodeo", "rodeo/all", "ap"):
        assert number(name, samples, answers) == 1, name


def test_order_and_splitting_of_boxes_change_no_union():
    parts = [[0.0, 0.0, 0.25, 1.0], [0.25, 0.0, 0.5, 1.0]]
    truth = [sample(0, LEFT)]
    assert number("miou", truth, [answer(*parts)]) == pytest.approx(1)
    assert number("miou", truth, [answer(*parts[::-1])]) == pytest.approx(1)


def test_a_model_with_heat_maps_and_no_boxes_is_not_scored_in_boxes():
    only_map = Grounding(heatmap=np.eye(4, dtype=np.float32))
    outcomes = from_samples([sample(0, LEFT), sample(1)], [only_map, only_map])
    for name in ("miou", "f1@0.5/all", "specificity/absent", "rodeo/all", "ap", "false_empty"):
        assert np.isnan(contributions(GROUNDING_METRICS[name], outcomes)).all(), name
        assert GROUNDING_METRICS[name].needs


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (Grounding(boxes(LEFT), np.float32([0.1, 0.2])), "2 scores for 1 boxes"),
        (Grounding(boxes(LEFT), np.float32([np.nan])), "a score is not finite"),
        (Grounding(boxes([0, 0, np.inf, 1])), "a predicted box is not finite"),
        (Grounding(boxes(LEFT), status="empty"), "status 'empty' with 1 boxes"),
        (Grounding(), "status 'ok' without a box"),
        (Grounding(heatmap=np.full((2, 2), np.nan, np.float32)), "no number at all"),
        (Grounding(np.zeros((1, 5), np.float32)), "shape"),
    ],
)
def test_answers_that_contradict_themselves_are_refused_by_name(bad, why):
    with pytest.raises(ValueError, match=why) as error:
        from_samples([sample(7, LEFT)], [bad])
    assert "q7" in str(error.value)


def test_a_true_box_without_area_is_refused():
    with pytest.raises(ValueError, match="q0: a true box is not finite or has no area"):
        from_samples([sample(0, [0.1, 0.1, 0.1, 0.5])], [answer(LEFT)])


def test_other_numbers_of_answers_than_samples_are_refused():
    with pytest.raises(ValueError, match="0 answers for 1 samples"):
        from_samples([sample(0, LEFT)], [])


def test_a_set_without_any_true_box_has_no_headline():
    assert np.isnan(number("miou", [sample(0)], [answer()]))
    assert np.isnan(number("f1@0.5", [sample(0)], [answer()]))


def test_every_metric_has_its_own_name_and_a_sentence():
    for name, metric in GROUNDING_METRICS.items():
        assert metric.name == name
        assert metric.definition.endswith("."), name


def test_a_malformed_answer_misses_true_boxes_in_ap_and_is_no_box_where_there_are_none():
    """AP counts scored boxes, so there it is as an explicit none; other metrics punish it."""
    samples = [sample(0, LEFT), sample(1, LEFT), sample(2, negated=True)]
    right = answer(LEFT, scores=[0.9])
    for name in ("ap", "ap@0.5"):
        found = [number(name, samples, [right, right, last]) for last in (answer(), MALFORMED)]
        assert found == [1, 1]
        # One of two true boxes: precision 1 up to recall 1/2, which 51 of 101 points reach.
        missed = number(name, samples, [right, MALFORMED, answer()])
        assert missed == pytest.approx(51 / 101)
    answers = [[right, right, last] for last in (answer(), MALFORMED)]
    assert [number("specificity/negated", samples, a) for a in answers] == [1, 0]
    assert [number("f1@0.5/all", samples, a) for a in answers] == [1, pytest.approx(4 / 5)]
