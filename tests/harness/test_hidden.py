"""On data under a use agreement an error is its type and place."""

import errno

import pytest

from harness.errors import BenchError
from harness.hidden import message_hidden


def test_a_message_that_could_quote_private_data_is_not_shown() -> None:
    with pytest.raises(BenchError) as told, message_hidden("train x", private=True):
        raise RuntimeError("slithy toves")
    assert "slithy" not in str(told.value)
    assert "train x: RuntimeError (at test_hidden.py:" in str(told.value)
    assert told.value.__suppress_context__  # nor in a traceback of what it came from


@pytest.mark.parametrize(
    ("private", "error"),
    [
        (False, RuntimeError("open data")),
        (True, BenchError("an id")),
        (True, OSError(errno.ENOSPC, "full")),
    ],
)
def test_what_quotes_nothing_is_left_as_it_is(private: bool, error: Exception) -> None:
    with pytest.raises(type(error)) as told, message_hidden("x", private=private):
        raise error
    assert told.value is error
