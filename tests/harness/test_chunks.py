"""No token of a long text is lost, and no chunk is longer than a model reads."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from harness.chunks import chunk_text

WORDS = st.lists(st.sampled_from(["no", "left", "effusion.", "clear;", "seen.", "is"]), min_size=1)


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def test_a_short_text_is_its_own_chunk() -> None:
    assert chunk_text("One two.", 5, words) == ["One two."]


def test_sentences_stay_whole_where_they_fit() -> None:
    assert chunk_text("One two three. Four five six. Seven.", 4, words) == [
        "One two three.",
        "Four five six. Seven.",
    ]


@given(WORDS, st.integers(1, 7))
def test_chunks_are_the_text_in_order_and_within_the_limit(parts: list[str], limit: int) -> None:
    chunks = chunk_text(" ".join(parts), limit, words)
    assert " ".join(chunks).split() == parts
    assert max(words(chunks)) <= limit
