from hypothesis import given
from hypothesis import strategies as st

from harness.text import (
    is_comparison,
    is_negated,
    mask_locations,
    normalize,
    sentences,
    tidy,
)


def test_case_white_space_punctuation_and_deidentification_marks_do_not_make_another_text() -> None:
    assert normalize("No acute\n  process; ___ stable.") == "no acute process stable"
    assert normalize("no acute process stable") == normalize("NO ACUTE PROCESS, STABLE ___!")


def test_another_word_makes_another_text() -> None:
    assert normalize("left effusion") != normalize("right effusion")


def test_compatibility_characters_are_the_same_text() -> None:
    assert normalize("ﬁbrosis") == normalize("fibrosis")
    assert normalize("Neumot\u006frax") == normalize("NEUMOTORAX")
    assert normalize("derrame pequen\u0303o") == normalize("derrame peque\u00f1o")


@given(st.text())
def test_normalizing_twice_changes_nothing(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


@given(st.text())
def test_tidying_changes_white_space_only(text: str) -> None:
    assert tidy(text).split() == text.split()


def test_words_of_change_are_comparisons_in_both_languages() -> None:
    for text in (
        "Unchanged effusion.",
        "New nodule.",
        "Effusion has increased.",
        "as on prior film",
    ):
        assert is_comparison(text), text
    for text in ("Derrame sin cambios.", "Nódulo estable.", "Empeoramiento del patrón."):
        assert is_comparison(text), text


def test_a_plain_finding_is_no_comparison() -> None:
    for text in ("Small left effusion.", "Newborn chest.", "Nódulo en lóbulo superior."):
        assert not is_comparison(text), text


def test_a_denial_opens_the_sentence() -> None:
    assert is_negated("No pneumothorax.")
    assert is_negated("There is no effusion.")
    assert is_negated("Sin derrame.")
    assert not is_negated("Nodule without calcification.")
    assert not is_negated("Normal heart.")


def test_masked_texts_that_differ_in_side_and_zone_only_are_equal() -> None:
    left = mask_locations("Nodule in the left upper lobe.")
    right = mask_locations("Nodule in the right lower zone.")
    assert left == right == "Nodule in the [where]."


def test_masking_keeps_the_finding_and_its_size() -> None:
    assert mask_locations("Large bilateral effusions.") == "Large [where] effusions."
    assert mask_locations("Derrame pleural izquierdo.") == "Derrame pleural [where]."


def test_sentences_are_cut_at_full_stops_but_not_inside_numbers() -> None:
    text = "Nodule of 1.5 cm. Dr. Doe was told. No effusion! 2 drains are seen."
    assert sentences(text) == (
        "Nodule of 1.5 cm.",
        "Dr. Doe was told.",
        "No effusion!",
        "2 drains are seen.",
    )


def test_an_empty_text_has_no_sentence() -> None:
    assert sentences(" ") == ()
    assert sentences(". ...") == ()
