"""Controls that write: whose text is the commonest, counted by hand."""

from pathlib import Path

import pytest

from baselines.caption_controls import (
    commonest_phrases,
    commonest_reports,
    true_phrases,
    true_reports,
)
from harness.models import NotScorable
from harness.samples import ImageRef, ImageText, PhraseBoxes


def image(n: int, patient: str) -> ImageRef:
    return ImageRef(f"i{n}", Path("x"), patient, f"s{n}")


def texts(*pairs: tuple[str, str]) -> list[ImageText]:
    return [ImageText(f"q{n}", image(n, p), text) for n, (p, text) in enumerate(pairs)]


def test_the_truth_is_repeated_word_for_word() -> None:
    assert true_reports(texts(("a", "X y."), ("b", "Z."))) == ["X y.", "Z."]
    assert true_phrases([PhraseBoxes("q", image(0, "a"), "Left mass")]) == ["Left mass"]


def test_the_commonest_text_leaves_the_own_patient_out() -> None:
    # "Mass." three times, all of patient a; "Clear." twice, of b and c
    samples = texts(*[("a", "Mass.")] * 3, ("b", "Clear."), ("c", "clear"))
    assert commonest_reports(samples) == ["Clear."] * 3 + ["Mass."] * 2


def test_a_tie_goes_to_the_alphabet_whatever_the_order() -> None:
    samples = texts(("a", "Zebra."), ("b", "Ant."), ("c", "Moth."))
    assert commonest_reports(samples) == ["Ant.", "Moth.", "Ant."]
    assert commonest_reports(samples[::-1]) == ["Ant.", "Moth.", "Ant."]


def test_phrases_are_counted_alike() -> None:
    phrases = ["Left mass", "left mass.", "Nodule"]
    samples = [PhraseBoxes(f"q{n}", image(n, f"p{n}"), text) for n, text in enumerate(phrases)]
    assert commonest_phrases(samples) == ["Left mass", "Left mass", "Left mass"]


def test_one_patient_alone_has_no_stranger() -> None:
    with pytest.raises(NotScorable, match="one patient"):
        commonest_reports(texts(("a", "x"), ("a", "y")))
