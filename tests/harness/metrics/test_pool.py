import numpy as np
import pytest

from harness.metrics.pool import RetrievalPool, pool_of


def test_unique_texts_are_numbered_by_first_asked_row():
    pool, first = pool_of(
        studies=["a", "b", "c", "d"],
        patients=["p"] * 4,
        texts=["never asked", "x", "y", "x"],
        asked=[False, True, True, True],
    )
    assert pool.text.tolist() == [-1, 0, 1, 0]
    assert first == [1, 2]
    assert pool.texts == 2
    assert pool.queries.tolist() == [1, 2, 3]


def test_a_distractor_bears_a_text_that_is_asked_about():
    pool, _ = pool_of(
        studies=["a", "b"], patients=["p", "q"], texts=["x", "x"], asked=[True, False]
    )
    assert pool.text.tolist() == [0, 0]
    assert pool.group[0] == pool.group[1] >= 0


def test_the_text_group_decides_where_given_and_the_text_where_not():
    pool, _ = pool_of(
        studies=list("abcd"),
        patients=list("abcd"),
        texts=["x", "y", "z", "z"],
        groups=["g", "g", "", ""],
    )
    assert pool.group[0] == pool.group[1]
    assert pool.group[2] == pool.group[3]
    assert pool.group[0] != pool.group[2]


def test_a_distractor_without_text_shares_it_with_nobody():
    pool, _ = pool_of(
        studies=list("abc"), patients=list("abc"), texts=["x", "", ""], asked=[True, False, False]
    )
    assert pool.group.tolist() == [0, -1, -1]


def test_an_asked_row_without_text_is_refused():
    with pytest.raises(ValueError, match="1 asked rows have no text, the first is row 1"):
        pool_of(studies=["a", "b"], patients=["a", "b"], texts=["x", ""])


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="different length"):
        RetrievalPool(
            study=np.zeros(2, int),
            patient=np.zeros(3, int),
            group=np.zeros(2, int),
            text=np.zeros(2, int),
            asked=np.ones(2, bool),
        )


def test_texts_with_gaps_are_refused():
    with pytest.raises(ValueError, match="without gaps"):
        RetrievalPool(
            study=np.zeros(2, int),
            patient=np.zeros(2, int),
            group=np.zeros(2, int),
            text=np.array([0, 2]),
            asked=np.ones(2, bool),
        )
